"""The whole run on one page: source → pending rows → engine → journal → parts → summary."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, suppress

import anyio
import anyio.to_thread
import msgspec
import pyarrow as pa

from batchgen.engine.admission import RowAdmission
from batchgen.engine.books import Books, error_text
from batchgen.engine.control import Control
from batchgen.engine.deduplication import Sharing, shared_answers
from batchgen.engine.dialogue import Dialogue, PlainDialogue
from batchgen.engine.masking import Masker
from batchgen.engine.protocol import BuildEngine, Engine, EngineParts, Outlet, RowFeed
from batchgen.engine.refresh import KeepEarlier, compare_answers
from batchgen.engine.repeat_search import RepeatSearch
from batchgen.engine.reporter import Reporter
from batchgen.engine.row_feed import BatchedRows, Feed, InputRows
from batchgen.engine.row_result import RowResults
from batchgen.engine.summary import Summary
from batchgen.errors import FailuresStop, InternalStop, StoppedError, StorageStop
from batchgen.files.disk_errors import unforeseen_stop
from batchgen.job.parts import JobParts
from batchgen.job.requests import check_budget
from batchgen.job.reuse import Reuse
from batchgen.job.settings import LimitSettings
from batchgen.job.shared_prefix import shared_prefix
from batchgen.source import Scan
from batchgen.storage.batch_table import BatchShown, BatchTable
from batchgen.storage.earlier_runs import stored_path
from batchgen.storage.retries import shards_to_do
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shards import SHARD_ROWS, cut, first_needed_row
from batchgen.storage.target import OutputTarget
from batchgen.storage.writer import Writer
from batchgen.values import Result

OPEN_SHARDS = 2
"""Shards that may be unfinished at a time: one being worked off, one waiting for its slowest rows. Each is 20 MB."""

ANY_SHARDS = 1_000_000
"""Where rows wait elsewhere, nothing of their shards is in memory."""

STATE_EVERY_S = 2.0
"""How often a running process rewrites `run.json`, which is what `status` shows."""

STATE_SOON_S = 0.1
"""The same at its beginning, doubled each time: what is out must be known if it is killed early."""


async def run_job(
    parts: JobParts,
    scan: Scan,
    directory: RunDirectory,
    build_engine: BuildEngine,
    *,
    reporter: Reporter,
    control: Control,
    only: AbstractSet[int] | None = None,
    open_reuse: Callable[[], Reuse | None] = lambda: None,
    collects: bool = False,
) -> Summary:
    """Work until the end, an interruption or a stop; leave the locked directory in a state that says which.

    `only` (row numbers from 0) makes it a pilot: no other rows are asked, and no part is published. `open_reuse` gives
    the answers of earlier runs; it is called in a thread. `collects`: no input is read, the rows are those of open
    batches, and their results stay in the journal.
    """
    if collects:
        only = frozenset()
    with directory.disk_stops():
        books = Books(parts, scan.rows, directory)
        batches = await anyio.to_thread.run_sync(
            lambda: BatchTable(directory.journal, used=parts.lane is not None and parts.lane.batch is not None)
        )
    results = RowResults(
        parts.model,
        parts.price_of,
        Masker(parts.secrets),
        service_tier=parts.service_tier,
        endpoints=parts if parts.sites else None,
    )
    dialogue: Dialogue = PlainDialogue()
    if parts.answers is not None:
        from batchgen.engine.structured_turns import StructuredDialogue

        dialogue = StructuredDialogue(parts.answers, results, books.begun)
    prefix = await anyio.to_thread.run_sync(shared_prefix, parts)
    warm_up = prefix is not None and books.progress.pending > 1
    engine = build_engine(
        EngineParts(parts, results, dialogue, books.budget, reporter, batches, worked=books.worked, warm_up=warm_up)
    )
    sharing: Sharing | None = None
    error: StoppedError | None = None

    def committed(stored: Sequence[Result]) -> None:
        if sharing is not None:
            sharing.committed(stored)
        books.committed(stored)
        books.heard(engine.figures())
        reporter.stored(stored)
        reporter.moved(books.progress)
        stop_for_failures()

    def stop_for_failures() -> None:
        reason = books.too_many_failed()
        if reason is not None:
            engine.stop(FailuresStop(reason))

    try:
        async with AsyncExitStack() as stack:
            reuse = books.reuse = await anyio.to_thread.run_sync(open_reuse)
            if reuse is not None:
                stack.callback(reuse.close)
                stack.push_async_callback(anyio.to_thread.run_sync, _end_reuse, parts, directory, books, reuse)
            answers = None
            if parts.dedupe:
                search = RepeatSearch(parts, scan.rows, directory)
                stack.callback(search.close)
                answers = await anyio.to_thread.run_sync(shared_answers, directory, search)
                if answers is not None:
                    stack.callback(answers.close)
            most = engine.most_in_flight
            writer = await stack.enter_async_context(
                Writer(directory, parts.layout, concurrency=most, on_commit=committed, only=only)
            )
            batches.attach(writer)
            sharing = None if answers is None else Sharing(search.may_repeat, answers, writer, directory=directory.path)
            if sharing is not None:
                stack.callback(sharing.close)
            if collects:
                feed: RowFeed = await anyio.to_thread.run_sync(BatchedRows, directory.journal, batches)
            else:
                problems: dict[int, str] = {}
                known = shards_to_do(directory.journal)
                feed = stack.enter_context(
                    Feed(
                        InputRows(cut(_batches(parts, scan, first_needed_row(known), problems), known=known), problems),
                        parts.template,
                        writer,
                        carried=_kept_columns(parts),
                        open_shards=OPEN_SHARDS + 2 * most // SHARD_ROWS if most else ANY_SHARDS,
                        failed=results.unasked,
                        admit=RowAdmission(parts.keys, sharing, reuse),
                        only=only,
                    )
                )
            for note in books.notes:
                reporter.note(note)
            reporter.started(books.progress)
            stop_for_failures()
            control.attach(_Running(parts, books, engine))
            async with anyio.create_task_group() as side:
                side.start_soon(_watch_storage, writer, engine)
                side.start_soon(_save_state, directory, books, engine, reporter)
                out: Outlet = writer if sharing is None else sharing
                await engine.run(feed, KeepEarlier(out, reuse) if reuse is not None and reuse.refreshes else out)
                side.cancel_scope.cancel()
    except StoppedError as stopped:
        error = stopped
    except Exception as unforeseen:
        error = unforeseen_stop(unforeseen, directory.path)
    if directory.target is not None:
        await anyio.to_thread.run_sync(directory.target.pause)
        error = error or directory.target.failure
    books.ended(engine.figures(), error)
    reporter.finished(books.progress)
    if isinstance(error, InternalStop):
        with suppress(Exception):  # the first error is the one to be told
            await anyio.to_thread.run_sync(_conclude, directory, books, engine, error, only is not None)
        raise error
    return await anyio.to_thread.run_sync(_conclude, directory, books, engine, error, only is not None)


class _Running:
    """The run as its `Control` sees it."""

    def __init__(self, parts: JobParts, books: Books, engine: Engine) -> None:
        self._parts = parts
        self._books = books
        self.interrupt = engine.interrupt
        self._figures = engine.figures
        self._change = engine.change

    @property
    def batches(self) -> Sequence[BatchShown]:
        return self._figures().batches

    def change_limits(self, limits: LimitSettings) -> None:
        """Go on with other limits from now on. Raises `JobError` for a budget that could not be kept."""
        if limits.budget is not None and self._parts.model:
            check_budget(self._parts.job, self._parts.model, self._parts.price_of)
        if limits.budget is not None:
            self._books.change_budget(limits.budget)
        self._books.max_failed = limits.max_failed
        self._change(limits)


def _kept_columns(parts: JobParts) -> list[str]:
    """Return the input columns that parts are made of: the carried ones, and the id for `row_id`."""
    layout = parts.layout
    return [name for name in parts.source.columns if name in layout.carried.names or name == layout.id]


def _batches(
    parts: JobParts, scan: Scan, start_row: int, problems: dict[int, str]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the input from a row on, as (first row, rows); rows that cannot be read come into `problems`."""
    kept = _kept_columns(parts)
    columns = [name for name in parts.source.columns if name in kept or name in parts.template.columns]
    if not scan.rows:  # one empty part, so that readers of the results find the columns
        yield 0, pa.RecordBatch.from_pylist([], schema=pa.schema([parts.source.schema.field(c) for c in columns]))
    for batch in parts.source.batches(start_row, columns):
        problems.update(batch.problems)
        yield batch.first_row, batch.table


async def _watch_storage(writer: Writer, engine: Engine) -> None:
    """Stop the engine when storage fails for good."""
    try:
        await writer.watch()
    except StoppedError as error:
        engine.stop(error)


async def _save_state(directory: RunDirectory, books: Books, engine: Engine, reporter: Reporter) -> None:
    """Keep `run.json` up to date, and the progress while nothing moves because of errors."""
    pause_s = STATE_SOON_S
    while True:
        books.heard(engine.figures())
        if directory.target is not None:
            _follow(directory.target, engine, reporter)
            books.progress.waits_for = books.progress.waits_for or directory.target.waits_for
        reporter.moved(books.progress)
        try:
            await anyio.to_thread.run_sync(directory.save, "running", msgspec.to_builtins(books.state()))
        except StorageStop as error:
            # A disk that refuses this refuses the journal too, and that is what decides. But in a directory that
            # is gone SQLite writes on, into files that nobody finds again.
            if not directory.in_place:
                engine.stop(error)
        await anyio.sleep(pause_s)
        pause_s = min(2 * pause_s, STATE_EVERY_S)


def _follow(target: OutputTarget, engine: Engine, reporter: Reporter) -> None:
    """Pass on what is new of publishing, and stop the engine when it has failed for good."""
    while not target.news.empty():
        reporter.note(target.news.get())
    if target.failure is not None:
        engine.stop(target.failure)


def _end_reuse(parts: JobParts, directory: RunDirectory, books: Books, reuse: Reuse) -> None:
    """Compare what was asked again, and have the next update look only into runs that still have answers to give."""
    if books.progress.pending == 0:
        books.refreshed = compare_answers(reuse, directory, parts.answers)
        directory.keep_reuse([stored_path(path, directory.path) for path in reuse.left()])


def _conclude(
    directory: RunDirectory, books: Books, engine: Engine, error: StoppedError | None, pilot: bool
) -> Summary:
    """Write the cost summary and `run.json`, and say how the run ended; a disk that refuses these stops it."""
    figures = engine.figures()
    error = error or figures.error
    try:
        summary = books.summary(figures, error, pilot=pilot)
        if summary.state == "complete" and (damage := directory.verify_parts()):
            error = StorageStop(f"{'; '.join(damage)}.", "The same command asks for these rows.")
            summary = books.summary(figures, error, pilot=pilot)
    except (OSError, sqlite3.Error) as unreadable:
        stop = error or StorageStop(f"{directory.path} cannot be read any more ({unreadable}).")
        return books.unread_summary(figures, stop)
    try:
        if figures.pace is not None:
            figures.pace.save(directory.path, books.session)
        kept = msgspec.to_builtins({**msgspec.structs.asdict(summary), **books.kept_aside(pilot=pilot)})
        directory.finish(kept, books.label, summary.state)
    except StorageStop as refused:
        summary = msgspec.structs.replace(summary, state="stopped", error=summary.error or error_text(refused))
    return summary
