"""`batchgen report`: text or JSON on stdout, the page into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchgen.errors import UsageError
from batchgen.files.replace import named_file
from batchgen.report.read import read_report
from batchgen.report.text import report_text
from batchgen.text.storable import json_bytes

if TYPE_CHECKING:
    from batchgen.evaluation.evaluate import Evaluation


def show_report(directory: str, *, html: str | None, as_json: bool, prices: str | None = None) -> None:
    """Print the report; with `html`, write the page there and say so on stderr. `prices` price the rows anew.

    Raises `OutputError` where there is no run, its parts are damaged, or the page cannot be written.
    """
    report = read_report(directory, prices=None if prices is None else Path(prices))
    if html is not None:
        from batchgen.report.html import report_html

        page = report_html(report, _evaluation(directory)).encode(errors="replace")
        with named_file(Path(html)) as file:
            file.write(page)
        click.echo(f"The page is in {html}.", err=True)
    if as_json:
        click.echo(json_bytes(report))
    elif html is None:
        click.echo(report_text(report))


def _evaluation(directory: str) -> Evaluation | None:
    """Return the answers held against gold, where the job named any; what is in the way is said on stderr."""
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
