"""Commands that hand answers to people: `show`, `export`."""

from __future__ import annotations

import click

from batchgen.cli.options import EXIT_COMPLETE
from batchgen.cli.unforeseen import remember

SHOWN = 3


@click.command(name="show")
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path())
@click.option("--row", "ids", metavar="ID", multiple=True, help="Show the row of this row_id, whole. Repeatable.")
@click.option("--failed", is_flag=True, help="Only rows that failed.")
@click.option("--where", metavar="CONDITIONS", help='Only rows like these: "urgency = high and cost > 0.01".')
@click.option("--random", "at_random", metavar="N", type=click.IntRange(min=1), help="Show N rows drawn at random.")
@click.option("--seed", type=int, help="Draw the same rows again.")
@click.option("--last", metavar="N", type=click.IntRange(min=1), help=f"Show the N latest.  [default: {SHOWN}]")
@click.option("--full", is_flag=True, help="Cut no text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a row.")
def show_command(
    *,
    directories: tuple[str, ...],
    ids: tuple[str, ...],
    failed: bool,
    where: str | None,
    at_random: int | None,
    seed: int | None,
    last: int | None,
    full: bool,
    as_json: bool,
) -> int:
    """Show answers, the latest last: the row, the prompt as it was sent, the answer, its fields, tokens and cost.

    Works while a run goes on and after any end of it. Several directories and globs are read as one.

    CONDITIONS: columns of the results or fields of the answers with =, !=, <, <=, >, >=, ~ (contains), !~, "is null" or
    "is not null", joined by "and"; names and values with blanks need quotes.

    \b
    Example:
      batchgen show out/email-extraction
      batchgen show out/email-extraction --random 5 --where "urgency = high and language != de"
    """
    remember(directories[0])
    from batchgen.errors import UsageError
    from batchgen.results.rows import ResultRows
    from batchgen.results.select import Selection, select_rows
    from batchgen.results.show import RowViewer

    if at_random is not None and last is not None:
        raise UsageError("--random and --last exclude each other.")
    rows = ResultRows(*directories)
    wanted = Selection(
        ids=ids, failed=failed, where=where, most=at_random or last or SHOWN, at_random=at_random is not None, seed=seed
    )
    found, count = select_rows(rows, wanted)
    viewer = RowViewer(whole=full or bool(ids))
    for row in found:
        click.echo(viewer.as_json(row) if as_json else f"{viewer.as_text(row)}\n")
    for note in rows.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(_summary(len(found), count, failed or where is not None), err=True)
    return EXIT_COMPLETE


def _summary(shown: int, count: int, chosen: bool) -> str:
    what = "row" if count == 1 else "rows"
    if chosen:
        what += " that fits" if count == 1 else " that fit"
    if shown == count:
        return f"{shown:,} {what}."
    return f"{shown:,} of {count:,} {what}; --last N, --random N, --row ID, --failed and --where choose others."


@click.command(name="export")
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path())
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--columns", metavar="NAMES", help="Only these, in this order: names with commas between them.")
@click.option("--failed", is_flag=True, help="Only rows that failed.")
@click.option("--where", metavar="CONDITIONS", help="Only rows like these; see batchgen show --help.")
@click.option("--reviewed", is_flag=True, help="Answers as people corrected them; see batchgen view --help.")
def export_command(
    directories: tuple[str, ...], file: str, *, columns: str | None, failed: bool, where: str | None, reviewed: bool
) -> int:
    """Write results as one table: .csv, .xlsx (Excel), .jsonl or .parquet, as the ending of FILE says.

    The fields of the answers are columns of their own, with parsed_ before a name that is taken. Several directories
    and globs make one table, whose column `run` names the directory. Works while a run goes on and after any end of it.

    \b
    Example:
      batchgen export out/email-extraction emails.xlsx
      batchgen export out/monday out/tuesday both.csv --columns row_id,customer,urgency
    """
    remember(directories[0])
    import csv
    import io
    from pathlib import Path

    from batchgen.errors import UsageError
    from batchgen.results.export import export
    from batchgen.results.flat import FlatRows
    from batchgen.results.reviewed import ReviewedRows
    from batchgen.results.rows import ResultRows
    from batchgen.stores.address import is_address
    from batchgen.text.figures import quantity

    if is_address(file):
        raise UsageError(f"{file}: export writes on this machine; name a file, and copy it from there.")
    rows = ReviewedRows(*directories) if reviewed else ResultRows(*directories)
    lines = csv.reader(io.StringIO(columns or "", newline=""), skipinitialspace=True)
    names = [name for line in lines for name in line]  # a name with a line break in quotes is one name
    exported = export(FlatRows(rows, columns=names, failed=failed, where=where), Path(file))
    for note in [*rows.notes, *exported.notes]:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{quantity(exported.rows, 'row')}, {quantity(exported.columns, 'column')} in {file}", err=True)
    return EXIT_COMPLETE
