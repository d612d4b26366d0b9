"""Commands that look at a run's output directory: `status`, `report`, `cost`, `evaluate`, `diff`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from batchgen.cli.options import EXIT_COMPLETE
from batchgen.cli.unforeseen import remember


def _priced_anew(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that price finished rows again."""
    prices = click.option(
        "--prices", metavar="FILE", help="Price every row anew, with this file over the shipped prices."
    )
    assignments = click.option(
        "--set",
        "assignments",
        metavar="KEY=VALUE",
        multiple=True,
        help="Price anew by a key of [pricing]: factor, currency, rate, region. Repeatable.",
    )
    return prices(assignments(command))


@click.command()
@click.argument("named", metavar="DIR|JOB.toml...", nargs=-1, required=True, type=click.Path())
@click.option("--watch", "-w", is_flag=True, help="Show it again every two seconds while a run goes on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, of several runs a list.")
def status(named: tuple[str, ...], watch: bool, as_json: bool) -> int:
    """Show where a run stands, also while another process runs it; several are listed.

    A job file stands for the output directory that it names.

    \b
    Example:
      batchgen status out/email-extraction --watch
      batchgen status jobs/email_extraction.toml
      batchgen status out/*
    """
    remember(named[0])
    from batchgen.cli.status_command import show_status

    show_status(named, as_json=as_json, watch=watch)
    return EXIT_COMPLETE


@click.command()
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path())
@click.option("--html", metavar="FILE", type=click.Path(dir_okay=False), help="Write one self-contained page.")
@_priced_anew
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def report(directories: tuple[str, ...], **options: Any) -> int:
    """Show what happened in a run and what it cost, also of a stopped or running one. Several runs are compared.

    \b
    Example:
      batchgen report out/email-extraction
      batchgen report out/email-extraction --html report.html
      batchgen report out/monday out/tuesday --html week.html
    """
    remember(directories[0])
    from batchgen.cli.report_command import show_report

    show_report(directories, **options)
    return EXIT_COMPLETE


@click.command()
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--by",
    metavar="WORDS",
    default="day,model,endpoint,key,workspace,lane,direction",
    show_default=True,
    help="What to tell apart, with commas between.",
)
@_priced_anew
@click.option("--zone", default="UTC", show_default=True, help="Where days begin: +08:00, or a name.")
@click.option(
    "--write", "files", metavar="FILE", multiple=True, help="Also write FILE.csv or FILE.parquet. Repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def cost(directories: tuple[str, ...], **options: Any) -> int:
    """Sum what runs cost by day, model, endpoint, key, workspace, lane and direction, to lay beside a vendor's bill.

    \b
    Example:
      batchgen cost out/monday out/tuesday --by day,model --write november.csv
      batchgen cost out/* --set pricing.factor=0.85 --set pricing.currency=EUR \\
          --set 'pricing.rate={ USD = 0.9, date = 2026-01-31 }'
    """
    remember(directories[0])
    from batchgen.cli.cost_command import show_costs

    show_costs(directories, **options)
    return EXIT_COMPLETE


@click.command(name="evaluate")
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path())
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
@click.option("--reviewed", is_flag=True, help="Take as gold what people checked; see batchgen view --help.")
def evaluate_command(
    *,
    directories: tuple[str, ...],
    gold: tuple[str, ...],
    show: int,
    seed: int | None,
    parquet: str | None,
    compared: str | None,
    as_json: bool,
    reviewed: bool,
) -> int:
    """Compare a run's answers with gold columns: accuracy, precision, recall, F1, confusion, fields.

    Values are compared twice, letter by letter and by meaning: numbers, dates, times, booleans, lists and objects by
    their value, texts regardless of Unicode form, case, white space and full stops. Signs, symbols and emoji always
    matter. In fields null, empty text and words such as "none" or "nan" are equal.

    \b
    Example:
      batchgen evaluate out/dataset-labelling --gold label
      batchgen evaluate out/email-extraction --gold customer=gold_customer --gold error_code=gold_error_code
    """
    remember(directories[0])
    import msgspec

    from batchgen.evaluation.evaluate import evaluate, gold_of, write_measures
    from batchgen.evaluation.sections import evaluation_text

    settings, rows = gold_of(directories, gold, reviewed)
    if seed is not None:
        settings = msgspec.structs.replace(settings, seed=seed)
    evaluation = evaluate(directories, settings, show=show, compared=compared, rows=rows)
    if parquet is not None:
        write_measures(evaluation, parquet)
    click.echo(evaluation.to_json() if as_json else evaluation_text(evaluation))
    return EXIT_COMPLETE


@click.command(name="diff")
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

    Rows are joined by row_id; rows that only one of the runs has are counted.

    \b
    Example:
      batchgen diff out/prompt-a out/prompt-b
      batchgen diff out/qwen-plus out/qwen-max --gold label --parquet changed.parquet
    """
    remember(directory_a)
    from batchgen.difference.compare import difference
    from batchgen.difference.text import difference_text
    from batchgen.evaluation.evaluate import gold_setting
    from batchgen.job.evaluation_settings import EvaluationSettings

    settings = EvaluationSettings(gold=gold_setting(gold), seed=seed) if gold else None
    found = difference(directory_a, directory_b, settings, show=show, changed=parquet)
    click.echo(found.to_json() if as_json else difference_text(found))
    return EXIT_COMPLETE
