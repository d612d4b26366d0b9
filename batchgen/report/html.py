"""The report as one HTML page that needs nothing else: no network, no scripts, drawings inline.

All text is escaped by the template engine; what comes from rows or the vendor also loses control characters and is
isolated from the direction of the text around it (`<bdi>`). A content security policy forbids all but inline styles.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, FunctionLoader, StrictUndefined

from batchgen.report import figures
from batchgen.report.estimate import compared, how_estimated
from batchgen.report.text import notes_on
from batchgen.report.values import Count, Report
from batchgen.text import figures as shown
from batchgen.version import __version__

if TYPE_CHECKING:
    from batchgen.evaluation.evaluate import Evaluation
    from batchgen.evaluation.statistics import Measure


def report_html(report: Report, evaluation: Evaluation | None = None) -> str:
    """Return the page; with `evaluation`, the answers held against gold too."""
    page = _environment().get_template("page.html")
    text = page.render(
        report=report,
        version=__version__,
        notes=notes_on(report),
        progress=figures.progress_figures(report),
        spreads=figures.spread_figures(report),
        pace=figures.pace_figures(report),
        estimates=list(zip(compared(report), figures.estimate_charts(report), strict=True)),
        how_estimated=how_estimated(report.estimate) if report.estimate else "",
        breakdowns=_breakdowns(report),
        evaluation=evaluation,
        measures=_measures(evaluation) if evaluation is not None else [],
        settings={key: value for key, value in report.settings.items() if value is not None},
    )
    return text.lstrip()  # the macros before it leave blank lines


def _measures(evaluation: Evaluation) -> list[tuple[str, str, Measure]]:
    """Return what each measure is of, its name and its value with the interval."""
    lines = [("all rows", "accuracy", evaluation.accuracy)]
    if evaluation.labels is not None:
        lines.append(("all labels", "mean F1", evaluation.labels.macro_f1))
        for label in evaluation.labels.labels:
            lines += [
                (label.label, "precision", label.precision),
                (label.label, "recall", label.recall),
                (label.label, "F1", label.f1),
            ]
    for field in evaluation.fields:
        lines += [(field.field, "exact", field.exact), (field.field, "normalised match", field.match)]
    return lines


def _breakdowns(report: Report) -> list[tuple[str, str, list[Count], int]]:
    """Return id, title, counts and the whole they are shares of."""
    by_number = [
        Count(f"{number:,} request" if number == 1 else f"{number:,} requests", rows)
        for number, rows in report.attempts.by_number.items()
    ]
    tables = [
        ("by-status", "Status", list(report.by_status)),
        ("by-finish", "Finish reason", list(report.by_finish_reason)),
        ("by-error", "Error kind", list(report.by_error_kind)),
        ("by-requests", "Requests per row", by_number),
    ]
    return [(name, title, counts, sum(found.rows for found in counts)) for name, title, counts in tables if counts]


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        shown.amount,
        shown.count,
        shown.duration,
        shown.figure,
        shown.latency,
        shown.moment,
        shown.plain,
        shown.share,
    ):
        environment.filters[function.__name__] = function
    return environment


def _text(name: str) -> str:
    return resources.files("batchgen.report").joinpath(name).read_text("utf-8")
