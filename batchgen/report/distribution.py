"""A figure over any number of rows in bounded memory: how often each value occurs, hence quantiles and histograms.

Whole numbers are counted one by one (token counts: no more different ones than the longest request has tokens).
Others are rounded to steps of 1 % on a logarithmic scale, so that a quantile is at most 0.5 % off; the idea is that of
DDSketch (https://arxiv.org/abs/1908.10693). Mean, smallest and largest are exact either way.
"""

from __future__ import annotations

import math

import pyarrow as pa

from batchgen.files.compute import pc
from batchgen.report.values import Bin, Quantiles, Spread

_STEP = math.log(1.01)
_STEPS_PER_DECADE = (40, 20, 10, 5)
_MOST_BINS = 36
_FEW = 3  # numbers in a bin of whole ones


class Distribution:
    """Counts by value; `whole`: the values are whole numbers."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._counts: dict[float, int] = {}
        self._rows = 0
        self._sum = 0.0
        self._smallest, self._largest = math.inf, -math.inf

    def add(self, column: pa.ChunkedArray) -> None:
        """Count a column of numbers; nulls are left out."""
        values = column.drop_null()
        if not len(values):
            return
        self._rows += len(values)
        self._sum += float(pc.sum(values).as_py())
        ends = pc.min_max(values).as_py()
        self._smallest = min(self._smallest, float(ends["min"]))
        self._largest = max(self._largest, float(ends["max"]))
        if not self._whole:
            # A logarithm needs something above 0: what is less than a billionth counts as that.
            values = pc.ceil(pc.divide(pc.ln(pc.max_element_wise(pc.cast(values, pa.float64()), 1e-9)), _STEP))
        for pair in pc.value_counts(values).to_pylist():
            value = pair["values"]
            self._counts[value] = self._counts.get(value, 0) + pair["counts"]

    def spread(self) -> Spread:
        """Return quantiles and a histogram of what was counted."""
        if not self._rows:
            return Spread()
        counted = sorted((self._value(key), count) for key, count in self._counts.items())
        marks = iter(self._at(counted, (0.5, 0.9, 0.95, 0.99)))
        quantiles = Quantiles(
            rows=self._rows,
            mean=self._sum / self._rows,
            smallest=self._smallest,
            p50=next(marks),
            p90=next(marks),
            p95=next(marks),
            p99=next(marks),
            largest=self._largest,
        )
        return Spread(quantiles, histogram(counted, whole=self._whole))

    def _value(self, key: float) -> float:
        """Return the middle of a step, never outside of what was seen."""
        if self._whole:
            return key
        return min(max(math.exp((key - 0.5) * _STEP), self._smallest), self._largest)

    def _at(self, counted: list[tuple[float, int]], shares: tuple[float, ...]) -> list[float]:
        """Return the smallest values that at least these shares of the rows do not exceed (ascending shares)."""
        found: list[float] = []
        below = 0
        places = iter(counted)
        value, count = next(places)
        for share in shares:
            rank = math.ceil(share * self._rows)
            while below + count < rank:
                below += count
                value, count = next(places)
            found.append(value)
        return found


def histogram(counted: list[tuple[float, int]], *, whole: bool) -> list[Bin]:
    """Return bins of equal width on a logarithmic scale, empty ones included; zeros have a bin of their own, [0, 0].

    As many bins a decade as fit; whole numbers have whole edges, and bins that hold a few of them each from the fifth
    percentile up: bins of one and two numbers by turns would look like a comb.
    """
    zeros = sum(count for value, count in counted if value <= 0)
    bins = [Bin(0, 0, zeros)] if zeros else []
    above = [(value, count) for value, count in counted if value > 0]
    if not above:
        return bins
    ratio = above[-1][0] / above[0][0]
    low = _fifth_percentile(above)
    steps = next(
        (
            steps
            for steps in _STEPS_PER_DECADE
            if math.log10(ratio) * steps <= _MOST_BINS and not (whole and low * (10 ** (1 / steps) - 1) < _FEW)
        ),
        _STEPS_PER_DECADE[-1],
    )

    def edge(number: int) -> float:
        exact = 10 ** (number / steps)
        return math.ceil(exact - 1e-9) if whole else exact

    def place(value: float) -> int:
        return math.floor(math.log10(value) * steps + 1e-9)

    first, last = place(above[0][0]), place(above[-1][0])
    rows = [0] * (last - first + 1)
    for value, count in above:
        rows[place(value) - first] += count
    return bins + [
        Bin(edge(number), edge(number + 1), count)
        for number, count in enumerate(rows, first)
        if edge(number) < edge(number + 1)
    ]


def _fifth_percentile(counted: list[tuple[float, int]]) -> float:
    rank = sum(count for _, count in counted) / 20
    for value, count in counted:
        rank -= count
        if rank <= 0:
            return value
    raise ValueError("nothing was counted")
