"""`batchgen init`: a first job, or a sample job with its table."""

from __future__ import annotations

import click

from batchgen.cli.options import EXIT_COMPLETE
from batchgen.errors import UsageError

_SAMPLES = ("email", "labelling", "cost", "invoices", "multi-turn")


@click.command(name="init")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path())
@click.option("-i", "--input", "input_path", metavar="PATH", help="A table, or mails as `batchgen mail` reads them.")
@click.option(
    "--example", type=click.Choice(_SAMPLES), help="A sample job with its table instead of a job of your own."
)
@click.option("--labels", metavar="A,B,...", help="Each row gets one of these labels.")
@click.option("--fields", metavar="NAME[:TYPE],...", help="Fields to extract; see TYPE below.")
@click.option("-m", "--model", metavar="NAME", help="The model; by default qwen-plus.")
@click.option("--base-url", metavar="URL", help="A server of chat completions, such as http://localhost:11434/v1.")
@click.option("--delimiter", metavar="CHAR", help="What separates the cells of the input, such as ';' or '\\t'.")
@click.option("--encoding", metavar="NAME", help="The encoding of the input, such as cp1252.")
@click.option("--quotes", type=click.Choice(["text", "csv"]), help="What double quotes in the input are.")
def init_command(folder: str, input_path: str | None, example: str | None, **options: str | None) -> int:
    """Write a first job, ready for `batchgen check`.

    Columns for id and text are chosen by looking at the rows; mails become a table first. Without --input three rows
    to begin with are written too. Existing files are never replaced. TYPE is text (the default), number,
    integer, boolean, date or list.

    \b
    Example:
      batchgen init trial --input tickets.csv --labels billing,bug,other
      batchgen init mails --input ~/Mail/support.mbox --fields customer,amount:number,due:date
      batchgen init --example email
    """
    from pathlib import Path

    from batchgen.source import Reading
    from batchgen.starting.begin import begin
    from batchgen.starting.first_job import JOB_FILE, Wish, parse_fields
    from batchgen.starting.samples import copy_sample
    from batchgen.text.terminal import harmless

    labels, fields, model, base_url = (options[name] for name in ("labels", "fields", "model", "base_url"))
    place = Path(folder)
    if place.is_file():
        raise UsageError(f"{folder} is a file: write batchgen init --input {folder}.")
    if labels is not None and fields is not None:
        raise UsageError("--labels and --fields exclude each other: an answer is one label or an object of fields.")
    said: list[str] = []
    if example is not None:
        if input_path is not None or any(value is not None for value in options.values()):
            raise UsageError("--example copies a sample as it is: leave the other options out.")
        written = copy_sample(example, place)
        job = written[0]
    else:
        wish = Wish(
            name=_job_name(place, input_path),
            model=model or ("qwen-plus" if base_url is None else "your-model"),
            base_url=base_url,
            labels=tuple(filter(None, (label.strip() for label in (labels or "").split(",")))),
            fields=parse_fields(fields) if fields is not None else None,
        )
        if labels is not None and len(set(wish.labels)) < 2:
            raise UsageError("--labels: name at least two different labels, for example --labels yes,no.")
        delimiter = options["delimiter"]
        reading = Reading(delimiter and delimiter.replace("\\t", "\t"), options["encoding"], options["quotes"])
        if input_path is None and reading != Reading():
            raise UsageError("--delimiter, --encoding and --quotes say how to read --input: name it too.")
        written, said = begin(place, input_path, wish, reading)
        job = place / JOB_FILE
    lines = [
        *said,
        *(f"wrote {path}" for path in written),
        "Next:",
        f"  batchgen check {job}",
        f"  batchgen run {job} --simulate --output {place / 'out' / 'trial'}",
    ]
    click.echo(harmless("\n".join(lines)))
    return EXIT_COMPLETE


def _job_name(folder: object, input_path: str | None) -> str:
    from pathlib import Path

    if input_path is not None:
        return Path(input_path.rstrip("/")).name.split(".")[0] or "first-job"
    return Path(str(folder)).resolve().name or "first-job"
