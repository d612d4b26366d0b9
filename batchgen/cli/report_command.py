"""`batchgen report`: text or JSON on stdout, the page into a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchgen.cli.cost_command import pricing_changes
from batchgen.errors import UsageError
from batchgen.files.replace import named_file
from batchgen.report.read import read_report
from batchgen.report.sections import run_document, runs_document
from batchgen.text.sections import Document, sections_text
from batchgen.text.storable import json_bytes

if TYPE_CHECKING:
    from batchgen.evaluation.evaluate import Evaluation
    from batchgen.report.values import Report


def show_report(
    directories: Sequence[str], *, html: str | None, as_json: bool, prices: str | None, assignments: Sequence[str]
) -> None:
    """Print the report of each run, of several with an overview before them; with `html`, write the page there.

    `prices` and `assignments` (`--set`) price the rows anew. Raises `OutputError` where there is no run, its parts are
    damaged, or the page cannot be written.
    """
    file, changed = Path(prices) if prices is not None else None, pricing_changes(assignments)
    reports = [read_report(directory, prices=file, changed=changed) for directory in directories]
    if html is not None:
        documents = [_page_document(report, f"r{number}-" if number else "") for number, report in enumerate(reports)]
        write_page(html, _with_overview(reports, documents))
    if as_json:
        click.echo(json_bytes(reports if len(reports) > 1 else reports[0]))
    elif html is None:
        documents = _with_overview(reports, [run_document(report) for report in reports])
        click.echo("\n\n\n".join(map(sections_text, documents)))


def write_page(path: str, documents: Sequence[Document]) -> None:
    """Write documents as one page, and say so on stderr."""
    from batchgen.report.html import page

    with named_file(Path(path)) as file:
        file.write(page(documents).encode(errors="replace"))
    click.echo(f"The page is in {path}.", err=True)


def _with_overview(reports: Sequence[Report], documents: list[Document]) -> list[Document]:
    return [runs_document(reports), *documents] if len(reports) > 1 else documents


def _page_document(report: Report, prefix: str) -> Document:
    from batchgen.report.samples import texts_of
    from batchgen.results.committed import Committed

    evaluation = _evaluation(report.directory)
    if evaluation is None:
        return run_document(report, prefix=prefix)
    gold = [evaluation.gold] if isinstance(evaluation.gold, str) else [*evaluation.gold.values()]
    named = {row.row_id for row in (*evaluation.disagreements, *evaluation.unsure)}
    texts = texts_of(Committed(report.directory).parts, named, without=gold)
    return run_document(report, evaluation, texts, prefix)


def _evaluation(directory: str) -> Evaluation | None:
    """Return the comparison of the answers with gold columns, if the job names any; problems are printed on stderr."""
    from batchgen.evaluation.evaluate import evaluate, settings_of_run

    try:
        settings = settings_of_run(directory)
    except UsageError:
        return None
    try:
        return evaluate(directory, settings)
    except UsageError as error:
        click.echo(f"The page is without the comparison with gold: {error}", err=True)
        return None
