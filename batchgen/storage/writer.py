"""Asynchronous handle on the storage threads (`writer_thread`): takes results, reports commits and published parts.

Back-pressure, for the loop that dispatches: `if writer.congested: await writer.wait_for_room()`. When storage fails for
good, the run ends with `StorageStop`; what is not committed then, and what still comes, goes to the spill file.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from sys import getsizeof
from types import TracebackType
from typing import Self, TypeVar

import anyio

from batchgen.errors import StoppedError, StorageStop
from batchgen.files.disk_errors import of_disk, unforeseen_stop
from batchgen.money.ledger import Charges
from batchgen.storage.journal import Journal
from batchgen.storage.journal_rows import ROW_BYTES, result_bytes
from batchgen.storage.overflow import SPILL_BYTES, Spill
from batchgen.storage.result_schema import Layout
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shards import Shard
from batchgen.storage.target import OutputTarget
from batchgen.storage.writer_thread import (
    RETRY_WAITS_S,
    Close,
    CommitGroup,
    Committer,
    JournalCall,
    OpenShardRequest,
    megabytes,
)
from batchgen.text.figures import quantity
from batchgen.values import Result

GROUP_ROWS = 1_000
GROUP_BYTES = 8 * 1024 * 1024
GROUP_WAIT_S = 0.05
"""Results are handed over when one of these is reached, counted from the group's first."""

MOST_UNCOMMITTED_ROWS = 4_000
MOST_UNCOMMITTED_BYTES = 32 * 1024 * 1024
"""Beyond either, dispatch stops until a commit is through: a slow disk stops the run, not memory."""


T = TypeVar("T")


class Writer:
    """`async with Writer(directory, layout, concurrency=64, on_commit=f) as writer:`; called on the loop's thread only.

    `on_commit` gets the results of each commit as stored, on the loop: only then do they count. `concurrency` is the
    most requests in flight: it bounds what a kill can cost twice, and the room that is kept for a full disk; with 0
    rows wait for their answers elsewhere, and there may be any number of open shards, whose columns are on disk alone.
    `only` are the rows that a pilot asks: all results stay in the journal and no shard is held in memory, as a pilot
    opens nearly all of them.
    """

    def __init__(
        self,
        directory: RunDirectory,
        layout: Layout,
        *,
        concurrency: int,
        on_commit: Callable[[Sequence[Result]], None],
        only: AbstractSet[int] | None = None,
        group_wait_s: float = GROUP_WAIT_S,
        retry_waits_s: Sequence[float] = RETRY_WAITS_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._concurrency = concurrency
        self._on_commit = on_commit
        self._publishes = only is None
        self._group_wait_s = group_wait_s
        self._committer = Committer(
            directory.journal,
            directory.results_path,
            layout,
            _OnLoop(self, directory.target),
            concurrency=concurrency,
            only=only,
            retry_waits_s=retry_waits_s,
            sleep=sleep,
        )
        self._committer.input_cost = directory.input_cost
        self._group = CommitGroup([], [])
        self._timer: asyncio.TimerHandle | None = None
        self._uncommitted: deque[CommitGroup] = deque()
        self._uncommitted_rows = self._uncommitted_bytes = 0
        self.congested = False
        """Whether to send no more requests for now: too much is uncommitted, or the disk is refusing."""
        self._openings: dict[int, asyncio.Future[set[int]]] = {}
        self._open_shards: set[int] = set()
        self._refusing: set[str] = set()
        self._failure: StoppedError | None = None
        self._spill_task: asyncio.Task[None] | None = None
        self._closing = False

    async def __aenter__(self) -> Self:
        """Start the threads. Raises `StorageStop` when there is no room for the spill file."""
        self.loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        try:
            self._spill = Spill(self._directory.spill_path, run=self._directory.journal.identity.run)
            self._directory.journal.begin_session(time.time_ns() // 1_000, self._concurrency)
        except Exception as error:
            if not of_disk(error):
                raise
            raise StorageStop(
                f"{self._directory.path} cannot be written ({error}); {megabytes(SPILL_BYTES)} are needed to begin."
            ) from error
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batchgen-journal")
        self._thread = self.loop.run_in_executor(self._pool, self._committer.run, self._spill)
        self._thread.add_done_callback(self._thread_ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """`close()`; an error already on its way is not replaced."""
        try:
            await self.close()
        except StoppedError:
            if error is None:
                raise

    async def open_shard(self, shard: Shard) -> set[int]:
        """Take a shard in and return those of its rows that already have a result. Raises `StorageStop`.

        `shard.table` needs the carried columns and the id column only. The writer keeps it until its part is out.
        """
        self._raise_failure()
        answer: asyncio.Future[set[int]] = self.loop.create_future()
        self._openings[shard.number] = answer
        if self._publishes:
            self._open_shards.add(shard.number)
        self._committer.queue.put(OpenShardRequest(shard))
        return await answer

    @property
    def open_shards(self) -> int:
        """Shards taken in whose part is not published yet: bound them (2-3) before opening more."""
        return len(self._open_shards)

    def _look_for_room(self) -> None:
        self.congested = (
            self._uncommitted_rows >= MOST_UNCOMMITTED_ROWS
            or self._uncommitted_bytes >= MOST_UNCOMMITTED_BYTES
            or bool(self._refusing)
        )

    def emit(self, result: Result) -> None:
        """Hand over a settled row of an open shard; never waits, never raises. It counts when `on_commit` names it."""
        group = self._group
        group.results.append(result)
        size = result_bytes(result)
        group.bytes += size
        self._uncommitted_bytes += size
        self._uncommitted_rows += 1
        if self._uncommitted_rows >= MOST_UNCOMMITTED_ROWS or self._uncommitted_bytes >= MOST_UNCOMMITTED_BYTES:
            self.congested = True
        if len(group.results) >= GROUP_ROWS or group.bytes >= GROUP_BYTES:
            self._hand_over()
        elif self._timer is None:
            self._timer = self.loop.call_later(self._group_wait_s, self._hand_over)

    def spend(self, spent: Charges) -> None:
        """Hand over what a row that stays pending has cost, and its turns; the journal adds both to its result."""
        group = self._group
        group.spent.append(spent)
        size = sum(ROW_BYTES + getsizeof(turn.completion.text) for turn in spent.turns)
        group.bytes += size
        self._uncommitted_bytes += size
        self._look_for_room()
        if self._timer is None:
            self._timer = self.loop.call_later(self._group_wait_s, self._hand_over)

    async def on_journal(self, call: Callable[[Journal], T]) -> T:
        """Return what a call with the journal gives, made when everything that was handed over before is durable.

        It may be made again after an error of the disk. Raises `StorageStop`.
        """
        self._raise_failure()
        self._hand_over()
        answer: Future[T] = Future()
        self._committer.ask(JournalCall(call, answer))
        done = asyncio.wrap_future(answer)
        with anyio.CancelScope(shield=True):
            await asyncio.wait([done])
        if done.cancelled():
            await asyncio.wait([self._thread])
            await asyncio.sleep(0)  # let `_thread_ended` run
            self._raise_failure()
        return done.result()

    async def wait_for_room(self, open_shards: int | None = None) -> None:
        """Return when results are being taken (and at most `open_shards` shards are open). Raises `StorageStop`."""
        while self._failure is None and (
            self.congested or (open_shards is not None and len(self._open_shards) > open_shards)
        ):
            await self._changed.wait()
        self._raise_failure()

    async def watch(self) -> None:
        """Wait until storage fails and raise its `StorageStop`: a task beside the runner, cancelled at the end."""
        while self._failure is None:
            await self._changed.wait()
        self._raise_failure()

    async def close(self) -> None:
        """Commit what was handed over, publish the shards with what they have, stop the threads.

        Raises `StorageStop`.
        """
        if not self._closing:
            self._closing = True
            with anyio.CancelScope(shield=True):
                self._hand_over()
                self._committer.queue.put(Close())
                await asyncio.wait([self._thread])
                await asyncio.sleep(0)  # let `_thread_ended` run
                if self._spill_task is not None:
                    await self._spill_task
                self._pool.shutdown()
                self._spill.close()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group = self._group
        if not group.results and not group.spent:
            return
        self._group = CommitGroup([], [])
        self._uncommitted.append(group)
        if self._failure is None:
            self._committer.queue.put(group)
        elif self._spill_task is None or self._spill_task.done():
            self._spill_task = self.loop.create_task(self._spill_uncommitted())

    def _thread_ended(self, thread: asyncio.Future[None]) -> None:
        """If it died: stop the run, and spill what is not committed; all that its queue holds is among that."""
        error = thread.exception()
        if error is None:
            return
        self._failure = unforeseen_stop(error, self._directory.path)
        for answer in self._openings.values():
            if not answer.done():
                answer.set_exception(self._failure)
        self._spill_task = self.loop.create_task(self._spill_uncommitted())
        self.tell_change()

    async def _spill_uncommitted(self) -> None:
        while self._uncommitted:
            group = self._uncommitted.popleft()
            try:
                await asyncio.to_thread(self._spill.append, group.results, group.spent)
            except OSError as error:
                before = self._failure
                assert before is not None
                self._failure = type(before)(
                    f"{before} {quantity(len(group.results), 'answer')} could not be kept ({error}) and will be "
                    "asked again."
                )
                self._failure.__cause__ = before.__cause__

    # What `_OnLoop` calls, on the loop

    def take_commit(self, groups: int, stored: list[Result]) -> None:
        """Forget the groups that are durable now, and report them."""
        for _ in range(groups):
            group = self._uncommitted.popleft()
            self._uncommitted_rows -= len(group.results)
            self._uncommitted_bytes -= group.bytes
        self._look_for_room()
        self.tell_change()
        if stored:
            self._on_commit(stored)

    def take_opening(self, number: int, settled: set[int]) -> None:
        """Resume the caller that waits in `open_shard`, unless it was cancelled."""
        answer = self._openings.pop(number)
        if not answer.done():
            answer.set_result(settled)

    def take_part(self, number: int) -> None:
        """Count a published shard."""
        self._open_shards.discard(number)
        self.tell_change()

    def take_trouble(self, what: str, refusing: bool) -> None:
        """Record that the disk refuses something, or no longer does."""
        (self._refusing.add if refusing else self._refusing.discard)(what)
        self._look_for_room()
        self.tell_change()

    def tell_change(self) -> None:
        """Wake all callers that wait for room or for a failure."""
        self._changed.set()
        self._changed = asyncio.Event()


class _OnLoop:
    """Passes the news of the threads to the event loop. A part for a store counts once the store has it."""

    def __init__(self, writer: Writer, target: OutputTarget | None) -> None:
        self._writer = writer
        self._target = target

    def committed(self, groups: int, stored: list[Result]) -> None:
        self._writer.loop.call_soon_threadsafe(self._writer.take_commit, groups, stored)

    def opened(self, number: int, settled: set[int]) -> None:
        self._writer.loop.call_soon_threadsafe(self._writer.take_opening, number, settled)

    def published(self, number: int) -> None:
        def out() -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._writer.loop.call_soon_threadsafe(self._writer.take_part, number)

        if self._target is None:
            out()
        else:
            self._target.submit(number, out)

    def disk_refusing(self, what: str, refusing: bool) -> None:
        self._writer.loop.call_soon_threadsafe(self._writer.take_trouble, what, refusing)
