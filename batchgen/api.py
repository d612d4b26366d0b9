"""A run from outside: a job in, a summary out. What happens in between is `engine.run`."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msgspec
import pyarrow as pa

from batchgen.engine.books import error_text
from batchgen.engine.control import Control
from batchgen.engine.online import OnlineEngine
from batchgen.engine.protocol import BuildEngine, EngineParts
from batchgen.engine.reporter import Reporter
from batchgen.engine.run import run_job
from batchgen.engine.summary import Summary
from batchgen.errors import OutputError, StorageStop, UsageError
from batchgen.files.modes import GROUP, PRIVATE
from batchgen.job.batch_job import store_batch_job, without_input
from batchgen.job.changed_files import changed_meanwhile, files_changed, refuse_changed_files
from batchgen.job.endpoint import Endpoint, endpoint_of
from batchgen.job.key_settings import key_settings
from batchgen.job.parts import JobParts, assemble, input_cost_of
from batchgen.job.reuse import named_runs, open_reuse
from batchgen.job.settings import Job, LimitSettings
from batchgen.job.spooled_input import input_for_run
from batchgen.job.stored import keep_scan, scanned, store_job
from batchgen.source import Scan
from batchgen.storage.batch_table import BatchShown
from batchgen.storage.earlier_runs import stored_runs
from batchgen.storage.own_files import REVIEW_FILE
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import fingerprints, read_run_json, run_fingerprints
from batchgen.storage.set_aside import lost_run_hint
from batchgen.storage.target import OutputTarget
from batchgen.text.figures import quantity
from batchgen.transport import open_transport
from batchgen.transport.event_loop import loop_options
from batchgen.transport.protocol import OpenTransport
from batchgen.transport.reply_memory import Room

if TYPE_CHECKING:
    from batchgen.engine.batches.engine import Mode


async def arun(
    job: Job,
    *,
    endpoint: Endpoint | None = None,
    reporter: Reporter | None = None,
    control: Control | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    only: AbstractSet[int] | None = None,
    engine: BuildEngine | None = None,
    update: bool = False,
    refresh: float = 0.0,
    rows: pa.Table | None = None,
    mode: Mode = "finish",
    take_over: bool = False,
) -> Summary:
    """Run a job, or go on with an unfinished run of it in the same output directory.

    `endpoint` replaces the job's own (the simulator's). `fresh` moves an existing run aside; `retry_failed` tries the
    rows again that failed. `update` moves a run of an earlier form of the job, or of an earlier input, aside and takes
    its answers to the same requests; a share `refresh` of these is asked again all the same. `only` (row numbers from
    0) makes it a pilot: no other rows are sent, no part is published, and the run ends as `stopped`, its answers kept
    for the next one. `engine` builds another engine than the workers of this process. `rows` are a table in memory,
    which is read instead of `input.path`. With the lane `batch`, `mode` says whether the run ends once everything is
    handed in (`detach`), or ends its batches and collects what they have (`cancel`); `take_over` says that no other
    copy of the output directory is run, and has rows asked again whose batches the vendor does not know. Raises
    `UsageError` before anything is sent; a run that stops early is a `Summary` with state `stopped` or `interrupted`.
    """
    reporter = reporter or Reporter()
    with ExitStack() as stack:
        read = await anyio.to_thread.run_sync(stack.enter_context, input_for_run(job, rows))
        parts = await anyio.to_thread.run_sync(assemble, read, endpoint or endpoint_of(job))
        named = named_runs(parts)
        transports = _transports(job, parts, reporter)
        hint = None
        if not (fresh or named):
            hint = lost_run_hint(job.output.directory, simulated=parts.endpoint.simulated)
        told = dict.fromkeys(note for one in transports for note in one.notes)
        for note in (*parts.notes, *told, *([hint] if hint else [])):
            reporter.note(note)
        scan = await anyio.to_thread.run_sync(scanned, parts)
        price = parts.price_of(parts.model) if parts.model else None
        target = None
        if job.output.address is not None:
            target = OutputTarget(job.output.address, job.output.directory.absolute(), job.name)
            await anyio.to_thread.run_sync(stack.enter_context, target.claimed(fresh=fresh))
        directory = await anyio.to_thread.run_sync(
            lambda: RunDirectory.open(
                job.output.directory,
                job=job.name,
                fingerprints=run_fingerprints(parts.fingerprint, scan.fingerprint),
                published=fingerprints({"output": {"columns": job.output.columns}}),
                settings=key_settings(job),
                evaluate=msgspec.to_builtins(job.evaluate),
                currency=parts.currency,
                price=price.describe() if price is not None else None,
                spooled=Path(read.input.path) if read is not job else None,
                fresh=fresh,
                update=update,
                take_over=take_over,
                again=refresh > 0,
                changed=update and files_changed(parts),
                mode=GROUP if job.output.mode == "group" else PRIVATE,
            )
        )
    directory.target = target
    control = control or Control()
    with directory:
        if mode != "cancel":
            await anyio.to_thread.run_sync(refuse_changed_files, parts, directory)
        # A complete run may lie on a disk that takes nothing; in any other the results would not have their job.
        with suppress(OSError) if directory.complete else directory.disk_stops():
            await anyio.to_thread.run_sync(store_job, directory.path, parts)
            if parts.in_batches and not directory.complete:
                await anyio.to_thread.run_sync(store_batch_job, directory.path, read, parts)
        with suppress(OSError):  # without it the next start reads the input once more
            await anyio.to_thread.run_sync(keep_scan, directory.path, parts)
        if directory.state is not None:
            parts.price_of.keep_currency(directory.state.summary.currency)
        directory.input_cost = input_cost_of(parts)
        reopened = 0
        if retry_failed:
            reopened = await anyio.to_thread.run_sync(directory.reopen_failed, directory.input_cost)
        for damage in directory.damage:
            reporter.note(damage)
        if retry_failed:
            reporter.note(f"{quantity(reopened, 'failed row is', 'failed rows are')} tried again.")
        if directory.complete:
            reporter.note("This run was complete already; nothing was sent.")
            return await _published(_saved(directory), target, reporter, control)
        build = engine or _engine(parts, directory, transports, mode, pilot=only is not None, take_over=take_over)
        sources = [run.path for run in (*stored_runs(directory.reuse, directory.path, lambda text: None), *named)]
        summary = await run_job(
            parts,
            scan,
            directory,
            build,
            reporter=reporter,
            control=control,
            only=only,
            open_reuse=partial(open_reuse, parts, directory, named, refresh, reporter.note),
        )
        with suppress(OSError, OutputError):  # where it cannot be told, the run has ended all the same
            if mode != "cancel" and (changed := await anyio.to_thread.run_sync(changed_meanwhile, parts, directory)):
                reporter.note(changed)
        if sources and summary.state == "complete":
            await _keep_review(directory, sources, reporter)
        return await _published(summary, target, reporter, control)


def _transports(job: Job, parts: JobParts, reporter: Reporter) -> Sequence[OpenTransport]:
    """Return what opens the connections to each of the job's endpoints: of this process, or of its workers."""
    room = Room()
    transports = [
        open_transport(
            job.model.transport,
            base_url=one.endpoint.base_url,
            secrets=one.secrets,
            concurrency=job.limits.concurrency,
            room=room,
        )
        for one in parts.sites or (parts,)
    ]
    if not job.engine.shared:
        return transports
    from batchgen.cluster import open_workers

    return open_workers(job, parts, transports, reporter.note)


def _saved(directory: RunDirectory) -> Summary:
    """Return the summary of a run that was complete before."""
    assert directory.state is not None
    before = directory.state.summary
    endpoints = [msgspec.structs.asdict(one) for one in before.endpoints]
    saved = msgspec.convert({**msgspec.structs.asdict(before), "endpoints": endpoints}, Summary, from_attributes=True)
    return msgspec.structs.replace(saved, output=str(directory.path))


async def _keep_review(directory: RunDirectory, sources: Sequence[Path], reporter: Reporter) -> None:
    """Take over what people have checked in the earlier runs whose answers were taken."""
    from batchgen.results.carried_review import carry_review

    try:
        kept = await anyio.to_thread.run_sync(carry_review, directory.path, sources)
    except (OSError, OutputError) as error:
        reporter.note(f"What was checked in earlier runs is not kept here: {error}")
    else:
        if kept:
            reporter.note(f"{quantity(kept, 'checked value')} of earlier runs kept in {REVIEW_FILE}.")


async def acancel(
    job: Job,
    *,
    endpoint: Endpoint | None = None,
    reporter: Reporter | None = None,
    control: Control | None = None,
    take_over: bool = False,
    engine: BuildEngine | None = None,
) -> Summary:
    """End the batches of a run at the vendor, and collect what was finished by then.

    `job` is the one that was kept in the output directory (`read_batch_job`). Where its input or one of its files has
    changed since, or is gone, what the batches bring is kept in the journal alone. Raises `UsageError`.
    """
    # What stops a run must not keep its batches from being ended, which the vendor goes on to bill.
    job = msgspec.structs.replace(job, limits=msgspec.structs.replace(job.limits, max_failed=None))
    reporter, control = reporter or Reporter(), control or Control()
    try:
        return await arun(
            job,
            endpoint=endpoint,
            reporter=reporter,
            control=control,
            mode="cancel",
            take_over=take_over,
            engine=engine,
        )
    except UsageError as refused:
        path = job.output.directory
        state = read_run_json(path)
        if state is None or state.state == "complete":
            raise
        with without_input(job, endpoint or endpoint_of(job)) as parts:
            directory = await anyio.to_thread.run_sync(
                lambda: RunDirectory.open(
                    path,
                    job=state.job,
                    fingerprints=state.fingerprints,
                    published=state.published,
                    settings=key_settings(job),
                    evaluate=state.evaluate,
                    currency=state.summary.currency or parts.currency,
                    price=state.price,
                    take_over=take_over,
                )
            )
            with directory:
                why = str(refused).partition(". ")[0]
                reporter.note(f"The run does not go on; what its batches bring is kept all the same. {why}.")
                parts.price_of.keep_currency(state.summary.currency)
                rows = max([state.summary.rows, *(shard.end_row for shard in directory.journal.shards())])
                scan = Scan(rows, state.fingerprints["input"], parts.source.schema, ())
                build = engine or _engine(parts, directory, [], "cancel", pilot=False, take_over=take_over)
                return await run_job(parts, scan, directory, build, reporter=reporter, control=control, collects=True)


class _Publishing:
    """What is left of a run that is being published, as its `Control` sees it."""

    def __init__(self, target: OutputTarget) -> None:
        self.interrupt = target.interrupt
        self.batches: Sequence[BatchShown] = ()

    def change_limits(self, limits: LimitSettings) -> None:
        """Nothing is sent any more."""


async def _published(summary: Summary, target: OutputTarget | None, reporter: Reporter, control: Control) -> Summary:
    """Publish a complete run where its output is in a store; one that cannot be ends as stopped."""
    if target is None:
        return summary
    summary = msgspec.structs.replace(summary, output=target.address.text, directory=summary.output)
    if summary.state != "complete":
        return summary
    control.attach(_Publishing(target))
    stopped: StorageStop | None = None
    async with anyio.create_task_group() as side:
        side.start_soon(_tell, target, reporter)
        try:
            results = await anyio.to_thread.run_sync(target.publish)
        except StorageStop as error:
            stopped = error
        side.cancel_scope.cancel()
    if stopped is not None:
        return msgspec.structs.replace(summary, state="stopped", error=error_text(stopped))
    return msgspec.structs.replace(summary, published=results)


async def _tell(target: OutputTarget, reporter: Reporter) -> None:
    while True:
        while not target.news.empty():
            reporter.note(target.news.get())
        await anyio.sleep(0.2)


def _engine(
    parts: JobParts,
    directory: RunDirectory,
    transports: Sequence[OpenTransport],
    mode: Mode,
    *,
    pilot: bool,
    take_over: bool,
) -> BuildEngine:
    """Return what builds the engine of the job's lane. The few rows of a pilot are asked live."""

    def live(engine_parts: EngineParts) -> OnlineEngine:
        return OnlineEngine(engine_parts, transport=transports[0], others=transports[1:])

    if not parts.in_batches or pilot:
        return live
    from batchgen.engine.batches.build import build_batch_engine  # with all that only batches need

    return partial(build_batch_engine, directory=directory.path, live=live, mode=mode, take_over=take_over)


def run(job: Job, *, endpoint: Endpoint | None = None, **options: Any) -> Summary:
    """`arun` for callers without an event loop; `options` are those of `arun`."""

    async def main() -> Summary:
        return await arun(job, endpoint=endpoint, **options)

    return anyio.run(main, backend_options=loop_options())
