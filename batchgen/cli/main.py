"""The entry point of the command line, where exceptions become exit codes and error messages.

Heavy modules (pyarrow, the clients) are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import gc
import sys

import click

from batchgen.cli.answers import export_command, show_command
from batchgen.cli.batches_command import batches_command, cancel_command
from batchgen.cli.init_command import init_command
from batchgen.cli.jobs import check, estimate, run_command
from batchgen.cli.manual_command import manual_command
from batchgen.cli.options import (
    EXIT_COMPLETE,
    EXIT_INTERRUPTED,
    EXIT_ROWS_FAILED,
    EXIT_STOPPED,
    EXIT_UNFORESEEN,
    EXIT_USAGE,
)
from batchgen.cli.runs import cost, diff_command, evaluate_command, report, status
from batchgen.cli.streams import outlast, settle
from batchgen.cli.suggestions import Commands, explained
from batchgen.cli.tools import mail_command, prices, simulate
from batchgen.cli.unforeseen import disk_text, remember
from batchgen.cli.unforeseen import report as report_unforeseen
from batchgen.cli.view_command import view_command
from batchgen.errors import BatchgenError, InternalStop, StoppedError, innermost
from batchgen.version import __version__


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batchgen")
def cli() -> None:
    """Answer every row of a table of prompts, once, and write the answers to Parquet.

    \b
    Example:
      batchgen run jobs/email_extraction.toml --simulate
    """


for command in (
    init_command,
    run_command,
    show_command,
    export_command,
    view_command,
    check,
    estimate,
    status,
    report,
    batches_command,
    cancel_command,
    cost,
    evaluate_command,
    diff_command,
    mail_command,
    prices,
    simulate,
    manual_command,
):
    cli.add_command(command)


class _WithoutPandas:
    """A finder of modules that keeps pyarrow from importing pandas, if that is installed, at the first list it
    converts: 0.3 s and 35 MB for nothing. It needs no base class: that of the standard library takes 10 ms to import.
    """

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used in the command's process", name=fullname)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its exit code."""
    sys.meta_path.insert(0, _WithoutPandas())
    # Rows make no reference cycles: with the default the collector takes 4 % of a row's time. A start makes 60,000
    # objects, none of them garbage, and to look through all of them once takes 10 ms.
    gc.set_threshold(100_000, 20)
    outputs = outlast()
    code = _code(arguments)
    if not settle(outputs) and code in (EXIT_COMPLETE, EXIT_ROWS_FAILED):
        code = _code_without_output(sys.argv[1:] if arguments is None else arguments, code)
    sys.exit(code)


_ACTING = frozenset({"run", "init", "export", "view", "mail", "simulate", "cancel"})
"""Commands whose result is not what they print: what they have done is done, and their exit code tells it."""


def _code_without_output(arguments: list[str], code: int) -> int:
    """Return the exit code of a command whose output was lost: what only prints has failed."""
    command = next((word for word in arguments if not word.startswith("-")), None)
    if command in _ACTING:
        return code
    sent = command == "estimate" and any(word.startswith("--pilot") for word in arguments)
    return EXIT_STOPPED if sent else EXIT_USAGE


def _code(arguments: list[str] | None) -> int:
    remember(None)
    try:
        return int(cli.main(arguments, prog_name="batchgen", standalone_mode=False) or 0)
    except click.exceptions.Abort:  # what click makes of Ctrl-C, behind the end of the line where it stands
        click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    except click.UsageError as error:
        explained(error).show()
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except InternalStop as error:
        return _unforeseen(error.__cause__ or error)
    except StoppedError as error:
        return _told(f"{error} {error.remedy}", EXIT_STOPPED)
    except BatchgenError as error:
        return _told(str(error), EXIT_USAGE)
    except SystemExit as left:  # click exits so after a broken pipe that is not one of the standard streams
        return _unforeseen(left.__context__ or left)
    except Exception as error:
        from batchgen.files.disk_errors import of_any_disk

        inner = innermost(error)
        return _told(disk_text(inner), EXIT_USAGE) if of_any_disk(inner) else _unforeseen(error)


def _told(sentence: str, code: int) -> int:
    from batchgen.text.terminal import harmless

    click.echo(harmless(f"batchgen: {sentence}"), err=True)
    return code


def _unforeseen(error: BaseException) -> int:
    click.echo(report_unforeseen(error), err=True)
    return EXIT_UNFORESEEN
