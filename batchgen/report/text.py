"""The report as text for a terminal: what `batchgen report DIR` prints. No decisions about the run here."""

from __future__ import annotations

from collections.abc import Sequence

from batchgen.report.estimate import compared, how_estimated
from batchgen.report.read import KILLED, RUNNING, counts
from batchgen.report.values import Count, Line, Quantiles, Report, RowLine
from batchgen.text.figures import UNKNOWN, amount, count, duration, figure, latency, moment, plain, share
from batchgen.text.table import table

_LINES_SHOWN = 20


def report_text(report: Report) -> str:
    """Return the whole report; sections without content are left out."""
    sections = [
        _head(report),
        _rows(report),
        _money(report),
        _spreads(report),
        _pace(report),
        _estimate(report),
        _lines(report),
        _errors(report),
        _row_lines("Slowest rows", report.slowest, report),
        _row_lines("Most expensive rows", report.most_expensive, report),
        _truncated(report),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def breakdown_text(lines: Sequence[Line]) -> list[str]:
    """Return rows by status, finish reason and error kind, a line for each of these that has more than one word.

    `lines` are those of the cost summary (`report.read_cost_summary(DIR / "cost_summary.parquet").lines`).
    """
    failed = [line for line in lines if line.status == "failed"]
    return _breakdown(
        counts(lines, lambda line: line.status),
        counts(lines, lambda line: line.finish_reason),
        counts(failed, lambda line: line.error_kind),
    )


def _breakdown(by_status: Sequence[Count], by_finish: Sequence[Count], by_error: Sequence[Count]) -> list[str]:
    parts = [("status", by_status, ""), ("finish", by_finish, "none"), ("errors", by_error, "unnamed")]
    return [
        _label(label, ", ".join(f"{plain(found.word or none)} {found.rows:,}" for found in words))
        for label, words, none in parts
        if len(words) > 1 or (label == "errors" and words)
    ]


def _label(label: str, text: str) -> str:
    return f"{label:<12}{text}"


def _head(report: Report) -> list[str]:
    state = {
        RUNNING: f"running ({report.held_by})",
        KILLED: "killed; running it again goes on",
    }.get(report.state, report.state)
    lines = [
        f"{report.directory}: {plain(report.job)}, {state}{', simulated' if report.simulated else ''}",
        _label("started", f"{moment(report.started_at)}, last written {moment(report.updated_at)}"),
    ]
    if report.sessions > 1:
        lines[-1] += f", in {report.sessions:,} sessions"
    if report.stopped_by:
        lines.append(_label("stopped by", plain(report.stopped_by, 400)))
    elif report.last_error:
        lines.append(_label("last error", f"{plain(report.last_error, 400)} (no answer since)"))
    return lines + [_label("note", note) for note in notes_on(report)]


def notes_on(report: Report) -> list[str]:
    """Return a sentence for a run that was simulated, and for settled rows that this report cannot see yet."""
    simulated = "The built-in simulator answered: nothing was charged, and the answers are made up."
    return [*([simulated] if report.simulated else []), *_unseen(report)]


def _unseen(report: Report) -> list[str]:
    settled = report.succeeded + report.failed
    unseen = settled - report.published
    if unseen <= 0:
        return []
    what = "This report covers" if report.lines_of == "parts" else "Spreads, examples and row lists cover"
    return [f"{what} {report.published:,} rows; {unseen:,} more are finished, but their part is not published yet."]


def _rows(report: Report) -> list[str]:
    lines = [
        _label(
            "rows",
            f"{report.rows:,}: {report.succeeded:,} succeeded ({share(report.succeeded, report.rows)}), "
            f"{report.failed:,} failed ({share(report.failed, report.rows)})"
            + (f", {report.pending:,} still to do" if report.pending else ""),
        )
    ]
    lines += _breakdown([], report.by_finish_reason, report.by_error_kind)
    attempts = report.attempts
    if attempts.sent:
        sent = report.totals.attempts if report.totals else attempts.sent
        lines.append(
            _label(
                "requests",
                f"{sent:,} sent, {attempts.wasted:,} of them beyond one per row ({attempts.retried_rows:,} rows)"
                + (f"; {report.refused:,} rate-limited in the last session" if report.refused else ""),
            )
        )
    if report.truncated.rows:
        lines.append(_label("truncated", f"{report.truncated.rows:,} answers were cut at the longest allowed length"))
    return lines


def _money(report: Report) -> list[str]:
    totals = report.totals
    if totals is None:
        return []
    tokens = (
        f"{count(totals.input_tokens)} in, {count(totals.output_tokens)} out, {count(totals.total_tokens)} together"
    )
    more = [
        f"{number:,} {word}"
        for number, word in (
            (totals.cached_tokens, "of the input cached"),
            (totals.reasoning_tokens, "of it reasoning"),
        )
        if number
    ]
    lines = [_label("tokens", tokens + (f" ({', '.join(more)})" if more else ""))]
    if totals.cost is None:
        lines.append(_label("cost", "unknown: the model has no known price"))
    else:
        each = [
            f"{amount(value, report.currency)} per 1,000 {word}"
            for value, word in ((report.cost_per_1000_rows, "rows"), (report.cost_per_1000_answers, "answers"))
            if value is not None
        ]
        if report.cost_per_1000_rows == report.cost_per_1000_answers:
            del each[1:]
        simulated = "simulated: " if report.simulated else ""
        lines.append(_label("cost", f"{simulated}{amount(totals.cost, report.currency)} ({', '.join(each)})"))
    if report.possibly_billed_requests:
        most = (
            f", at most {amount(report.possibly_billed_cost, report.currency)}" if report.possibly_billed_cost else ""
        )
        lines.append(_label("", f"{report.possibly_billed_requests:,} requests got no answer and may be billed{most}"))
    if report.price_sources:
        lines.append(_label("prices", f"of {', '.join(report.price_dates)}: {plain(', '.join(report.price_sources))}"))
    return lines


def _spreads(report: Report) -> list[str]:
    def line(name: str, quantiles: Quantiles | None, shown: type | None = None) -> list[list[str]]:
        if quantiles is None:
            return []
        figures = [quantiles.mean, quantiles.smallest, quantiles.p50, quantiles.p90, quantiles.p95, quantiles.p99]
        return [[name, *(_shown(name, value) for value in (*figures, quantiles.largest))]]

    rows = [
        *line("input tokens", report.input_tokens.quantiles),
        *line("output tokens", report.output_tokens.quantiles),
        *line("latency", report.latency_ms.quantiles),
        *line(f"cost in {report.currency}" if report.currency else "cost", report.cost.quantiles),
    ]
    return table([["per row", "mean", "min", "p50", "p90", "p95", "p99", "max"], *rows]) if rows else []


def _shown(name: str, value: float) -> str:
    if name == "latency":
        return latency(value)
    return amount(value, None) if name.startswith("cost") else figure(value)


def _pace(report: Report) -> list[str]:
    lines = []
    if report.rows_per_s is not None:
        lines.append(
            _label("throughput", f"{figure(report.rows_per_s)} rows/s over {duration(report.active_s)} of activity")
        )
        best = max(report.moments, key=lambda found: found.rows / found.span_s)
        if len(report.moments) > 1:
            lines[-1] += f", at best {figure(best.rows / best.span_s)} rows/s for {duration(best.span_s)}"
    if report.limited_by:
        lines.append(_label("limited by", plain(report.limited_by)))
    if report.pace:
        sent = sum(found.sent for found in report.pace)
        refused = sum(found.refused for found in report.pace)
        failed = sum(found.failed for found in report.pace)
        lines.append(
            _label(
                "pace",
                f"{sent:,} requests sent, {refused:,} rate-limited ({share(refused, sent)}), {failed:,} failed; "
                f"at most {max(found.in_flight for found in report.pace):,} in flight",
            )
        )
    return lines


def _estimate(report: Report) -> list[str]:
    estimate = report.estimate
    if estimate is None:
        return []
    rows = [[line.name, line.low, line.expected, line.high, line.actual, line.verdict] for line in compared(report)]
    return [
        f"Estimate against actual ({how_estimated(estimate)})",
        *table([["", "low", "expected", "high", "actual", ""], *rows]),
    ]


def _lines(report: Report) -> list[str]:
    rows = [
        [
            plain(line.model or UNKNOWN),
            line.status,
            plain(line.finish_reason or UNKNOWN),
            plain(line.error_kind or UNKNOWN),
            count(line.rows),
            count(line.attempts),
            count(line.input_tokens),
            count(line.output_tokens),
            amount(line.cost, None) if line.cost is not None else UNKNOWN,
        ]
        for line in report.lines[:_LINES_SHOWN]
    ]
    if not rows:
        return []
    cost = f"cost ({report.currency})" if report.currency else "cost"
    head = ["model", "status", "finish", "error", "rows", "requests", "tokens in", "tokens out", cost]
    more = len(report.lines) - len(rows)
    return ["Rows by group", *table([head, *rows], words=4), *([f"and {more:,} more groups"] if more > 0 else [])]


def _errors(report: Report) -> list[str]:
    lines = []
    for error in report.errors:
        status = f"HTTP {error.http_status}" if error.http_status is not None else "no response"
        what = ", ".join(plain(word) for word in (error.kind or "unnamed", status, error.code) if word)
        lines.append(f"{error.rows:,} x {what}; for example row {plain(error.row_id)}:")
        lines.append(f"    {plain(error.message or UNKNOWN, 300)}")
    return ["Failed rows", *lines] if lines else []


def _row_lines(title: str, found: Sequence[RowLine], report: Report) -> list[str]:
    if not found:
        return []
    cost = f"cost ({report.currency})" if report.currency else "cost"
    rows = [
        [
            plain(row.row_id, 40),
            plain(row.finish_reason or row.error_kind or row.status),
            latency(row.latency_ms),
            count(row.attempts),
            count(row.input_tokens),
            count(row.output_tokens),
            amount(row.cost, None) if row.cost is not None else UNKNOWN,
        ]
        for row in found
    ]
    head = ["row", "end", "latency", "requests", "tokens in", "tokens out", cost]
    return [title, *table([head, *rows], words=2)]


def _truncated(report: Report) -> list[str]:
    if not report.truncated.rows:
        return []
    ids = ", ".join(plain(row_id, 40) for row_id in report.truncated.first_ids)
    more = "" if report.truncated.rows <= len(report.truncated.first_ids) else ", ..."
    return ["Truncated rows", f"    {ids}{more}"]
