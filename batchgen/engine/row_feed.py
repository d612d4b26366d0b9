"""Source → rows → prompts: the rows still to do, shard after shard, in input order.

Reading and cutting run in a thread, one shard ahead; what workers iterate over is in memory already. Every shard is
registered with the writer before its first row goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, Self

import anyio
import anyio.to_thread
import pyarrow as pa

from batchgen.engine.work import RowInProgress
from batchgen.errors import InputError, InputStop
from batchgen.pace.retry import AttemptCounts
from batchgen.prompts.prompt import PromptTemplate
from batchgen.source import row_values
from batchgen.source.row_values import own_column
from batchgen.storage.batch_table import BatchTable
from batchgen.storage.journal import Journal
from batchgen.storage.shards import Shard
from batchgen.values import Failure, FailureKind, Prompt, Result, Verdict

SLICE_ROWS = 500
"""Rows turned from Arrow into Python at a time: Arrow holds a row in a tenth of the memory."""


class ShardWriter(Protocol):
    """What the feed needs of the writer."""

    async def open_shard(self, shard: Shard) -> set[int]:
        """Take the shard in; return its rows that have a result already."""

    async def wait_for_room(self, open_shards: int | None = None) -> None:
        """Return when at most `open_shards` shards are open."""


class Admit(Protocol):
    """Says what becomes of a row, see `RowAdmission`."""

    def __call__(self, row: int, prompt: Prompt, words: str | None = None) -> RowInProgress | Result | None: ...


class BatchedRows:
    """In place of the input, where nothing is asked any more: the rows of open batches that have no result yet."""

    def __init__(self, journal: Journal, batches: BatchTable) -> None:
        settled = {result.row for result in journal.unpublished()}
        sealed = [record for record in journal.shards() if record.sealed]
        rows = {row for batch in batches.unfinished for row in batches.members(batch.number)} - settled
        self._rows = iter(sorted(row for row in rows if not any(one.first_row <= row < one.end_row for one in sealed)))

    def __iter__(self) -> Iterator[RowInProgress | Result]:
        return self

    def __next__(self) -> RowInProgress | Result:
        return RowInProgress(next(self._rows), Prompt(), AttemptCounts())

    async def more(self) -> bool:
        """All rows came at once."""
        return False


class InputRows(NamedTuple):
    """The input while it is read: its shards, and the rows that could not be read, filled while the shards come."""

    shards: Iterator[Shard]
    problems: dict[int, str]


class Feed:
    """Rows that have no result yet, as `RowInProgress`, or as a `Result` (made by `failed`) where nothing can be asked.

    `carried` are the columns that the parts keep; `open_shards` bounds how many shards may be unfinished at a time.
    With `only` all other rows are passed over; `admit` says what becomes of a row, see `RowAdmission`. Use it as a
    context manager: it keeps a reading thread.
    """

    def __init__(
        self,
        reading: InputRows,
        template: PromptTemplate,
        writer: ShardWriter,
        *,
        carried: Sequence[str],
        open_shards: int,
        failed: Callable[[int, Failure], Result],
        admit: Admit,
        only: AbstractSet[int] | None = None,
    ) -> None:
        self._shards, self._problems = reading
        self._template = template
        self._writer = writer
        self._carried = list(carried)
        self._open_shards = open_shards
        self._failed = failed
        self._only = only
        self._admit = admit
        self._rows: Iterator[RowInProgress | Result] = iter(())
        self._lock = anyio.Lock()
        self._generation = 0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="batchgen-reader")
        self._next: Future[Shard | None] | None = None

    def __enter__(self) -> Self:
        self._next = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def _read(self) -> Future[Shard | None]:
        return self._reader.submit(next, self._shards, None)

    def __iter__(self) -> Iterator[RowInProgress | Result]:
        return self

    def __next__(self) -> RowInProgress | Result:
        # Always of the newest shard: who ends a row of the one before goes on here, instead of asking for one more.
        return next(self._rows)

    async def more(self) -> bool:
        """Bring the next shard; False when the input is at its end. Raises `InputStop` and `StorageStop`."""
        seen = self._generation
        async with self._lock:
            if self._generation != seen:
                return True
            if self._next is None:
                return False
            await self._writer.wait_for_room(self._open_shards - 1)
            try:
                shard = await anyio.to_thread.run_sync(self._next.result)
            except (InputError, OSError, ValueError, pa.ArrowException) as error:
                raise InputStop(f"The input could be read when the run began and cannot any more: {error}") from error
            if shard is None:
                self._next = None
                return False
            self._next = self._read()
            settled = await self._writer.open_shard(shard.select(self._carried))
            self._rows = self._works(shard, settled)
            self._generation += 1
            return True

    def _works(self, shard: Shard, settled: set[int]) -> Iterator[RowInProgress | Result]:
        template, admit, only, problems = self._template, self._admit, self._only, self._problems
        columns = [name for name in shard.table.column_names if name in template.columns]
        as_stored = {own_column(name) for name in columns}.isdisjoint(shard.table.column_names)
        for start in range(0, shard.rows, SLICE_ROWS):
            first = shard.first_row + start
            if only is not None and only.isdisjoint(range(first, first + SLICE_ROWS)):
                continue
            table = shard.table.slice(start, SLICE_ROWS)
            texts = template.texts(table) if as_stored else None
            rows: Sequence[Any] = row_values(table, columns) if texts is None else texts
            render: Callable[[Any], Prompt | Failure] = template.render if texts is None else template.asking
            are_words = texts is not None and template.ends_in_texts
            for row, values in enumerate(rows, first):
                if row in settled or (only is not None and row not in only):
                    continue
                if problems and (problem := problems.pop(row, None)) is not None:
                    yield self._failed(row, Failure(FailureKind.PROMPT, Verdict.FAIL, problem))
                    continue
                prompt = render(values)
                if not isinstance(prompt, Prompt):
                    yield self._failed(row, prompt)
                elif (admitted := admit(row, prompt, values if are_words else None)) is not None:
                    yield admitted
