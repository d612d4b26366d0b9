"""Receives the progress of a run: a class with empty methods, which a progress bar or a test overrides."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from batchgen.values import Result


class Progress(Struct):
    """Where the run stands, of rows whose results are durably stored; `spent` is None while no price is known.

    `trouble` is the last error, while there has been no answer since; `waits_for` is why nothing is sent at the moment,
    `limited_by` what bounds the pace so far; `refused` counts rate-limited answers, `retried` failed attempts that are
    tried again. Of `input_tokens` so far, `cached_tokens` came from the provider's prompt cache. `kept` rows were
    finished before this run; `stopped` is why it ended before its end; `left_out` names endpoints that get no rows now;
    `handed_in`: it ended with rows that wait in the vendor's batches.
    """

    rows: int = 0
    settled: int = 0
    failed: int = 0
    reused: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    refused: int = 0
    in_flight: int = 0
    spent: Decimal | None = None
    budget: Decimal | None = None
    currency: str = ""
    trouble: str | None = None
    retried: int = 0
    waits_for: str | None = None
    limited_by: str | None = None
    kept: int = 0
    stopped: str | None = None
    left_out: str | None = None
    handed_in: bool = False

    @property
    def asked(self) -> int:
        """Finished rows that took a request: what a rate is of. Reused answers come in no time."""
        return self.settled - self.reused

    @property
    def succeeded(self) -> int:
        """Rows that have an answer."""
        return self.settled - self.failed

    @property
    def pending(self) -> int:
        """Rows still to do: those that have no result, neither an answer nor a permanent failure."""
        return self.rows - self.settled


class RecentRate:
    """Rows finished per second over the last `window_s` seconds; until then, since the beginning."""

    def __init__(self, finished: int, now_s: float, window_s: float = 60.0) -> None:
        self._window_s = window_s
        self._seen = deque([(now_s, finished)])

    def rows_per_s(self, now_s: float, finished: int) -> float:
        """Return the rate now that so many rows are finished."""
        while len(self._seen) > 1 and now_s - self._seen[1][0] >= self._window_s:
            self._seen.popleft()
        then_s, before = self._seen[0]
        if now_s - self._seen[-1][0] >= self._window_s / 60:
            self._seen.append((now_s, finished))
        return round((finished - before) / (now_s - then_s), 3) if now_s > then_s else 0.0


class Reporter:
    """Receives what happens; this one keeps silent (the Python functions print nothing)."""

    def started(self, standing: Progress) -> None:
        """The rows are counted and sending begins; `standing.settled` rows are kept from before."""

    def moved(self, standing: Progress) -> None:
        """Called after each commit, and every two seconds whether rows are finished or not."""

    def stored(self, results: Sequence[Result]) -> None:
        """Results are durable; called before `moved`, with those of one commit."""

    def note(self, text: str) -> None:
        """A sentence for the user: a warning, or why the run waits."""

    def finished(self, standing: Progress) -> None:
        """No more rows will be finished."""
