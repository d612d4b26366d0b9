"""What was foreseen against what came."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from msgspec import Struct

from batchgen.estimating.show import estimate_document
from batchgen.estimating.values import Estimate, Span
from batchgen.report.charts import range_chart
from batchgen.report.values import Report
from batchgen.text.figures import amount, count, duration, plain, quantity
from batchgen.text.sections import Document, Table

INSIDE, BELOW, ABOVE = "inside", "below the estimate", "above the estimate"


class OutcomeLine(Struct, frozen=True):
    """One figure as shown; `range` is None where one number was foreseen, `came` where the actual is not known."""

    name: str
    cells: tuple[str, str, str, str]
    verdict: str
    range: Span[Decimal] | None = None
    came: Decimal | None = None


def compared(report: Report) -> list[OutcomeLine]:
    """Return tokens, cost and duration as estimated and as they came; nothing if there was no estimate.

    Of an unfinished run, or one of another number of rows, the actual is what was finished, and there is no verdict.
    """
    estimate, totals = report.estimate, report.totals
    if estimate is None or totals is None:
        return []
    problem = ""
    if estimate.rows != report.rows:
        problem = f"for {quantity(estimate.rows, 'row')}"
    elif report.state != "complete":
        problem = "not complete yet"

    def line(
        name: str, foreseen: Span[Any], came: Decimal | None, shown: Callable[[Decimal | None], str]
    ) -> OutcomeLine:
        span = Span[Decimal](*map(_decimal, (foreseen.low, foreseen.expected, foreseen.high)))
        cells = (shown(span.low), shown(span.expected), shown(span.high), shown(came))
        return OutcomeLine(name, cells, problem or _verdict(span, came), span, came)

    missed = problem or _difference(estimate.input_tokens, totals.input_tokens)
    counted = ("", count(estimate.input_tokens), "", count(totals.input_tokens))
    lines = [
        OutcomeLine("input tokens", counted, missed),
        line("output tokens", estimate.output_tokens, _decimal(totals.output_tokens), _whole),
    ]
    if estimate.cost is not None and estimate.currency == report.currency:
        lines.append(line("cost", estimate.cost, totals.cost, lambda value: amount(value, report.currency)))
    if estimate.duration_s is not None:
        lines.append(line("duration", estimate.duration_s, _decimal(report.active_s or None), _time))
    return lines


def outcome_table(report: Report, prefix: str = "") -> list[Table]:
    """Return the comparison as a table; none if there was no estimate."""
    lines = compared(report)
    if report.estimate is None or not lines:
        return []
    return [
        Table(
            f"Estimate against actual ({how_estimated(report.estimate)})",
            ["", "low", "expected", "high", "actual", ""],
            [[line.name, *line.cells, line.verdict] for line in lines],
            drawings=[_drawn(line, prefix) for line in lines],
        )
    ]


def estimate_page(estimate: Estimate) -> Document:
    """Return an estimate as its page shows it: with each range drawn, those of one currency on one scale."""
    numbers = itertools.count(1)

    def draw(name: str, span: Span[Any] | None, top: Any) -> str | None:
        if span is None or span.low is None or span.high is None:
            return None
        return range_chart(
            f"estimate-{next(numbers)}",
            f"Range of {name}",
            low=float(span.low),
            expected=None if span.expected is None else float(span.expected),
            high=float(span.high),
            actual=None,
            scale=(0.0, float(top or span.high)),
        )

    return estimate_document(estimate, draw)


def how_estimated(estimate: Estimate) -> str:
    """Return the methods and the confidence in a phrase."""
    parts = [
        f"input tokens {plain(estimate.input_method)}" if estimate.input_method else "",
        f"output tokens from {plain(estimate.output_method)}" if estimate.output_method else "",
        f"{100 * estimate.confidence:.3g} % confidence" if estimate.confidence is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _drawn(line: OutcomeLine, prefix: str) -> str | None:
    """Return a drawing of the range and what came; None where one number was foreseen, or no bound."""
    span = line.range
    if span is None or span.low is None or span.high is None:
        return None
    return range_chart(
        f"{prefix}estimate-{line.name.replace(' ', '-')}",
        f"Estimated and actual {line.name}",
        low=float(span.low),
        expected=None if span.expected is None else float(span.expected),
        high=float(span.high),
        actual=None if line.came is None else float(line.came),
    )


def _verdict(span: Span[Decimal], came: Decimal | None) -> str:
    """Where nothing bounds an estimate on a side, no figure is outside of it there."""
    if came is None or span.low is span.high is None:
        return ""
    if span.low is not None and came < span.low:
        return BELOW
    return ABOVE if span.high is not None and came > span.high else INSIDE


def _difference(foreseen: int, came: int | None) -> str:
    """Say by how much a single figure was missed. Failed rows report no tokens, so that a little less is usual."""
    if came is None:
        return ""
    if came == foreseen:
        return "exact"
    return f"{100 * (came - foreseen) / foreseen:+.2g} %" if foreseen else ""


def _decimal(number: Decimal | float | None) -> Decimal | None:
    return number if number is None or isinstance(number, Decimal) else Decimal(repr(number))


def _whole(value: Decimal | None) -> str:
    return count(None if value is None else float(value))


def _time(value: Decimal | None) -> str:
    return duration(None if value is None else float(value))
