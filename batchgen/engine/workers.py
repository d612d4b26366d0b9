"""Many rows → results: workers, each with one request out at a time, one shared feed and one outlet.

A worker takes the next row with no await while a shard lasts (a task for every row would cost 30 µs). A row that must
wait for another attempt is handed to a task of its own, so that its worker goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from batchgen.engine.attempt import Attempts
from batchgen.engine.dialogue import Dialogue, PlainDialogue
from batchgen.engine.protocol import Outlet, RowFeed
from batchgen.engine.provider_health import REMEDIES
from batchgen.engine.refusals import Suspect
from batchgen.engine.row_result import RowResults
from batchgen.engine.work import RowInProgress
from batchgen.errors import ProviderStop, StoppedError, StorageStop
from batchgen.money.ledger import Charges
from batchgen.pace.limiter import Limiter, LimiterClosed
from batchgen.pace.retry import RetryPolicy, is_retryable
from batchgen.storage.journal_rows import result_bytes
from batchgen.values import Completion, Failure, Outcome

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

DOUBT_S = 0.01
"""Seconds until the next look at whether refusals were those of single rows."""

WARM_UP_S = 10.0
"""The longest that all others wait for the first request, where they share a beginning that a vendor may keep."""

WAITING_ROWS = 4_000
"""Most rows that wait for another attempt in tasks of their own; beyond it their workers wait with them."""


class Workers:
    """Asks the rows of a feed. A row that ends early stays pending, with what it has cost on record.

    `note` takes a sentence for the user. With `warm_up` one request is answered before the others are sent.
    """

    def __init__(
        self,
        attempts: Attempts,
        dialogue: Dialogue,
        results: RowResults,
        retry: RetryPolicy,
        limiter: Limiter,
        *,
        note: Callable[[str], None] = lambda text: None,
        warm_up: bool = False,
    ) -> None:
        self._attempts = attempts
        self._warm_up = warm_up
        self._warm = anyio.Event()  # the first request has been answered, or failed
        self._memory = attempts.memory
        self._health = attempts.health
        # A plain row ends with its first completion: it is spared the turns, which cost 2 µs a row.
        self._dialogue = None if isinstance(dialogue, PlainDialogue) else dialogue
        self._ask = attempts.send if self._dialogue is None else partial(self._ask_in_turns, self._dialogue)
        self._results = results
        self._retry = retry
        self._limiter = limiter
        self._feed: RowFeed
        self._out: Outlet
        self._stopped = anyio.Event()
        self._halted = False  # as `_stopped`, at a tenth of the price
        self._abort = anyio.CancelScope()
        self._feeding: set[anyio.CancelScope] = set()
        self._tasks: TaskGroup | None = None
        self._workers = 0
        self._wanted = 0
        self._growing = False
        self._drained = anyio.Event()  # no rows are left to begin
        self._waiting = 0
        self._note = note
        self.error: StoppedError | None = None
        self.interrupted = False

    async def run(self, feed: RowFeed, out: Outlet, workers: int) -> None:
        """Work until the feed is empty, or until stopped and drained. The reason is in `error` or `interrupted`."""
        self._feed, self._out = feed, out
        with self._abort:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                if self._warm_up:
                    self.widen(1)
                    tasks.start_soon(self._widen_when_warm, workers)
                else:
                    self.widen(workers)
            while self._health.held and not self._halted:
                async with anyio.create_task_group() as tasks:  # for rows that are asked in place of those that fail
                    self._tasks = tasks
                    self._judge_held()
        self._tasks = None
        for suspect in self._health.held:
            self._give_up(suspect.row)
        self._health.held = []

    def look(self) -> None:
        """Called from time to time: stops a run that gets no answers, and says what it waits for."""
        limiter, health = self._limiter, self._health
        now_s, timeout_s = limiter.clock(), limiter.pacer.limits.timeout_s
        reason = health.overdue(now_s, timeout_s, down=limiter.pacer.is_down)
        if reason is not None:
            self._stop_for(reason)
        else:
            self._say(health.news(now_s, timeout_s))
        if health.held and not (self._halted or limiter.in_flight or limiter.waiting or self._waiting):
            self._judge_held()  # the rest of the input waits for these rows

    def _say(self, news: str | None) -> None:
        if news is not None:
            self._note(self._results.masker.message(news))

    def _judge_held(self) -> None:
        """Decide on the rows that are held back, as no other request is out that could tell more of them."""
        reason = self._health.at_the_end()
        if reason is not None:
            self._stop_for(reason)
            return
        held, self._health.held = self._health.held, []
        for suspect in held:
            self._end_held(suspect)

    def _end_held(self, suspect: Suspect) -> None:
        """Record a row that was held back, or try it again if it was refused although others were answered."""
        row, failure = suspect.row, self._health.refusals.another_try(suspect)
        if failure is None:
            self._record(row, suspect.failure)
            return
        if self._halted:
            self._give_up(row)
            return
        if row.request is not None:
            self._memory.weigh(row, len(row.request.body))
        self._go_on_aside(row, failure)

    def _stop_for(self, reason: str) -> None:
        cause = self._health.cause
        self.stop(ProviderStop(self._results.masker.message(reason), None if cause is None else REMEDIES.get(cause)))

    def widen(self, workers: int) -> None:
        """Have up to `workers` workers; if there are more, they leave when their row is done."""
        self._wanted = workers
        if not self._growing:
            self._start_workers(FIRST_WORKERS)
            if self._tasks is not None and self._workers < workers:
                self._growing = True
                self._tasks.start_soon(self._grow_pool)

    async def _widen_when_warm(self, workers: int) -> None:
        """Let one request fill the vendor's prompt cache before the others follow, which find their beginning there."""
        with anyio.move_on_after(WARM_UP_S):
            await self._warm.wait()
        self.widen(workers)

    def _start_workers(self, workers: int) -> None:
        """Have so many workers, if they are wanted."""
        while self._tasks is not None and self._workers < min(workers, self._wanted) and not self._halted:
            self._workers += 1
            self._tasks.start_soon(self._work)

    async def _grow_pool(self) -> None:
        """Have twice as many workers, again and again, while they are of use."""
        pause_s = LOOK_S
        while self._workers < self._wanted and not (self._halted or self._drained.is_set()):
            began_s = time.perf_counter()
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            idle = time.perf_counter() - began_s < BUSY_S
            if idle and 2 * self._limiter.in_flight >= self._workers:
                self._start_workers(2 * self._workers)
                pause_s = LOOK_S
            with anyio.move_on_after(pause_s):
                await self._drained.wait()
            pause_s = min(2 * pause_s, LOOK_SELDOM_S)
        self._growing = False

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
        self._abort.deadline = asyncio.get_running_loop().time() + DRAIN_S  # also from a callback, outside any task

    def _halt(self) -> None:
        self._halted = True
        self._drained.set()
        self._warm.set()
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
                if self._memory.full:
                    await self._memory.wait()
                    continue
                for item in self._feed:
                    if self._out.congested:
                        await self._out.wait_for_room()
                    if isinstance(item, RowInProgress):
                        if self._health.held:
                            await self._wait_in_doubt()
                        await self._see_through(item)
                    else:
                        if item.reused:
                            self._health.answered_earlier()
                        self._out.emit(item)
                    if self._memory.full:
                        await self._memory.wait()
                    if self._halted or self._workers > self._wanted:
                        return
                if not await self._more():
                    self._drained.set()
                    self._warm.set()
                    return
        except StoppedError as error:
            self.stop(error)
        finally:
            self._workers -= 1

    async def _wait_in_doubt(self) -> None:
        """Return when it is known whether refusals were those of single rows, or the run ends."""
        while self._health.in_doubt and not self._halted:
            with anyio.move_on_after(DOUBT_S):
                await self._stopped.wait()

    async def _more(self) -> bool:
        """Bring the next shard; a stop ends the wait, since the room it waits for may never come then."""
        with anyio.CancelScope() as scope:
            self._feeding.add(scope)
            try:
                return await self._feed.more()
            finally:
                self._feeding.discard(scope)
        return False

    async def _see_through(self, row: RowInProgress, failure: Failure | None = None) -> None:
        """Attempt a row until it ends, from the first or after a failed attempt; in its own task if it has to wait.

        Whatever ends it without a result leaves the row pending and on record.
        """
        try:
            if failure is None:
                outcome = await self._ask(row)
                if self._warm_up:
                    self._warm_up = False
                    self._warm.set()
                if not isinstance(outcome, Completion) and is_retryable(outcome):
                    if self._waiting < WAITING_ROWS:
                        self._go_on_aside(row, outcome)
                        return
                    failure = outcome
            if failure is not None:
                outcome = await self._retry.run(failure, partial(self._ask, row, retry=True), row.tally, self._sleep)
                if row.tally.disproved and isinstance(outcome, Completion):
                    self._say(self._health.answered_later(failure))
            self._settle(row, outcome)
        except LimiterClosed:
            self._give_up(row)
        except StoppedError as error:
            self._give_up(row)
            self.stop(error)
        except anyio.get_cancelled_exc_class():
            self._give_up(row)
            raise

    def _go_on_aside(self, row: RowInProgress, failure: Failure) -> None:
        """Give a row that has to wait a task of its own."""
        assert self._tasks is not None
        self._waiting += 1
        self._tasks.start_soon(self._wait_aside, row, failure)

    async def _wait_aside(self, row: RowInProgress, failure: Failure) -> None:
        try:
            await self._see_through(row, failure)
        finally:
            self._waiting -= 1

    async def _ask_in_turns(self, dialogue: Dialogue, row: RowInProgress, *, retry: bool = False) -> Outcome:
        """Send the row's turn, and the turns after it, until one ends the row or fails; raises what an attempt raises.

        A failure that another try can mend is the turn's: trying again goes on with that turn.
        """
        dialogue.resume(row)
        while True:
            outcome = await self._attempts.send(row, retry=retry)
            if not isinstance(outcome, Completion):
                return outcome
            step = dialogue.next(row, outcome)
            if not isinstance(step, Charges):
                return step
            self._out.spend(step)
            retry = False

    def _give_up(self, row: RowInProgress) -> None:
        """Put on record what a row has used up that stays pending."""
        self._memory.free(row)
        charges = self._results.unfinished(row)
        if charges is not None:
            self._out.spend(charges)

    def _settle(self, row: RowInProgress, outcome: Outcome) -> None:
        """Record how a row has ended, or hold it back while its failure may be everybody's."""
        health = self._health
        self._memory.free(row)
        if not isinstance(outcome, Completion) and health.is_suspect(outcome):
            reason = health.hold(row, outcome)
            if reason is not None:
                self._stop_for(reason)
        else:
            self._record(row, outcome)
        if health.held:
            for suspect in health.cleared():
                self._end_held(suspect)

    def _record(self, row: RowInProgress, outcome: Outcome) -> None:
        self._say(self._health.row_ended(outcome))
        result = self._results.result(row, outcome)
        if self._dialogue is not None:
            result = self._dialogue.finish(row, outcome, result)
        instead = self._out.emit(result)
        if row.large and self._out.congested and self._tasks is not None:
            self._tasks.start_soon(self._hold_until_saved, result_bytes(result))
        if instead is not None:
            assert self._tasks is not None
            self._waiting += 1
            self._tasks.start_soon(self._ask_instead, instead)

    async def _ask_instead(self, row: RowInProgress) -> None:
        """Ask a row in place of another that asked the same and failed."""
        try:
            await self._see_through(row)
        finally:
            self._waiting -= 1

    async def _hold_until_saved(self, size: int) -> None:
        """Leave other large replies in their sockets as long as the disk has more to take than it can at once."""
        replies = self._attempts.replies
        replies.hold(size)
        try:
            await self._out.wait_for_room()
        except StorageStop:
            pass  # the run ends; what is in flight is still read
        finally:
            replies.release(size)
