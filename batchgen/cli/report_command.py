"""`batchgen report`: text or JSON on stdout, the page into a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from batchgen.cli.cost_command import pricing_changes
from batchgen.files.replace import named_file
from batchgen.report.read import read_report
from batchgen.report.sections import run_document, runs_document
from batchgen.results.rows import directories_of
from batchgen.text.sections import Document, sections_text
from batchgen.text.storable import json_bytes


def show_report(
    directories: Sequence[str], *, html: str | None, as_json: bool, prices: str | None, assignments: Sequence[str]
) -> None:
    """Print the report of each run, of several with an overview before them; with `html`, write the page there.

    `prices` and `assignments` (`--set`) price the rows anew. Raises `OutputError` where there is no run, its parts are
    damaged, or the page cannot be written.
    """
    file, changed = Path(prices) if prices is not None else None, pricing_changes(assignments)
    reports = [read_report(directory, prices=file, changed=changed) for directory in directories_of(*directories)]
    if html is not None:
        from batchgen.report.page import page_documents

        write_page(html, page_documents(reports, lambda text: click.echo(text, err=True)))
    if as_json:
        click.echo(json_bytes(reports if len(reports) > 1 else reports[0]))
    elif html is None:
        documents = [run_document(report) for report in reports]
        if len(reports) > 1:
            documents.insert(0, runs_document(reports))
        click.echo("\n\n\n".join(map(sections_text, documents)))


def write_page(path: str, documents: Sequence[Document]) -> None:
    """Write documents as one page, and say so on stderr."""
    from batchgen.errors import UsageError
    from batchgen.report.html import page
    from batchgen.stores.address import is_address

    if is_address(path):
        raise UsageError(f"{path}: the page is written on this machine; name a file, and copy it from there.")
    with named_file(Path(path)) as file:
        file.write(page(documents).encode(errors="replace"))
    click.echo(f"The page is in {path}.", err=True)
