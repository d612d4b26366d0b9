"""A run's progress as lines: for people where there is no terminal, and as JSON for programs (`--log FILE`)."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec

from batchgen.engine.reporter import Progress, RecentRate, Reporter
from batchgen.errors import UsageError
from batchgen.files.modes import open_file
from batchgen.text.figures import duration, figure, money, quantity, share
from batchgen.text.terminal import harmless
from batchgen.values import Result

EVERY_S = 30.0
"""Seconds between two lines of progress."""

SAID_AFTER_S = 3.0
"""A wait that lasts longer is said."""

LASTS_S = 5.0
"""A limit that is the same for so long is said."""

STORM_WINDOW_S, STORM_AGAIN_S, STORM_LEAST = 30.0, 300.0, 20
"""A retry storm is when in so many seconds more attempts fail than rows are finished, and so many at least; how soon it
is said again."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened. `kind` is `started`, `progress`, `half-way`, `paused`, `resumed`, `limit`,
    `retry storm`, `note`, `finished`, `handed in` or `stopped`."""

    kind: str
    text: str


class RunEvents:
    """Finds out from a run's progress what is worth a line. Pure; times are seconds of one clock."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._said_s = 0.0
        self._rate = RecentRate(0, 0.0)
        self._half = False
        self._waits_since_s: float | None = None
        self._wait_said = False
        self._limits: set[str] = set()
        self._limit_seen: tuple[str | None, float] = (None, 0.0)
        self._storm_s = (0.0, 0, 0)
        self._storm_said_s = float("-inf")
        self.rows_per_s = 0.0

    def started(self, at: Progress, now_s: float) -> Iterator[Event]:
        """The run begins."""
        self._said_s = now_s
        self._rate = RecentRate(at.asked, now_s)
        self._half = 2 * at.settled >= at.rows
        self._storm_s = (now_s, at.refused + at.retried, at.settled)
        kept = f", {at.settled:,} finished before" if at.settled else ""
        yield Event("started", f"{quantity(at.rows, 'row')}{kept}")

    def moved(self, at: Progress, now_s: float) -> Iterator[Event]:
        """Yield what is new, and the progress where its time has come."""
        self.rows_per_s = self._rate.rows_per_s(now_s, at.asked)
        yield from self._waits(at, now_s)
        if not self._half and 2 * at.settled >= at.rows:
            self._half = True
            yield Event("half-way", progress_text(at, self.rows_per_s))
        yield from self._limit(at, now_s)
        yield from self._storm(at, now_s)
        if now_s - self._said_s >= self._every_s:
            self._said_s = now_s
            yield Event("progress", progress_text(at, self.rows_per_s))

    def finished(self, at: Progress) -> Iterator[Event]:
        """No more rows are finished."""
        where = progress_text(at, self.rows_per_s, goes_on=False)
        if at.stopped is not None:
            yield Event("stopped", f"{at.stopped} ({where})")
        else:
            yield Event("handed in" if at.handed_in else "finished", where)

    def _waits(self, at: Progress, now_s: float) -> Iterator[Event]:
        if at.waits_for is None:
            if self._wait_said and self._waits_since_s is not None:
                yield Event("resumed", f"requests go out again after {duration(round(now_s - self._waits_since_s))}")
            self._waits_since_s, self._wait_said = None, False
            return
        if self._waits_since_s is None:
            self._waits_since_s = now_s
        if not self._wait_said and now_s - self._waits_since_s >= SAID_AFTER_S:
            self._wait_said = True
            trouble = f". The last error: {at.trouble}" if at.trouble else ""
            yield Event("paused", f"{at.waits_for}{trouble}")

    def _limit(self, at: Progress, now_s: float) -> Iterator[Event]:
        """A limit is found when it has been the same for some seconds; each kind is said once."""
        kind = None if at.limited_by is None else at.limited_by.split(",")[0].split("(")[0]
        if kind != self._limit_seen[0]:
            self._limit_seen = kind, now_s
        elif kind is not None and kind not in self._limits and now_s - self._limit_seen[1] >= LASTS_S:
            self._limits.add(kind)
            yield Event("limit", f"the pace is limited by {at.limited_by}")

    def _storm(self, at: Progress, now_s: float) -> Iterator[Event]:
        began_s, failed, settled = self._storm_s
        if now_s - began_s < STORM_WINDOW_S:
            return
        more, done = at.refused + at.retried - failed, at.settled - settled
        self._storm_s = (now_s, at.refused + at.retried, at.settled)
        if more >= STORM_LEAST and more > done and now_s - self._storm_said_s >= STORM_AGAIN_S:
            self._storm_said_s = now_s
            trouble = f". The last error: {at.trouble}" if at.trouble else ""
            span = duration(round(now_s - began_s))
            yield Event(
                "retry storm",
                f"in {span} {more:,} attempts failed and {quantity(done, 'row was', 'rows were')} finished{trouble}",
            )


def progress_text(at: Progress, rows_per_s: float, *, goes_on: bool = True) -> str:
    """Return where a run stands in one line."""
    parts = [f"{at.settled:,} of {quantity(at.rows, 'row')} ({share(at.settled, at.rows)})"]
    if rows_per_s:
        parts.append(f"{figure(rows_per_s)} rows/s")
        if at.pending and goes_on:
            parts.append(f"about {duration(round(at.pending / rows_per_s))} left")
    if at.failed:
        parts.append(f"{at.failed:,} failed")
    if at.refused:
        parts.append(f"{at.refused:,} rate-limited")
    if at.retried:
        parts.append(f"{at.retried:,} tried again")
    if at.spent is not None:
        parts.append(f"cost {money(at.spent, at.currency)}")
        if at.budget is not None:
            parts.append(f"of a budget of {money(at.budget, at.currency)}")
    return ", ".join(parts)


class _Lines(Reporter):
    """Turns progress into events and writes each; what cannot be written is left out, and the run goes on."""

    def __init__(self, *, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._events = RunEvents(every_s)
        self._at = Progress()

    def started(self, standing: Progress) -> None:
        self._tell(standing, self._events.started(standing, self._clock()))

    def moved(self, standing: Progress) -> None:
        self._tell(standing, self._events.moved(standing, self._clock()))

    def note(self, text: str) -> None:
        self._tell(self._at, [Event("note", text)])

    def finished(self, standing: Progress) -> None:
        self._tell(standing, self._events.finished(standing))

    def _tell(self, standing: Progress, events: Iterator[Event] | Sequence[Event]) -> None:
        self._at = standing
        for event in events:
            with suppress(OSError, ValueError):
                self._write(event, standing)

    def _write(self, event: Event, standing: Progress) -> None:
        raise NotImplementedError


class ProgressLog(_Lines):
    """Lines with a time stamp on `file`: every 30 seconds and at each event; notes alone where `progress` is False."""

    def __init__(
        self,
        *,
        progress: bool = True,
        unsaid: Collection[str] = (),
        file: TextIO | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._progress, self._unsaid, self._now = progress, unsaid, now
        self._file = file if file is not None else sys.stderr

    def _write(self, event: Event, standing: Progress) -> None:
        if event.kind in self._unsaid or (not self._progress and event.kind != "note"):
            return
        text = " ".join(harmless(event.text).split())
        what = "" if event.kind in ("note", "progress") else f"{event.kind}: "
        stamp = f"{self._now():%Y-%m-%dT%H:%M:%SZ} " if self._progress else ""
        print(f"{stamp}{what}{text}", file=self._file, flush=True)


class JsonLog(_Lines):
    """The same events as JSON objects, one on a line, in a file that only grows."""

    def __init__(
        self, file: TextIO, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), **options: Any
    ) -> None:
        super().__init__(**options)
        self._file, self._now = file, now

    def _write(self, event: Event, standing: Progress) -> None:
        line = {
            "time": self._now().isoformat(timespec="milliseconds"),
            "event": event.kind,
            "text": harmless(event.text),
            "rows": standing.rows,
            "succeeded": standing.succeeded,
            "failed": standing.failed,
            "pending": standing.pending,
            "in_flight": standing.in_flight,
            "refused": standing.refused,
            "retried": standing.retried,
            "rows_per_s": self._events.rows_per_s,
            "cost": standing.spent,
            "currency": standing.currency or None,
            "limited_by": standing.limited_by,
            "waits_for": standing.waits_for,
            "last_error": standing.trouble,
        }
        self._file.write(msgspec.json.encode(line).decode() + "\n")
        self._file.flush()


class Reporters(Reporter):
    """Several reporters as one."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def started(self, standing: Progress) -> None:
        for one in self._reporters:
            one.started(standing)

    def stored(self, results: Sequence[Result]) -> None:
        for reporter in self._reporters:
            reporter.stored(results)

    def moved(self, standing: Progress) -> None:
        for one in self._reporters:
            one.moved(standing)

    def note(self, text: str) -> None:
        for one in self._reporters:
            one.note(text)

    def finished(self, standing: Progress) -> None:
        for one in self._reporters:
            one.finished(standing)


@contextmanager
def reporters(
    *, progress: bool, quiet: bool = False, brief: bool = False, log: str | None = None
) -> Iterator[Reporter]:
    """Yield what reports a run: a bar on a terminal, else lines; `log` gets JSON too.

    `brief` leaves out the lines for its beginning and end. Raises `UsageError` for a `log` that cannot be written.
    """
    shown: list[Reporter] = []
    if not quiet and progress and sys.stderr.isatty():
        from batchgen.progress.bar import ProgressBar

        shown.append(ProgressBar())
    elif not quiet:
        unsaid = ("started", "half-way", "finished", "handed in", "stopped") if brief else ()
        shown.append(ProgressLog(progress=progress, unsaid=unsaid))
    if log is None:
        yield Reporters(*shown)
        return
    try:
        descriptor = open_file(Path(log), os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        raise UsageError(f"--log {log}: the file cannot be written: {error.strerror}.") from None
    with open(descriptor, "a", encoding="utf-8", errors="replace") as file:
        yield Reporters(*shown, JsonLog(file))
