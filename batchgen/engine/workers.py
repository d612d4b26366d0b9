"""Many prompts → results: workers, each with one request out at a time, one shared feed, one `emit`.

A worker takes the next row with no await while a shard lasts (a task for every row would cost 30 µs). A row that must
wait for another attempt is handed to a task of its own, so that its worker goes on. Nothing here knows journal or
Parquet: results leave through `emit`, rows left unfinished through `leave`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from batchgen.engine.attempt import Completer
from batchgen.engine.work import RowInProgress
from batchgen.errors import StoppedError, StorageStop
from batchgen.pace.limiter import Limiter, LimiterClosed
from batchgen.pace.retry import is_retryable
from batchgen.values import Completion, Failure, Outcome, Result, Verdict

DRAIN_S = 25.0
"""How long an interrupted run waits for what is in flight: Kubernetes kills after 30 s."""

FIRST_WORKERS = 64
"""Workers to begin with; twice as many whenever half of them have a request out and the loop has time left. More in
flight than keep the core busy only cost: nothing of a row is in the core's caches any more when its reply comes."""

BUSY_S = 0.0005
"""Two turns of the loop that take longer mean that it has work waiting."""

LOOK_S, LOOK_SELDOM_S = 0.005, 0.02
"""Seconds until the next look at whether more workers are of use: after one that was, doubled after each that was not,
the most."""

WAITING_ROWS = 4_000
"""Most rows that wait for another attempt in tasks of their own; beyond it their workers wait with them."""


class Feed(Protocol):
    """Rows still to do. Iterating ends with the shard at hand; `more` brings the next one."""

    def __iter__(self) -> Iterator[RowInProgress | Result]:
        """Yield the next rows; a row that cannot be asked at all comes as its result."""

    async def more(self) -> bool:
        """Load the next shard; False when there is none."""


class Outlet(Protocol):
    """Where results go."""

    @property
    def congested(self) -> bool:
        """Whether to send no more requests for now."""

    def emit(self, result: Result) -> None:
        """Take a result; never blocks."""

    async def wait_for_room(self) -> None:
        """Return when results can be taken again; raises `StorageStop` when they never will."""


class Runner:
    """Works a feed off. `leave` is told of rows that were tried but not settled when the run ends early."""

    def __init__(
        self, completer: Completer, limiter: Limiter, feed: Feed, outlet: Outlet, leave: Callable[[RowInProgress], None]
    ) -> None:
        self._completer = completer
        self._room = completer.room
        self._limiter = limiter
        self._feed = feed
        self._outlet = outlet
        self._leave = leave
        self._stopped = anyio.Event()
        self._halted = False  # as `_stopped`, at a tenth of the price
        self._abort = anyio.CancelScope()
        self._feeding: set[anyio.CancelScope] = set()
        self._tasks: TaskGroup | None = None
        self._workers = 0
        self._wanted = 0
        self._hiring = False
        self._drained = anyio.Event()  # no rows are left to begin
        self._waiting = 0
        self.error: StoppedError | None = None
        self.interrupted = False

    async def run(self, workers: int) -> None:
        """Work until the feed is empty, or until stopped and drained. The reason is in `error` or `interrupted`."""
        with self._abort:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self.widen(workers)
        self._tasks = None

    def widen(self, workers: int) -> None:
        """Have up to `workers` workers; if there are more, they leave when their row is done."""
        self._wanted = workers
        if not self._hiring:
            self._hire(FIRST_WORKERS)
            if self._tasks is not None and self._workers < workers:
                self._hiring = True
                self._tasks.start_soon(self._hire_more)

    def _hire(self, workers: int) -> None:
        """Have so many workers, if they are wanted."""
        while self._tasks is not None and self._workers < min(workers, self._wanted) and not self._halted:
            self._workers += 1
            self._tasks.start_soon(self._work)

    async def _hire_more(self) -> None:
        """Have twice as many workers, again and again, while they are of use."""
        pause_s = LOOK_S
        while self._workers < self._wanted and not (self._halted or self._drained.is_set()):
            began_s = time.perf_counter()
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            idle = time.perf_counter() - began_s < BUSY_S
            if idle and 2 * self._limiter.in_flight >= self._workers:
                self._hire(2 * self._workers)
                pause_s = LOOK_S
            with anyio.move_on_after(pause_s):
                await self._drained.wait()
            pause_s = min(2 * pause_s, LOOK_SELDOM_S)
        self._hiring = False

    def stop(self, error: StoppedError) -> None:
        """Send nothing more, let what is in flight finish; `error` says why.

        The first reason stays, an interruption included; but storage that fails is always said.
        """
        if self.error is None and (not self.interrupted or isinstance(error, StorageStop)):
            self.error = error
        self._halt()

    def interrupt(self) -> None:
        """Send nothing more; what is in flight has `DRAIN_S` seconds to finish. A second call cancels it at once."""
        if self.interrupted:
            self._abort.cancel()
            return
        self.interrupted = True
        self._halt()
        self._abort.deadline = anyio.current_time() + DRAIN_S

    def _halt(self) -> None:
        self._halted = True
        self._drained.set()
        self._stopped.set()
        self._limiter.stop()
        for scope in self._feeding:
            scope.cancel()

    async def _sleep(self, seconds: float) -> None:
        """A row's backoff, cut short by `LimiterClosed` when the run stops."""
        with anyio.move_on_after(seconds):
            await self._stopped.wait()
        if self._halted:
            raise LimiterClosed

    async def _work(self) -> None:
        try:
            while not self._halted:
                if self._room.full:
                    await self._room.wait()
                    continue
                for item in self._feed:
                    if self._outlet.congested:
                        await self._outlet.wait_for_room()
                    if isinstance(item, Result):
                        self._outlet.emit(item)
                    else:
                        await self._see_through(item)
                    if self._room.full:
                        await self._room.wait()
                    if self._halted or self._workers > self._wanted:
                        return
                if not await self._more():
                    self._drained.set()
                    return
        except StoppedError as error:
            self.stop(error)
        finally:
            self._workers -= 1

    async def _more(self) -> bool:
        """Bring the next shard; a stop ends the wait, since the room it waits for may never come then."""
        with anyio.CancelScope() as scope:
            self._feeding.add(scope)
            try:
                return await self._feed.more()
            finally:
                self._feeding.discard(scope)
        return False

    async def _see_through(self, work: RowInProgress, failure: Failure | None = None) -> None:
        """Bring a row to its end, from its first attempt or from a failed one on; aside, if it has to wait.

        Whatever ends it without a result leaves the row pending and on record.
        """
        try:
            if failure is None:
                outcome = await self._completer.attempt(work)
                if isinstance(outcome, Failure) and is_retryable(outcome):
                    if self._waiting < WAITING_ROWS:
                        self._go_on_aside(work, outcome)
                        return
                    failure = outcome
            if failure is not None:
                outcome = await self._completer.again(work, failure, self._sleep)
            self._settle(work, outcome)
        except LimiterClosed:
            self._give_up(work)
        except StoppedError as error:
            self._give_up(work)
            self.stop(error)
        except anyio.get_cancelled_exc_class():
            self._give_up(work)
            raise

    def _go_on_aside(self, work: RowInProgress, failure: Failure) -> None:
        """Give a row that has to wait a task of its own."""
        assert self._tasks is not None
        self._waiting += 1
        self._tasks.start_soon(self._wait_aside, work, failure)

    async def _wait_aside(self, work: RowInProgress, failure: Failure) -> None:
        try:
            await self._see_through(work, failure)
        finally:
            self._waiting -= 1

    def _give_up(self, work: RowInProgress) -> None:
        self._room.free(work)
        self._leave(work)

    def _settle(self, work: RowInProgress, outcome: Outcome) -> None:
        self._room.free(work)
        if isinstance(outcome, Completion) or outcome.verdict is not Verdict.STOP:
            self._outlet.emit(self._completer.result(work, outcome))
        else:
            self._leave(work)
            self.stop(self._completer.stop_reason(outcome))
