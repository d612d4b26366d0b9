"""The two threads of the writer: one owns the journal and commits, one writes parts. Neither knows the event loop."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import chain
from operator import attrgetter
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from batchgen.errors import StorageStop
from batchgen.files.disk_errors import of_disk, storage_stop
from batchgen.files.stamps import Stamp, stamp_of
from batchgen.money.ledger import Charges
from batchgen.storage.journal import Journal
from batchgen.storage.journal_repair import set_aside
from batchgen.storage.journal_rows import StoredRow, decode_results, in_slices
from batchgen.storage.open_shard import OpenShard
from batchgen.storage.overflow import Spill
from batchgen.storage.parts import DamagedPartError, part_path, write_part
from batchgen.storage.recovery import reopen_part
from batchgen.storage.result_schema import Layout
from batchgen.storage.retries import marked_parts
from batchgen.storage.shard_inputs import forget_inputs, keep_inputs
from batchgen.storage.shards import PartRecord, Shard, ShardRecord
from batchgen.values import Result

COMMIT_ROWS = 4_000
"""Results that have queued up while the disk was busy are committed together, up to about this many rows."""

SLICE_BYTES = 16 * 1024 * 1024
"""A larger shard is written in slices of about so many bytes of answers, a row group each: 10,000 long answers would
take a gigabyte."""

RETRY_WAITS_S = (0.1, 0.3, 1.0, 2.0, 4.0)
"""Seconds between the attempts at a commit or a part that failed; after the last attempt storage has failed."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

T = TypeVar("T")


class CommitGroup(Struct):
    """Results and charges that are committed together; `bytes` is about their size."""

    results: list[Result]
    spent: list[Charges]
    bytes: int = 0


class OpenShardRequest(Struct, frozen=True):
    """A request to open a shard."""

    shard: Shard


class PartDone(Struct, frozen=True):
    """The thread of parts has finished a part, or has failed to write it."""

    number: int
    part: Future[PartRecord]


class RowsRequest(Struct, frozen=True):
    """A request of the thread of parts for the stored rows of a range, about `SLICE_BYTES` from its beginning."""

    first_row: int
    end_row: int
    answer: Future[list[StoredRow]]


class JournalCall(Struct, frozen=True):
    """Any other call with the journal, made after everything that was handed over before it."""

    call: Callable[[Journal], Any]
    answer: Future[Any]


class Close(Struct, frozen=True):
    """The end of the queue."""


Item = OpenShardRequest | PartDone | RowsRequest | JournalCall | Close


class Listener(Protocol):
    """Receives the news of the two threads; called on either of them."""

    def committed(self, groups: int, stored: list[Result]) -> None:
        """So many more groups are durable, oldest first."""

    def opened(self, number: int, settled: set[int]) -> None:
        """A shard has been taken in; these rows have a result already."""

    def published(self, number: int) -> None:
        """A shard's part is published, and its rows have left the journal."""

    def disk_refusing(self, what: str, refusing: bool) -> None:
        """The disk has begun, or stopped, refusing `journal` or `part`."""


class Committer:
    """Serves its queue until `Close`; `run` raises `StorageStop` when the disk refuses for good."""

    def __init__(
        self,
        journal: Journal,
        results_path: Path,
        layout: Layout,
        listener: Listener,
        *,
        concurrency: int = 1,
        only: AbstractSet[int] | None = None,
        retry_waits_s: Sequence[float] = RETRY_WAITS_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.queue: SimpleQueue[CommitGroup | Item] = SimpleQueue()
        self._journal = journal
        self._results_path = results_path
        self._layout = layout
        self._listener = listener
        self._concurrency = concurrency
        self._only = only
        self._publishes = only is None
        self._retry_waits_s = retry_waits_s
        self._sleep = sleep
        self._shards: dict[int, OpenShard] = {}
        self._marked = marked_parts(journal)
        self.input_cost: Callable[[Result], Decimal | None] = lambda result: None
        self._publishing = 0
        self._rows = self._bytes = 0
        self._broken = False
        self._item: Item | None = None
        self._ended = False

    def run(self, spill: Spill) -> None:
        """Serve the queue; on return all is committed and every shard is published, with the rows that it has.

        Room is reserved in `spill`, as long as there is some, for what can be in flight when the disk fills up.
        """
        closed = False
        with ThreadPoolExecutor(1, thread_name_prefix="batchgen-parts") as self._publisher, self._ending():
            while not closed or self._publishing:
                groups, item = self._next()
                self._item = item
                if groups:
                    self._commit(groups)
                    with suppress(OSError):
                        spill.reserve(self._in_flight_bytes(groups))
                if isinstance(item, OpenShardRequest):
                    self._open(item.shard)
                elif isinstance(item, PartDone):
                    self._seal(item)
                elif isinstance(item, RowsRequest):
                    self._answer(item)
                elif isinstance(item, JournalCall):
                    self._call(item)
                elif isinstance(item, Close):
                    closed = True
            self._publish_unfinished()
            self._insist(self._journal.end_session)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """At the end, also after an error, answer whatever the other thread still waits for.

        Where the groups before a question could not be committed, it is no longer in the queue.
        """
        try:
            yield
        finally:
            self._ended = True
            item: CommitGroup | Item | None = self._item
            while True:
                if isinstance(item, (RowsRequest, JournalCall)):
                    item.answer.cancel()  # changes nothing once it is answered
                if self.queue.empty():
                    break
                item = self.queue.get()

    def ask(self, question: RowsRequest | JournalCall) -> None:
        """Put it in the queue, from any thread; it is cancelled where that is served no more."""
        self.queue.put(question)
        if self._ended:
            question.answer.cancel()

    def _answer(self, wanted: RowsRequest) -> None:
        def read() -> list[StoredRow]:
            return self._journal.stored_rows(wanted.first_row, wanted.end_row, SLICE_BYTES)

        try:
            wanted.answer.set_result(self._insist(read))
        finally:
            wanted.answer.cancel()  # changes nothing once it is answered

    def _call(self, item: JournalCall) -> None:
        try:
            item.answer.set_result(self._insist(lambda: item.call(self._journal)))
        finally:
            item.answer.cancel()

    def _next(self) -> tuple[list[CommitGroup], Item | None]:
        """Return the groups that are waiting, and the first thing after them that is not a group."""
        groups: list[CommitGroup] = []
        rows = 0
        while True:
            item = self.queue.get()
            if not isinstance(item, CommitGroup):
                return groups, item
            groups.append(item)
            rows += len(item.results)
            if self.queue.empty() or rows >= COMMIT_ROWS:
                return groups, None

    def _commit(self, groups: list[CommitGroup]) -> None:
        # In the order of the table: answers that come a little out of order would split and fill its pages again.
        results = sorted(chain.from_iterable([group.results for group in groups]), key=attrgetter("row"))
        spent = [item for group in groups for item in group.spent]
        self._rows += len(results)
        self._bytes += sum(group.bytes for group in groups)
        stored = self._insist(lambda: self._journal.append(results, spent))
        size = sum(group.bytes for group in groups) / max(1, len(results))
        touched = self._settle(stored, size) if self._publishes else []
        self._listener.committed(len(groups), stored)
        for number in touched:
            self._publish_if_whole(number)

    def _settle(self, results: list[Result], size: float) -> list[int]:
        """Tell the open shards of their new results; return the numbers of those that got some."""
        touched = []
        for number, open_shard in self._shards.items():
            others = open_shard.settle(results, size)
            if len(others) < len(results):
                touched.append(number)
            results = others
            if not results:
                return touched
        if results:
            raise LookupError(f"row {results[0].row} is in no open shard")
        return touched

    def _open(self, shard: Shard) -> None:
        record = ShardRecord(shard.number, shard.first_row, shard.rows)
        if (marked := self._marked.pop(shard.number, None)) is not None:
            self._bring_back(marked)
        else:
            self._insist(lambda: self._journal.record([record]))
        settled = self._insist(lambda: self._journal.settled(shard.first_row, shard.end_row))
        directory, parked = self._results_path.parent, False
        with suppress(OSError):  # who cannot have them reads these answers only once their part is out
            keep_inputs(directory, shard, self._layout, self._only)
            parked = not self._concurrency
        if self._publishes:
            self._shards[shard.number] = OpenShard(shard, settled, directory, parked=parked)
        self._listener.opened(shard.number, settled)
        if self._publishes:
            self._publish_if_whole(shard.number)

    def _bring_back(self, record: ShardRecord) -> None:
        """Take the rows of a part back into the journal, those that failed as pending."""
        try:
            self._insist(lambda: reopen_part(self._journal, self._results_path, record, self.input_cost))
        except DamagedPartError as error:
            aside = set_aside(part_path(self._results_path, record.number), self._results_path.parent)
            self._insist(lambda: self._journal.unseal(record, ()))
            raise StorageStop(
                f"{error}; it is kept as {aside.name}.", "The same command asks for its rows again."
            ) from error

    def _publish_if_whole(self, number: int) -> None:
        open_shard = self._shards[number]
        if open_shard.missing:
            return
        self._publishing += 1
        future = self._publisher.submit(self._publish, open_shard)
        future.add_done_callback(lambda part: self.queue.put(PartDone(number, part)))

    def _seal(self, written: PartDone) -> None:
        known = self._shards[written.number].record
        record = ShardRecord(known.number, known.first_row, known.rows, written.part.result())
        stamp: Stamp | None = None
        with suppress(OSError):
            stamp = stamp_of(part_path(self._results_path, record.number))
        self._insist(lambda: self._journal.seal(record, stamp))
        forget_inputs(self._results_path.parent, record.number)
        del self._shards[written.number]
        self._publishing -= 1
        self._listener.published(written.number)

    def _publish_unfinished(self) -> None:
        """Publish what is there of the shards that this run leaves open; a later run replaces these parts.

        The journal keeps their rows, so that nothing is lost where the disk refuses.
        """
        for open_shard in self._shards.values():
            known = open_shard.record
            slices = in_slices(self._journal.results(known.first_row, known.end_row), SLICE_BYTES)
            if open_shard.missing < known.rows:
                try:
                    shard = open_shard.shard()
                    write_part(self._results_path, shard, slices, self._layout, self._journal.identity, unfinished=True)
                except Exception as error:
                    if not (of_disk(error) or isinstance(error, StorageStop)):
                        raise

    def _insist(self, call: Callable[[], T]) -> T:
        """Return the result of a journal call. While the disk refuses, reopen the journal and try again."""

        def attempt() -> T:
            if self._broken:
                self._journal.reopen()
                self._broken = False
            try:
                return call()
            except Exception as error:
                self._broken = of_disk(error)
                raise

        return self._again("journal", attempt)

    # On the thread of parts

    def _publish(self, open_shard: OpenShard) -> PartRecord:
        shard, kept = open_shard.shard(), open_shard.results()

        def attempt() -> PartRecord:
            slices = self._slices(shard) if kept is None else [kept]
            return write_part(self._results_path, shard, slices, self._layout, self._journal.identity)

        return self._again("part", attempt)

    def _slices(self, shard: Shard) -> Iterator[list[Result]]:
        """Yield a shard's results as the journal has them, slice by slice; only its own thread may read it."""
        row = shard.first_row
        while row < shard.end_row:
            wanted = RowsRequest(row, shard.end_row, Future())
            self.ask(wanted)
            results = decode_results(wanted.answer.result(), row)
            row += len(results)
            yield results

    # On both threads

    def _again(self, what: str, attempt: Callable[[], T]) -> T:
        """Return the result of `attempt`, repeated after each of the waits; then raise `StorageStop`."""
        for number, wait_s in enumerate((*self._retry_waits_s, None)):
            try:
                result = attempt()
            except Exception as error:
                if not of_disk(error):
                    raise
                self._listener.disk_refusing(what, True)
                if wait_s is None:
                    raise storage_stop(self._stop_text(what, error), error) from error
                self._sleep(wait_s)
            else:
                if number:
                    self._listener.disk_refusing(what, False)
                return result
        raise AssertionError("the last try returns or raises")

    def _stop_text(self, what: str, error: Exception) -> str:
        directory = self._results_path.parent
        text = f"The {what} in {directory} cannot be written ({error})"
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL or (
            isinstance(error, OSError) and error.errno in _FULL
        )
        if full:
            text += f": make room for about {megabytes(self._needed_bytes())}"
            if directory.exists():
                text += f", {megabytes(shutil.disk_usage(directory).free)} are free"
        return f"{text}."

    def _in_flight_bytes(self, groups: list[CommitGroup]) -> int:
        """Return about what is not committed at any moment: two groups, and an answer per connection; doubled."""
        return 2 * int(2 * sum(group.bytes for group in groups) + self._concurrency * self._bytes / max(1, self._rows))

    def _needed_bytes(self) -> int:
        """Return about what the open shards still take: their rows in the journal, and once more in their parts."""
        row_bytes = self._bytes / self._rows if self._rows else 2_000
        rows = sum(open_shard.record.rows for open_shard in list(self._shards.values()))
        carried = sum(open_shard.bytes for open_shard in list(self._shards.values()))
        return int(2 * rows * row_bytes + carried) + 32 * 2**20


def megabytes(size: int) -> str:
    """Return a size in words, rounded up."""
    return f"{-(-size // 2**20)} MB"
