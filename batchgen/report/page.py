"""What a page of reports shows: each run's sections, its answers held against gold, and an overview of several runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchgen.errors import UsageError
from batchgen.evaluation.evaluate import Evaluation, evaluate, settings_of_run
from batchgen.report.samples import texts_of
from batchgen.report.sections import run_document, runs_document
from batchgen.report.values import Report
from batchgen.results.committed import Committed
from batchgen.text.sections import Document


def page_documents(reports: Sequence[Report], note: Callable[[str], None]) -> list[Document]:
    """Return the documents of one page; `note` is told why the comparison with gold is left out where it is."""
    documents = [_page_document(report, note, f"r{number}-" if number else "") for number, report in enumerate(reports)]
    return [runs_document(reports), *documents] if len(reports) > 1 else documents


def _page_document(report: Report, note: Callable[[str], None], prefix: str) -> Document:
    evaluation = _evaluation(report.directory, note)
    if evaluation is None:
        return run_document(report, prefix=prefix)
    gold = [evaluation.gold] if isinstance(evaluation.gold, str) else [*evaluation.gold.values()]
    named = {row.row_id for row in (*evaluation.disagreements, *evaluation.unsure)}
    committed = Committed(report.directory)  # kept: parts that are made of the journal go with it
    texts = texts_of(committed.parts, named, without=gold)
    return run_document(report, evaluation, texts, prefix)


def _evaluation(directory: str, note: Callable[[str], None]) -> Evaluation | None:
    """Return the answers held against gold, where the job named any."""
    try:
        settings = settings_of_run(directory)
    except UsageError:
        return None
    try:
        return evaluate(directory, settings)
    except UsageError as error:
        note(f"The page is without the comparison with gold: {error}")
        return None
