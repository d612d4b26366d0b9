"""The command: arguments, environment, exit codes, error text. A thin layer over the Python functions.

Heavy imports (pyarrow, the clients) happen inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

import click

from batchgen import __version__
from batchgen.errors import BatchgenError, StoppedError, UsageError

if TYPE_CHECKING:
    from batchgen.assemble import Endpoint
    from batchgen.job import Job
    from batchgen.summary import Summary

EXIT_COMPLETE, EXIT_ROWS_FAILED, EXIT_USAGE, EXIT_STOPPED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class _Group(click.Group):
    """Lists the commands in the order of a user's day, which is that of this file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class _SimulateCommand(click.Command):
    """Takes its options from the simulator's settings, read when they are needed: `--help` of the whole does not."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if len(self.params) == 1:
            from batchgen.simulated import setting_options

            self.params += setting_options()
        return super().get_params(ctx)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batchgen")
def cli() -> None:
    """Answer every row of a table of prompts, once, and write the answers to Parquet.

    \b
    Example:
      batchgen run jobs/email_extraction.toml --simulate
    """


def _job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `run`, `check` and `estimate` share."""
    options = [
        click.argument("job_path", metavar="JOB.toml", type=click.Path()),
        click.option("--input", "input_path", metavar="PATH", help="Read rows from here instead of input.path."),
        click.option(
            "--output", metavar="DIR", help="Write here instead of output.path (estimate: estimate.parquet alone)."
        ),
        click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Take the first N rows only."),
        click.option(
            "--set",
            "assignments",
            metavar="KEY=VALUE",
            multiple=True,
            help="Set any job key by its dotted path, for example --set limits.concurrency=8. Repeatable.",
        ),
        click.option("--budget", metavar="AMOUNT", help="Stop before the cost could pass this amount."),
        click.option("--prices", metavar="FILE", help="Prices that replace or add models, instead of pricing.file."),
        click.option("--simulate", is_flag=True, help="Use the built-in simulated provider; no key is needed."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _load(options: dict[str, Any]) -> Job:
    from batchgen.job import load_job, parse_assignment

    overrides: dict[str, Any] = dict(parse_assignment(text) for text in options["assignments"])
    budget = options["budget"]
    if budget is not None:
        try:
            budget = float(budget)
        except ValueError:
            raise UsageError(f"--budget {budget}: expected an amount, for example --budget 5.00.") from None
    overrides |= {"input": options["input_path"], "output": options["output"], "limit": options["limit"]}
    if options["prices"] is not None:
        overrides["pricing.file"] = options["prices"]
    return load_job(options["job_path"], **overrides, budget=budget)


def _simulated(job: Job, wanted: bool) -> AbstractContextManager[Endpoint | None]:
    if not wanted:
        return nullcontext()
    from batchgen.simulated import simulated_endpoint

    return simulated_endpoint(job)


@cli.command(name="run")
@_job_options
@click.option("--retry-failed", is_flag=True, help="Try the rows again that failed; the rest is kept.")
@click.option("--fresh", is_flag=True, help="Move an existing run aside and start over.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the final summary.")
def run_command(retry_failed: bool, fresh: bool, no_progress: bool, as_json: bool, **options: Any) -> int:
    """Run a job, or go on with an unfinished run of it.

    Ctrl-C stops sending and waits for what is in flight; twice stops at once. Running again goes on. SIGHUP reads the
    [limits] of the job file again, without a restart.

    \b
    Example:
      batchgen run jobs/email_extraction.toml --simulate
      batchgen run jobs/email_extraction.toml --limit 20 --output out/trial
    """
    import anyio

    from batchgen.corridor import loop_options
    from batchgen.progress import ProgressBar
    from batchgen.show import summary_text

    job = _load(options)
    with _simulated(job, options["simulate"]) as endpoint:

        async def main() -> Summary:
            reporter = ProgressBar(bar=not no_progress)
            return await _run_under_signals(
                job, lambda: _load(options), endpoint, reporter, fresh=fresh, retry_failed=retry_failed
            )

        summary = anyio.run(main, backend_options=loop_options())
    if as_json:
        click.echo(summary.to_json())
    else:
        click.echo(summary_text(summary))
    if summary.state == "complete":
        return EXIT_ROWS_FAILED if summary.failed else EXIT_COMPLETE
    return EXIT_INTERRUPTED if summary.state == "interrupted" else EXIT_STOPPED


async def _run_under_signals(
    job: Job, reload: Callable[[], Job], endpoint: Endpoint | None, reporter: Any, **options: Any
) -> Summary:
    """Run the job; SIGINT and SIGTERM interrupt it, SIGHUP takes over the limits of the edited job file."""
    import anyio

    from batchgen.control import Control
    from batchgen.corridor import arun

    control = Control()

    async def obey() -> None:
        watched = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
        with anyio.open_signal_receiver(*watched) as signals:
            ready.set()
            async for number in signals:
                if number in (signal.SIGINT, signal.SIGTERM):
                    reporter.note("Interrupted: waiting for what is in flight. Once more stops at once.")
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
            summary = await arun(job, endpoint=endpoint, reporter=reporter, control=control, **options)
        except BatchgenError as error:
            summary = error  # raised outside: a task group would wrap it
        tasks.cancel_scope.cancel()
    if isinstance(summary, BatchgenError):
        raise summary
    return summary


@cli.command()
@_job_options
@click.option("--show", metavar="N", default=1, show_default=True, help="Print the first N rendered requests.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(show: int, as_json: bool, **options: Any) -> int:
    """Check job, input, templates and price; print the first request. Sends nothing.

    \b
    Example:
      batchgen check jobs/email_extraction.toml --show 2
    """
    from batchgen.check import check_job
    from batchgen.show import check_text

    job = _load(options)
    with _simulated(job, options["simulate"]) as endpoint:
        checked = check_job(job, endpoint=endpoint, show=show)
    click.echo(checked.to_json() if as_json else check_text(checked))
    if checked.problem is not None:
        raise UsageError(checked.problem)
    return EXIT_COMPLETE


@cli.command()
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(directory: str, as_json: bool) -> int:
    """Show where a run stands, also while another process runs it.

    \b
    Example:
      batchgen status out/email-extraction
    """
    from pathlib import Path

    from batchgen.rundir import read_state
    from batchgen.show import status_json, status_text

    state, holder = read_state(Path(directory))
    click.echo(status_json(state, holder) if as_json else status_text(directory, state, holder))
    return EXIT_COMPLETE


@cli.command(cls=_SimulateCommand)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
def simulate(port: int, **settings: Any) -> int:
    """Serve a simulated provider on 127.0.0.1, both wire formats, until Ctrl-C.

    GET /stats tells what was served and billed; the same is printed at the end.

    \b
    Example:
      batchgen simulate --port 8080 --rpm 600 --error-500 0.03
    """
    from batchgen.simulated import serve_settings

    click.echo(json.dumps(serve_settings(settings, port), indent=2))
    return EXIT_COMPLETE


@cli.command()
@_job_options
@click.option("--pilot", metavar="N", type=click.IntRange(min=2), help="Really send N random rows; a run keeps them.")
@click.option("--compare", metavar="MODELS", help="Price other models too: names with commas between them.")
@click.option("--prices", metavar="FILE", help="Prices that replace or add models, as pricing.file.")
@click.option("--seed", default=0, show_default=True, help="Which random rows a pilot sends.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def estimate(
    *, pilot: int | None, compare: str | None, prices: str | None, no_progress: bool, as_json: bool, **options: Any
) -> int:
    """Say what a job will cost before it is paid: tokens, money, time.

    Every row is counted. Without --pilot nothing is sent and answers are bounded by max_tokens, or taken from an
    earlier run of the job. Rows that alone hold more than 1/N of the input are always in a pilot of N. --output DIR
    writes DIR/estimate.parquet, a line per row; the pilot's answers go where the job's own output.path says.

    \b
    Example:
      batchgen estimate jobs/cost_estimation.toml
      batchgen estimate jobs/cost_estimation.toml --pilot 100 --compare qwen-turbo,qwen-plus,qwen-max
    """
    import anyio

    from batchgen.corridor import loop_options
    from batchgen.estimating import PilotReporter
    from batchgen.estimating import estimate as estimate_job
    from batchgen.estimating_show import estimate_text
    from batchgen.progress import ProgressBar

    def load() -> Job:
        return _load({**options, "output": None})

    job = load()
    reporter = ProgressBar(bar=not no_progress)
    with _simulated(job, options["simulate"]) as endpoint:

        def send(rows: AbstractSet[int]) -> Summary:
            async def main() -> Summary:
                below = PilotReporter(reporter, len(rows))
                return await _run_under_signals(job, load, endpoint, below, only=rows)

            summary = anyio.run(main, backend_options=loop_options())
            if summary.state == "interrupted":
                click.echo("Interrupted; what the pilot has been answered is kept for the run.", err=True)
                raise click.Abort
            return summary

        made = estimate_job(
            job,
            pilot=pilot or 0,
            compare=[name.strip() for name in (compare or "").split(",") if name.strip()],
            prices=prices,
            output=options["output"],
            seed=options["seed"],
            endpoint=endpoint,
            reporter=reporter,
            send=send,
        )
    click.echo(made.to_json() if as_json else estimate_text(made))
    return EXIT_COMPLETE


class _WithoutPandas(MetaPathFinder):
    """pyarrow imports pandas, where there is one, at the first list it converts: 0.3 s and 35 MB for nothing."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used in the command's process", name=fullname)


@cli.command()
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--html", metavar="FILE", type=click.Path(dir_okay=False), help="Write one self-contained page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def report(directory: str, html: str | None, as_json: bool) -> int:
    """Show what happened in a run and what it cost, also of a stopped or running one.

    \b
    Example:
      batchgen report out/email-extraction
      batchgen report out/email-extraction --html report.html
    """
    from batchgen.report.command import show_report

    show_report(directory, html=html, as_json=as_json)
    return EXIT_COMPLETE


@cli.command()
@click.option("--model", metavar="NAME", help="Only this model; a pattern such as 'qwen3*' takes several.")
@click.option("--region", type=click.Choice(["international", "beijing"]), help="Only this region.")
@click.option("--prices", metavar="FILE", type=click.Path(), help="Check this file and lay it over the shipped prices.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def prices(model: str | None, region: str | None, prices: str | None, as_json: bool) -> int:
    """List the known prices with source and date, and check them.

    \b
    Example:
      batchgen prices --model qwen-plus
      batchgen prices --prices my-prices.toml --region beijing
    """
    from batchgen.price_list import show_prices

    show_prices(prices, model=model, region=region, as_json=as_json)
    return EXIT_COMPLETE


@cli.command(name="mail")
@click.argument("path", type=click.Path())
@click.argument("output", metavar="OUT.parquet", type=click.Path())
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the counts.")
def mail_command(path: str, output: str, no_progress: bool, as_json: bool) -> int:
    """Turn mails into a table that a job can read.

    PATH is a .eml file, an mbox, a Maildir or a directory of these. A mail that cannot be decoded is a row whose
    column `error` says why; the exit code is then 1. The column `source` is unique and can serve as input.id.

    \b
    Example:
      batchgen mail ~/Mail/support.mbox mails.parquet
      batchgen run jobs/email_extraction.toml --input mails.parquet --set input.id=source
    """
    import msgspec

    from batchgen.mail import convert_mails, summary_text
    from batchgen.mail_progress import mail_progress

    with mail_progress(path, shown=not no_progress) as moved:
        summary = convert_mails(path, output, moved)
    click.echo(msgspec.json.encode(summary) if as_json else summary_text(summary))
    return EXIT_ROWS_FAILED if summary.with_error else EXIT_COMPLETE


@cli.command(name="evaluate")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option(
    "--gold",
    multiple=True,
    metavar="[FIELD=]COLUMN",
    help="The column with the right label; or FIELD=COLUMN for each field of the answers. Default: see [evaluate].",
)
@click.option(
    "--rows",
    "show",
    metavar="N",
    default=10,
    show_default=True,
    type=click.IntRange(min=0),
    help="List N rows to look at first.",
)
@click.option("--seed", default=None, type=int, help="Of the intervals' resampling.  [default: the job's, else 0]")
@click.option("--parquet", metavar="FILE", type=click.Path(), help="Write all measures with their intervals.")
@click.option(
    "--compared", metavar="FILE", type=click.Path(), help="Write every answer beside its gold value, as Parquet."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate_command(
    *,
    directory: str,
    gold: tuple[str, ...],
    show: int,
    seed: int | None,
    parquet: str | None,
    compared: str | None,
    as_json: bool,
) -> int:
    """Compare a run's answers with gold columns: accuracy, precision, recall, F1, confusion, fields.

    Values are compared exactly, and normalised: Unicode form, case, white space and loose punctuation do not matter,
    and null, empty and "none" are the same.

    \b
    Example:
      batchgen evaluate out/dataset-labelling --gold label
      batchgen evaluate out/email-extraction --gold customer=gold_customer --gold error_code=gold_error_code
    """
    import msgspec

    from batchgen.evaluation import evaluate, gold_setting, settings_of_run, write_measures
    from batchgen.evaluation_settings import EvaluationSettings
    from batchgen.evaluation_text import evaluation_text

    settings = EvaluationSettings(gold=gold_setting(gold)) if gold else settings_of_run(directory)
    if seed is not None:
        settings = msgspec.structs.replace(settings, seed=seed)
    evaluation = evaluate(directory, settings, show=show, compared=compared)
    if parquet is not None:
        write_measures(evaluation, parquet)
    click.echo(evaluation.to_json() if as_json else evaluation_text(evaluation))
    return EXIT_COMPLETE


@cli.command(name="diff")
@click.argument("directory_a", metavar="DIR_A", type=click.Path())
@click.argument("directory_b", metavar="DIR_B", type=click.Path())
@click.option(
    "--gold", multiple=True, metavar="[FIELD=]COLUMN", help="Also say which run is right more often; as for evaluate."
)
@click.option(
    "--rows",
    "show",
    metavar="N",
    default=10,
    show_default=True,
    type=click.IntRange(min=0),
    help="List the first N changed rows.",
)
@click.option("--seed", default=0, show_default=True, type=int, help="Of the interval's resampling.")
@click.option("--parquet", metavar="FILE", type=click.Path(), help="Write all changed rows, both answers side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff_command(
    *,
    directory_a: str,
    directory_b: str,
    gold: tuple[str, ...],
    show: int,
    seed: int,
    parquet: str | None,
    as_json: bool,
) -> int:
    """Compare two runs over the same rows: agreement, changed answers, cost and latency side by side.

    Rows are joined by row_id; those that one run does not have are counted.

    \b
    Example:
      batchgen diff out/prompt-a out/prompt-b
      batchgen diff out/qwen-plus out/qwen-max --gold label --parquet changed.parquet
    """
    from batchgen.difference import difference
    from batchgen.difference_text import difference_text
    from batchgen.evaluation import gold_setting
    from batchgen.evaluation_settings import EvaluationSettings

    settings = EvaluationSettings(gold=gold_setting(gold), seed=seed) if gold else None
    found = difference(directory_a, directory_b, settings, show=show, changed=parquet)
    click.echo(found.to_json() if as_json else difference_text(found))
    return EXIT_COMPLETE


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with the contract's code; the one place where exceptions become exit codes."""
    sys.meta_path.insert(0, _WithoutPandas())
    code = _code(arguments)
    if "pyreqwest" in sys.modules:
        # Its runtime's threads can still be reporting when the interpreter is torn down, which aborts the process
        # (pyreqwest 0.15.1). Everything of ours is closed by now; leave without the teardown.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _code(arguments: list[str] | None) -> int:
    try:
        return int(cli.main(arguments, prog_name="batchgen", standalone_mode=False) or 0)
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except StoppedError as error:
        return _told(error, EXIT_STOPPED)
    except BatchgenError as error:
        return _told(error, EXIT_USAGE)
    except KeyboardInterrupt:
        click.echo("Interrupted; nothing was sent.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_COMPLETE


def _told(error: BatchgenError, code: int) -> int:
    click.echo(f"batchgen: {error}", err=True)
    return code
