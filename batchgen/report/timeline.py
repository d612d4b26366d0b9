"""Rows, money and tokens over time, in bounded memory however long the run was."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from batchgen.report.values import Moment

_FINEST_US = 250_000
_MOST_SPANS = 4_096
_MONEY_SUM = pa.decimal128(38, 12)
MOST_MOMENTS, FEWEST_MOMENTS = 120, 24
"""Points of a plot: more are not seen in a drawing 400 wide."""

_ROWS_PER_MOMENT = 10  # with fewer, a rate is mostly noise

SHORTEST_PAUSE_S = 30.0
"""Quiet times below this are part of the run, however short it was."""


class Timeline:
    """Sums by span of time; the spans widen as the run turns out to be longer."""

    def __init__(self) -> None:
        self._span_us = _FINEST_US
        self._spans: dict[int, tuple[int, int, int, Decimal]] = {}

    def add(self, rows: pa.Table) -> None:
        """Count rows with the columns `finished_at`, `status`, `output_tokens`, `cost`."""
        times = pc.cast(rows["finished_at"], pa.int64())
        grouped = (
            pa.table(
                {
                    "span": pc.divide(times, self._span_us),  # whole numbers: rounds down
                    "failed": pc.cast(pc.equal(rows["status"], "failed"), pa.int64()),
                    "tokens": rows["output_tokens"],
                    "cost": pc.cast(rows["cost"], _MONEY_SUM),
                }
            )
            .group_by("span")
            .aggregate([([], "count_all"), ("failed", "sum"), ("tokens", "sum"), ("cost", "sum")])
            .to_pylist()
        )
        for line in grouped:
            if line["span"] is not None:
                values = (
                    line["count_all"],
                    line["failed_sum"],
                    line["tokens_sum"] or 0,
                    line["cost_sum"] or Decimal(0),
                )
                self._put(line["span"], values)
        while len(self._spans) > _MOST_SPANS:
            self._widen()

    def _put(self, span: int, values: tuple[int, int, int, Decimal]) -> None:
        rows, failed, tokens, cost = self._spans.get(span, (0, 0, 0, Decimal(0)))
        self._spans[span] = (rows + values[0], failed + values[1], tokens + values[2], cost + values[3])

    def _widen(self) -> None:
        before, self._spans = self._spans, {}
        self._span_us *= 2
        for span, values in before.items():
            self._put(span // 2, values)

    def moments(self) -> list[Moment]:
        """Return the run in at most `MOST_MOMENTS` moments of equal length, quiet ones included, pauses left out."""
        settled = sum(values[0] for values in self._spans.values())
        most = min(MOST_MOMENTS, max(FEWEST_MOMENTS, settled // _ROWS_PER_MOMENT))
        while True:
            starts = [span * self._span_us / 1e6 for span in sorted(self._spans)]
            stretches = without_pauses(starts, self._span_us / 1e6)
            spans = [round((last - first) * 1e6 / self._span_us) + 1 for first, last in stretches]
            if sum(spans) <= most:
                break
            self._widen()
        moments = []
        for (first_s, _), count in zip(stretches, spans, strict=True):
            first = round(first_s * 1e6 / self._span_us)
            for span in range(first, first + count):
                rows, failed, tokens, cost = self._spans.get(span, (0, 0, 0, Decimal(0)))
                moments.append(
                    Moment(span * self._span_us / 1e6, self._span_us / 1e6, rows, failed, tokens, cost),
                )
        return moments


def without_pauses(starts: Sequence[float], span_s: float) -> list[tuple[float, float]]:
    """Cut ascending times where the run stood still; return first and last time of each stretch.

    A pause is a quiet time of at least `SHORTEST_PAUSE_S`, ten spans and a quarter of all the time that was not quiet:
    an interruption until the next `run`, not a slow minute.
    """
    if not starts:
        return []
    least_s = max(SHORTEST_PAUSE_S, 10 * span_s)
    gaps = [after - before - span_s for before, after in pairwise(starts)]
    busy_s = len(starts) * span_s + sum(gap for gap in gaps if gap < least_s)
    least_s = max(least_s, busy_s / 4)
    stretches = []
    first = starts[0]
    for before, after in pairwise(starts):
        if after - before - span_s >= least_s:
            stretches.append((first, before))
            first = after
    stretches.append((first, starts[-1]))
    return stretches
