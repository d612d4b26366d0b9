"""Rows, money and tokens over time, in bounded memory however long the run was."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
from msgspec import Struct

from batchgen.files.compute import pc
from batchgen.report.values import TimelinePoint
from batchgen.storage.result_schema import MONEY_SUM

_FINEST_US = 250_000
_MOST_SPANS = 4_096
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

    def moments(self, sessions: Sequence[tuple[float, float]] = ()) -> list[TimelinePoint]:
        """Return the run in about `MOST_MOMENTS` moments at most, quiet ones included, pauses left out.

        `sessions` are the times of its sessions, in seconds since the epoch: what is between them is a pause, and rows
        that are older than the first (their answers were reused) are in no moment. Without them, pauses are what looks
        like one.
        """
        finished = sum(span.rows for span in self._spans.values())
        most = min(MOST_MOMENTS, max(FEWEST_MOMENTS, finished // _ROWS_PER_MOMENT)) + len(sessions)
        while True:
            stretches = (
                self._sessions(sessions) if sessions else without_pauses(sorted(self._spans), self._span_us / 1e6)
            )
            if sum(last - first + 1 for first, last in stretches) <= most:
                break
            self._widen()
        ends = [(round(1e6 * began), round(1e6 * ended)) for began, ended in sessions]
        return [moment for first, last in stretches for moment in self._stretch(first, last, ends)]

    def _sessions(self, sessions: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
        """Return first and last span of each session that has rows; sessions that share a span are one stretch.

        A row belongs to the session that began last before it: clocks may be a little apart.
        """
        begun = [
            (math.floor(1e6 * began) // self._span_us, math.floor(1e6 * ended) // self._span_us)
            for began, ended in sessions
        ]
        numbers = sorted(self._spans)
        stretches: list[tuple[int, int]] = []
        for place, (first, last) in enumerate(begun):
            until = begun[place + 1][0] if place + 1 < len(begun) else math.inf
            rows = [number for number in numbers[bisect_left(numbers, first) :] if number < until or number <= last]
            if not rows:
                continue
            end = max(last, rows[-1])
            if stretches and first <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], max(end, stretches[-1][1]))
            else:
                stretches.append((first, end))
        return stretches

    def _stretch(self, first: int, last: int, sessions: Sequence[tuple[int, int]] = ()) -> list[TimelinePoint]:
        """Return a stretch of activity; it begins and ends with its session, else with a row, so that no rate is taken
        over idle time.

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
        inside = [times for times in sessions if first <= times[0] // width <= last]
        if inside:
            spans[0].first_us = inside[0][0]
            spans[-1].last_us = max(inside[-1][1], self._spans[last].last_us if last in self._spans else 0)
        else:
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
