"""Commands that take a job: `run`, `check`, `estimate`."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from batchgen.cli.options import (
    EXIT_COMPLETE,
    EXIT_HANDED_IN,
    EXIT_INTERRUPTED,
    EXIT_ROWS_FAILED,
    EXIT_STOPPED,
    endpoint_for,
    job_options,
    load_from,
)
from batchgen.errors import BatchgenError, OutputError, UsageError

_M_MMAP_THRESHOLD = -3  # its number in malloc.h

if TYPE_CHECKING:
    from batchgen.engine.summary import Summary
    from batchgen.job.endpoint import Endpoint
    from batchgen.job.settings import Job


@click.command(name="run")
@job_options
@click.option("-n", "--dry-run", is_flag=True, help="Do what `batchgen check` does, and send nothing.")
@click.option("--retry-failed", is_flag=True, help="Try the rows again that failed; the rest is kept.")
@click.option("--fresh", is_flag=True, help="Move an existing run aside and start over.")
@click.option(
    "--refresh",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="With --update or --reuse: ask a random share of the reused rows again, and say how many answers moved.",
)
@click.option("--detach", is_flag=True, help="With --lane batch: end once all is handed in; the same command goes on.")
@click.option(
    "--take-over",
    is_flag=True,
    help="Go on with open batches although a copy of the directory knows of them too, or the vendor none of them: no "
    "copy is run any more.",
)
@click.option("--no-progress", is_flag=True, help="Show no progress: no bar, and no lines where there is no terminal.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing, unless rows failed or the run stopped.")
@click.option("--log", metavar="FILE", type=click.Path(dir_okay=False), help="Add events and progress as JSON lines.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the final summary.")
def run_command(
    *,
    retry_failed: bool,
    fresh: bool,
    refresh: float,
    detach: bool,
    take_over: bool,
    no_progress: bool,
    quiet: bool,
    log: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Run a job, or go on with an unfinished run of it.

    Ctrl-C stops sending and waits for what is in flight; twice stops at once. Running again goes on. SIGHUP reads the
    [limits] of the job file again, without a restart.

    \b
    Example:
      batchgen run jobs/email_extraction.toml --simulate
      batchgen run jobs/email_extraction.toml --limit 20 --output out/trial
      batchgen run jobs/email_extraction.toml --update
    """
    if fresh and options["update"]:
        raise UsageError("--fresh asks for everything, --update only for what is new: give one of them.")
    if refresh and not (options["update"] or options["reuse"]):
        raise UsageError("--refresh asks a share of reused rows again: it goes with --update or --reuse.")
    if options.pop("dry_run"):
        return _check(1, as_json, options, take_over=take_over)
    if sys.platform == "linux":
        # Arrow reads this when it is imported. Tables of 20 MB are made and freed on three threads, and its default
        # allocator keeps 80 MB more of them at the peak (pyarrow 26).
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    import shlex
    from pathlib import Path

    import anyio

    from batchgen.progress.log import reporters
    from batchgen.storage.set_aside import set_aside_text
    from batchgen.text.figures import quantity
    from batchgen.text.terminal import harmless
    from batchgen.transport.event_loop import loop_options
    from batchgen.transport.reply_memory import call_at_first_large

    if sys.platform == "linux":
        call_at_first_large(_give_large_blocks_back)
    job = load_from(options)
    if detach and job.model.lane != "batch":
        raise UsageError(f"--detach is for the lane batch, in which rows wait at the vendor; this is {job.model.lane}.")
    with (
        endpoint_for(job, options["simulate"]) as endpoint,
        reporters(progress=not no_progress, quiet=quiet, log=log) as reporter,
    ):

        async def main() -> Summary:
            return await run_under_signals(
                job,
                lambda: load_from(options),
                endpoint,
                reporter,
                fresh=fresh,
                retry_failed=retry_failed,
                update=options["update"],
                refresh=refresh,
                mode="detach" if detach else "finish",
                take_over=take_over,
            )

        gc.freeze()  # the garbage collector would scan all modules again and again, which takes 3 % of a row's time
        summary = anyio.run(main, backend_options=loop_options())
    joined = None
    if options["add_to"] and summary.state == "complete":
        from batchgen.difference.add_fields import write_joined

        joined = write_joined(options["add_to"], Path(summary.path))
    if as_json:
        click.echo(summary.to_json())
    elif not quiet or summary.state != "complete" or summary.failed:
        click.echo(_end_text(summary))
    if joined is not None and not quiet:
        lacking = f", {joined.without:,} of them without the new fields" if joined.without else ""
        click.echo(f"All fields together: {joined.path}, {quantity(joined.rows, 'row')}{lacking}", err=True)
    with suppress(OSError, OutputError):
        beside = None if quiet else set_aside_text(Path(summary.path), complete=summary.state == "complete")
        if beside:
            click.echo(harmless(f"note: {beside}."), err=True)
    if not quiet and (summary.succeeded or summary.failed):
        path, address = job.output.directory, job.output.address
        short = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        name = short if address is None else address.text
        click.echo(harmless(f"To see answers: batchgen show {shlex.quote(str(name))}"), err=True)
    if summary.state == "complete":
        return EXIT_ROWS_FAILED if summary.failed else EXIT_COMPLETE
    return {"interrupted": EXIT_INTERRUPTED, "handed in": EXIT_HANDED_IN}.get(summary.state, EXIT_STOPPED)


def _end_text(summary: Summary) -> str:
    """Return what is printed when a run has ended, with how its rows ended and the first ones that failed."""
    from pathlib import Path

    from batchgen.cli.messages import summary_text
    from batchgen.report.read import read_cost_summary
    from batchgen.report.samples import first_failed
    from batchgen.report.sections import breakdown_text
    from batchgen.results.committed import Committed
    from batchgen.storage.own_files import COST_SUMMARY_FILE

    breakdown: list[str] = []
    failed: list[str] = []
    with suppress(OSError, OutputError):  # the run has ended, also where its files cannot be read
        totals = read_cost_summary(Path(summary.path) / COST_SUMMARY_FILE)
        breakdown = breakdown_text(totals.lines) if totals is not None else []
        if summary.failed:
            committed = Committed(summary.path)  # kept: parts that are made of the journal go with it
            failed = first_failed(committed.parts)
    return summary_text(summary, breakdown, failed)


def _give_large_blocks_back() -> None:
    """Make the C library return freed blocks of a megabyte and more to the system, instead of keeping 32 MB per thread.

    With 40 answers of 24 MB the peak is 470 MB instead of 580 MB. Without large answers this would only take time: a
    tenth of a row's.
    """
    import ctypes

    with suppress(OSError, AttributeError):  # not every C library has this function
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)


async def run_under_signals(
    job: Job, reload: Callable[[], Job], endpoint: Endpoint | None, reporter: Any, **options: Any
) -> Summary:
    """Run the job. SIGINT and SIGTERM interrupt it; SIGHUP applies the limits of the edited job file."""
    import anyio

    from batchgen.api import acancel, arun
    from batchgen.cli.messages import interrupted_text
    from batchgen.engine.control import Control

    control, cancels = Control(), options.get("mode") == "cancel"
    begin: Callable[..., Awaitable[Summary]] = arun
    if cancels:
        begin, options = acancel, {"take_over": options["take_over"]}

    async def obey() -> None:
        interrupted = False
        watched = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
        with anyio.open_signal_receiver(*watched) as signals:
            ready.set()
            async for number in signals:
                if number in (signal.SIGINT, signal.SIGTERM):
                    if not control.attached:  # the input is being read by threads that cannot be stopped
                        click.echo("Interrupted; nothing was sent.", err=True)
                        os._exit(EXIT_INTERRUPTED)
                    twice, interrupted = interrupted, True
                    address = job.output.address
                    directory = str(job.output.directory) if address is None else address.text
                    reporter.note(interrupted_text(control.open_batches, directory, again=twice, cancels=cancels))
                    control.interrupt()
                else:
                    try:
                        control.change_limits(reload().limits)
                    except UsageError as error:
                        reporter.note(f"The limits stay as they are. {error}")
                    else:
                        reporter.note("The limits of the job file have been read again.")

    ready = anyio.Event()
    summary: Summary | BatchgenError
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(obey)
        await ready.wait()
        try:
            summary = await begin(job, endpoint=endpoint, reporter=reporter, control=control, **options)
        except BatchgenError as error:
            summary = error  # raised outside of the task group, which would wrap it
        tasks.cancel_scope.cancel()
    if isinstance(summary, BatchgenError):
        raise summary
    if summary.state == "interrupted":  # what is left takes a moment, and says how to go on
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return summary


@click.command()
@job_options
@click.option("--show", metavar="N", default=1, show_default=True, help="Print the first N rendered requests.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--dry-run-batch", is_flag=True, help="Hand in a batch of three rows for the vendor's free test model (DashScope)."
)
def check(show: int, as_json: bool, dry_run_batch: bool, **options: Any) -> int:
    """Check job, input, templates and price; print the first request. Sends nothing, except with --dry-run-batch.

    \b
    Example:
      batchgen check jobs/email_extraction.toml --show 2
    """
    if dry_run_batch:
        options["lane"] = "batch"
    code = _check(show, as_json, options)
    if dry_run_batch:
        _try_batch(options, as_json)
    return code


def _try_batch(options: dict[str, Any], as_json: bool) -> None:
    """Try the vendor's batches with its test model, and say what came of it on stderr."""
    import anyio

    from batchgen.cli.messages import trial_text
    from batchgen.engine.batch_trial import try_batch
    from batchgen.job.endpoint import endpoint_of

    job = load_from(options)
    with endpoint_for(job, options["simulate"], keeps=False) as endpoint:
        trial = anyio.run(try_batch, job, endpoint or endpoint_of(job))
    click.echo(trial_text(trial), err=as_json)


def _check(show: int, as_json: bool, options: dict[str, Any], *, take_over: bool = False) -> int:
    from batchgen.cli.messages import check_text
    from batchgen.job.check import check_job

    job = load_from(options)
    with endpoint_for(job, options["simulate"], keeps=False) as endpoint:
        checked = check_job(job, endpoint=endpoint, show=show, update=options["update"], take_over=take_over)
    click.echo(checked.to_json() if as_json else check_text(checked))
    if checked.problem is not None:
        raise UsageError(checked.problem)
    return EXIT_COMPLETE


@click.command()
@job_options
@click.option("--pilot", metavar="N", type=click.IntRange(min=2), help="Really send N random rows; a run keeps them.")
@click.option("--compare", metavar="MODELS", help="Price other models too: names with commas between them.")
@click.option("--seed", default=0, show_default=True, help="Which random rows a pilot sends.")
@click.option(
    "--sample", metavar="N", type=click.IntRange(min=30), help="Count N random rows only, of a very large input."
)
@click.option("--deadline", metavar="TIME", help="Name the cheapest lane that has answered all rows in, say, 20h.")
@click.option("--html", metavar="FILE", type=click.Path(dir_okay=False), help="Write one self-contained page.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def estimate(
    *,
    pilot: int | None,
    compare: str | None,
    sample: int | None,
    deadline: str | None,
    html: str | None,
    no_progress: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Say what a job will cost before it is paid: tokens, money, time.

    Every row is counted. Without --pilot nothing is sent: answers are bounded by max_tokens, so that only a range can
    be given, or taken from an earlier run of the job. Rows that alone hold more than 1/N of the input are always in a
    pilot of N. With --update or --reuse only rows without an earlier answer are counted, and sent by a pilot, which
    moves the earlier run aside as the update would. --output DIR writes DIR/estimate.parquet, a line per row; the
    pilot's answers go where the job's own output.path says.

    \b
    Example:
      batchgen estimate jobs/cost_estimation.toml
      batchgen estimate jobs/cost_estimation.toml --pilot 100 --compare qwen-turbo,qwen-plus,qwen-max
    """
    import anyio

    from batchgen.estimating.estimate import PilotReporter
    from batchgen.estimating.estimate import estimate as estimate_job
    from batchgen.estimating.show import estimate_text
    from batchgen.progress.log import reporters
    from batchgen.stores.address import is_address
    from batchgen.transport.event_loop import loop_options

    if deadline is not None:
        options["assignments"] = (*options["assignments"], f'batch.deadline="{deadline}"')

    def load() -> Job:
        return load_from({**options, "output": None})

    if is_address(options["output"] or ""):
        raise UsageError("--output of estimate is a folder on this machine, for a table with a line per row.")
    job = load()
    with (
        endpoint_for(job, options["simulate"], keeps=False) as endpoint,
        reporters(progress=not no_progress, brief=True) as reporter,
    ):

        def send(job: Job, rows: AbstractSet[int]) -> Summary:
            async def main() -> Summary:
                below = PilotReporter(reporter, len(rows))
                return await run_under_signals(job, load, endpoint, below, only=rows, update=options["update"])

            summary = anyio.run(main, backend_options=loop_options())
            if summary.state == "interrupted":
                click.echo("Interrupted; what the pilot has been answered is kept for the run.", err=True)
                raise click.Abort
            return summary

        made = estimate_job(
            job,
            pilot=pilot or 0,
            compare=[name.strip() for name in (compare or "").split(",") if name.strip()],
            prices=options["prices"],
            output=options["output"],
            seed=options["seed"],
            sample=sample or 0,
            update=options["update"],
            endpoint=endpoint,
            reporter=reporter,
            send=send,
        )
    if html is not None:
        from batchgen.cli.report_command import write_page
        from batchgen.report.estimate import estimate_page

        write_page(html, [estimate_page(made)])
    if as_json:
        click.echo(made.to_json())
    elif html is None:
        click.echo(estimate_text(made))
    return EXIT_COMPLETE
