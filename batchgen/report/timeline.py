"""Rows, money and tokens over time, in bounded memory however long the run was."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.report.values import TimelinePoint

_FINEST_US = 250_000
_MOST_SPANS = 4_096
MONEY_SUM = pa.decimal128(38, 12)
MOST_MOMENTS, FEWEST_MOMENTS = 120, 24
"""Points of a plot: more are not seen in a drawing 400 wide."""

_ROWS_PER_MOMENT = 10  # with fewer, a rate is mostly noise

SHORTEST_PAUSE_S = 30.0
"""Quiet times below this are part of the run, however short it was."""


class _Span(Struct):
    """Sums over the rows settled in `first_us` ... `last_us`."""

    first_us: int
    last_us: int
    rows: int = 0
    failed: int = 0
    tokens: int = 0
    cost: Decimal = Decimal(0)

    def add(self, other: _Span) -> None:
        self.first_us = min(self.first_us, other.first_us)
        self.last_us = max(self.last_us, other.last_us)
        self.rows += other.rows
        self.failed += other.failed
        self.tokens += other.tokens
        self.cost += other.cost


class Timeline:
    """Sums by span of time; the spans widen as the run turns out to be longer."""

    def __init__(self) -> None:
        self._span_us = _FINEST_US
        self._spans: dict[int, _Span] = {}

    def add(self, rows: pa.Table) -> None:
        """Count rows with the columns `finished_at`, `status`, `output_tokens`, `cost`."""
        times = pc.cast(rows["finished_at"], pa.int64())
        grouped = (
            pa.table(
                {
                    "span": pc.divide(times, self._span_us),  # whole numbers: rounds down
                    "time": times,
                    "failed": pc.cast(pc.equal(rows["status"], "failed"), pa.int64()),
                    "tokens": rows["output_tokens"],
                    "cost": pc.cast(rows["cost"], MONEY_SUM),
                }
            )
            .filter(pc.is_valid(times))
            .group_by("span")
            .aggregate(
                [
                    ("time", "min"),
                    ("time", "max"),
                    ([], "count_all"),
                    ("failed", "sum"),
                    ("tokens", "sum"),
                    ("cost", "sum"),
                ]
            )
        )
        for line in grouped.to_pylist():
            span = _Span(
                line["time_min"],
                line["time_max"],
                line["count_all"],
                line["failed_sum"],
                line["tokens_sum"] or 0,
                line["cost_sum"] or Decimal(0),
            )
            self._put(line["span"], span)
        while len(self._spans) > _MOST_SPANS:
            self._widen()

    def _put(self, number: int, span: _Span) -> None:
        if number in self._spans:
            self._spans[number].add(span)
        else:
            self._spans[number] = span

    def _widen(self) -> None:
        before, self._spans = self._spans, {}
        self._span_us *= 2
        for number, span in before.items():
            self._put(number // 2, span)

    def moments(self) -> list[TimelinePoint]:
        """Return the run in at most `MOST_MOMENTS` moments, quiet ones included, pauses left out."""
        settled = sum(span.rows for span in self._spans.values())
        most = min(MOST_MOMENTS, max(FEWEST_MOMENTS, settled // _ROWS_PER_MOMENT))
        while True:
            stretches = without_pauses(sorted(self._spans), self._span_us / 1e6)
            if sum(last - first + 1 for first, last in stretches) <= most:
                break
            self._widen()
        return [moment for first, last in stretches for moment in self._stretch(first, last)]

    def _stretch(self, first: int, last: int) -> list[TimelinePoint]:
        """Return a stretch of activity; it begins and ends with a row, so that no rate is taken over idle time.

        An end that would be shorter than half a span is joined to its neighbour.
        """
        width = self._span_us
        spans = []
        for number in range(first, last + 1):
            bounds = _Span(number * width, (number + 1) * width)
            found = self._spans.get(number)
            if found is not None:
                bounds.add(found)
            spans.append(bounds)
        spans[0].first_us, spans[-1].last_us = self._spans[first].first_us, self._spans[last].last_us
        for end in (0, -1):
            if len(spans) > 1 and spans[end].last_us - spans[end].first_us < width / 2:
                short = spans.pop(end)
                spans[end].add(short)
        return [
            TimelinePoint(
                span.first_us / 1e6,
                max(span.last_us - span.first_us, _FINEST_US) / 1e6,
                span.rows,
                span.failed,
                span.tokens,
                span.cost,
            )
            for span in spans
        ]


def without_pauses(spans: Sequence[int], span_s: float) -> list[tuple[int, int]]:
    """Cut ascending numbers of spans where the run stood still; return first and last span of each stretch.

    A pause is a quiet time of at least `SHORTEST_PAUSE_S`, ten spans and a quarter of all the time that was not quiet:
    an interruption until the next `run`, not a slow minute.
    """
    if not spans:
        return []
    least_s = max(SHORTEST_PAUSE_S, 10 * span_s)
    gaps_s = [(after - before - 1) * span_s for before, after in pairwise(spans)]
    busy_s = len(spans) * span_s + sum(gap_s for gap_s in gaps_s if gap_s < least_s)
    least_s = max(least_s, busy_s / 4)
    stretches = []
    first = spans[0]
    for (before, after), gap_s in zip(pairwise(spans), gaps_s, strict=True):
        if gap_s >= least_s:
            stretches.append((first, before))
            first = after
    stretches.append((first, spans[-1]))
    return stretches
