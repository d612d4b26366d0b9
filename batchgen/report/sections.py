"""A run's report as sections: every figure is described here once, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from batchgen.report.batches import batches_table
from batchgen.report.estimate import outcome_table
from batchgen.report.figures import pace_charts, progress_charts, spread_charts
from batchgen.report.read import KILLED, RUNNING, counts
from batchgen.report.values import Count, Line, Quantiles, Report, RowLine
from batchgen.text.figures import (
    UNKNOWN,
    amount,
    count,
    duration,
    figure,
    latency,
    moment,
    plain,
    plain_lines,
    quantity,
    share,
)
from batchgen.text.sections import Block, Document, Fact, Facts, Note, Passage, Passages, Section, Table, sections_text

if TYPE_CHECKING:
    from batchgen.evaluation.evaluate import Evaluation

_LINES_SHOWN = 40


def report_text(report: Report) -> str:
    """Return the whole report for a terminal."""
    return sections_text(run_document(report))


def run_document(
    report: Report, evaluation: Evaluation | None = None, texts: Mapping[str, str] | None = None, prefix: str = ""
) -> Document:
    """Return the report of a run; with `evaluation`, its answers held against gold too, each with its row's `texts`.

    `prefix` makes the names of its charts differ from those of another run in the same page.
    """
    if evaluation is not None:
        from batchgen.evaluation.sections import gold_blocks

        against_gold: list[Block] = gold_blocks(evaluation, texts or {})
    else:
        against_gold = []
    listed: list[tuple[str, list[Block]]] = [
        ("", _head(report)),
        ("A sample answer", _samples(report)),
        ("Answers against gold", against_gold),
        ("How the rows ended", [*_breakdowns(report), *_cut_answers(report)]),
        ("Failed rows", _errors(report)),
        ("Over time", [*progress_charts(report, prefix)]),
        ("Tokens and latency", [*spread_charts(report, prefix), *_spreads(report)]),
        ("Pace and rate limits", [*pace_charts(report, prefix)]),
        ("Batches", [batches_table(report.batches)] if report.batches else []),
        ("Estimate against actual", [*outcome_table(report, prefix)]),
        ("Rows that stand out", _rows_that_stand_out(report)),
        ("Rows by group", _lines(report)),
        ("Job and run", _job_and_run(report)),
    ]
    sections = [Section(title, blocks) for title, blocks in listed if blocks]
    return Document(f"{plain(report.job)} in {plain(report.directory, 300)}", marks_of(report), sections)


def marks_of(report: Report) -> list[str]:
    """Return the state of a run, and whether it was simulated."""
    return [report.state, *(["simulated"] if report.simulated else [])]


def runs_document(reports: Sequence[Report]) -> Document:
    """Return several runs side by side, with sums for each currency: money of two is never added."""
    rows: list[list[str]] = []
    sums: dict[tuple[str | None, bool], Decimal] = {}
    for report in reports:
        cost = report.totals.cost if report.totals is not None else None
        simulated = ", simulated" if report.simulated else ""
        rows.append(
            [
                plain(report.directory, 80),
                f"{report.state}{simulated}",
                model_of(report),
                *(f"{number:,}" for number in (report.rows, report.succeeded, report.failed)),
                amount(cost, report.currency),
                figure(report.rows_per_s),
            ]
        )
        if cost is not None:
            key = (report.currency, report.simulated)
            sums[key] = sums.get(key, Decimal(0)) + cost
    head = ["run", "state", "model", "rows", "succeeded", "failed", "cost", "rows/s"]
    totals = [
        Fact("cost, simulated" if simulated else "cost", amount(total, currency), "of all runs in this currency")
        for (currency, simulated), total in sums.items()
    ]
    return Document(
        quantity(len(reports), "run"),
        [],
        [Section("", [Facts(totals, large=True), Table("Runs", head, rows, words=3)])],
    )


def breakdown_text(lines: Sequence[Line]) -> list[str]:
    """Return rows by status, finish reason and error kind, a line for each of these that has more than one word.

    `lines` are those of the cost summary (`report.read_cost_summary(DIR / "cost_summary.parquet").lines`).
    """
    failed = [line for line in lines if line.status == "failed"]
    parts = [
        ("status", counts(lines, lambda line: line.status), ""),
        ("finish", counts(lines, lambda line: line.finish_reason), "none"),
        ("errors", counts(failed, lambda line: line.error_kind), "unnamed"),
    ]
    return [
        f"{label:<12}{', '.join(f'{plain(found.word or none)} {found.rows:,}' for found in words)}"
        for label, words, none in parts
        if len(words) > 1 or (label == "errors" and words)
    ]


def model_of(report: Report) -> str:
    """Return the model as the job names it, else as the answers do."""
    named = report.settings.get("model.name")
    column = report.settings.get("model.name.column")
    answered = sorted({line.model for line in report.lines if line.model})
    return plain(str(named or (f"column {column}" if column else ", ".join(answered)) or "unknown"), 120)


def _head(report: Report) -> list[Block]:
    blocks: list[Block] = []
    if report.stopped_by:
        blocks.append(Note(f"Stopped by: {plain(report.stopped_by, 600)}", alarm=True))
    elif report.last_error:
        blocks.append(Note(f"No answer since the last error: {plain(report.last_error, 600)}", alarm=True))
    if report.state == KILLED:
        gone = "The process that ran it is gone. Running the same command again goes on from here."
        blocks.append(Note(gone, alarm=True))
    blocks += [Note(note) for note in _notes(report)]
    return [*blocks, Facts(_identity(report)), Facts(_key_figures(report), large=True), *_billing_notes(report)]


def _identity(report: Report) -> list[Fact]:
    """Return what a reader must know before any figure: model, price, currency, when, by whom."""
    provider = plain(str(report.settings.get("model.provider") or ""))
    where = plain(str(report.settings.get("model.base_url") or ""), 120)
    facts = [Fact("model", model_of(report), ", ".join(word for word in (provider, where) if word))]
    if report.price:
        facts.append(Fact("price", plain(report.price, 400)))
    elif report.price_sources:
        facts.append(Fact("prices", f"of {', '.join(report.price_dates)}", plain(", ".join(report.price_sources), 300)))
    facts.append(Fact("currency", plain(report.currency or "none: no price is known", 40)))
    if report.simulated:
        facts.append(Fact("charged", "nothing", "the built-in simulator answered, and the answers are made up"))
    sessions = f" in {report.sessions:,} sessions" if report.sessions > 1 else ""
    facts.append(Fact("started", moment(report.started_at), f"last written {moment(report.updated_at)}{sessions}"))
    if report.state == RUNNING and report.held_by:
        facts.append(Fact("run by", report.held_by))
    return facts


def _notes(report: Report) -> list[str]:
    unseen = report.succeeded + report.failed - report.published
    if unseen <= 0:
        return []
    what = "This report covers" if report.lines_of == "parts" else "Spreads, examples and row lists cover"
    return [f"{what} {quantity(report.published, 'row')}; {unseen:,} more are finished and cannot be read now."]


def _key_figures(report: Report) -> list[Fact]:
    pending = f", {report.pending:,} still to do" if report.pending else ""
    rows = f"{report.succeeded:,} succeeded, {report.failed:,} failed{pending}"
    facts = [Fact("rows", f"{report.rows:,}", rows)]
    if report.reused:
        saved = f"which saved about {amount(report.saved, report.currency)}" if report.saved else ""
        facts.append(Fact("reused", f"{quantity(report.reused, 'answer')} of earlier runs", saved))
    totals = report.totals
    if totals is not None:
        each = [
            f"{amount(value, report.currency)} per 1,000 {word}"
            for value, word in ((report.cost_per_1000_rows, "rows"), (report.cost_per_1000_answers, "answers"))
            if value is not None
        ]
        if report.cost_per_1000_rows == report.cost_per_1000_answers:
            del each[1:]
        unknown = "the model has no known price, or no tokens were reported"
        simulated = ["simulated"] if report.simulated else []
        facts += [
            Fact(
                "cost",
                amount(totals.cost, report.currency),
                unknown if totals.cost is None else ", ".join(simulated + each),
            ),
            *(
                [
                    Fact(
                        "cost as the replies state it",
                        amount(totals.reported_cost, None),
                        "in the server's own currency",
                    )
                ]
                if totals.reported_cost is not None
                else []
            ),
            Fact("input tokens", count(totals.input_tokens), _cached(report, totals.cached_tokens)),
            Fact("output tokens", count(totals.output_tokens), _of_them(totals.reasoning_tokens, "thinking")),
        ]
    attempts = report.attempts
    if attempts.sent:
        sent = totals.attempts if totals is not None else attempts.sent
        limited = f"; {report.refused:,} rate-limited in the last session" if report.refused else ""
        beyond = f"{attempts.wasted:,} of them beyond one per row, for {quantity(attempts.retried_rows, 'row')}"
        beyond = (beyond if attempts.wasted else "none beyond one per row") + limited
        facts.append(Fact("requests", f"{sent:,}", beyond))
    if report.rows_per_s is not None:
        best = max(report.moments, key=lambda found: found.rows / found.span_s)
        detail = f"over {duration(report.active_s)} of activity"
        if len(report.moments) > 1:
            detail += f", at best {figure(best.rows / best.span_s)} rows/s for {duration(best.span_s)}"
        facts.append(Fact("throughput", f"{figure(report.rows_per_s)} rows/s", detail))
    if report.truncated.rows:
        cut = "answers at their longest allowed length"
        facts.append(Fact("cut", f"{report.truncated.rows:,}", cut))
    return facts


def _cached(report: Report, tokens: int | None) -> str:
    saved = f", which saved about {amount(report.cached_saved, report.currency)}" if report.cached_saved else ""
    return _of_them(tokens, "cached") + saved


def _of_them(tokens: int | None, word: str) -> str:
    return f"{tokens:,} of them {word}" if tokens else ""


def _billing_notes(report: Report) -> list[Block]:
    if not report.possibly_billed_requests:
        return []
    cost = report.possibly_billed_cost
    most = f", at most {amount(cost, report.currency)}" if cost else ""
    requests = f"{quantity(report.possibly_billed_requests, 'request')} got no answer and may be billed{most}"
    return [Note(f"{requests}; the cost above does not count them.")]


def _samples(report: Report) -> list[Block]:
    if not report.samples:
        return []
    made_up = "made up by the simulator" if report.simulated else ""
    passages = []
    for one in report.samples:
        row = plain(one.row_id, 60)
        if one.asked is not None:
            passages.append(Passage(f"row {row} was", plain_lines(one.asked)))
        passages.append(Passage(f"answer to row {row}", plain_lines(one.answer)))
    return [Passages("The first answer", passages, note=made_up)]


def _breakdowns(report: Report) -> list[Block]:
    by_number = [Count(quantity(number, "request"), rows) for number, rows in report.attempts.by_number.items()]
    blocks: list[Block] = []
    for title, words in (
        ("Status", report.by_status),
        ("Finish reason", report.by_finish_reason),
        ("Error kind", report.by_error_kind),
        ("Requests per row", by_number),
    ):
        whole = sum(found.rows for found in words)
        if whole:
            rows = [[plain(found.word or "none"), count(found.rows), share(found.rows, whole)] for found in words]
            shares = [found.rows / whole for found in words]
            blocks.append(Table(title, [title.lower(), "rows", "share"], rows, shares=shares, fits=True))
    return blocks


def _cut_answers(report: Report) -> list[Block]:
    found = report.truncated
    if not found.rows:
        return []
    ids = ", ".join(plain(row_id, 60) for row_id in found.first_ids)
    more = ", ..." if found.rows > len(found.first_ids) else ""
    head = f"{quantity(found.rows, 'answer was', 'answers were')} cut (finish_reason length)"
    head += "; a higher max_tokens gives them room"
    return [Passages("Cut answers", [Passage(head, f"rows {ids}{more}")])]


def _errors(report: Report) -> list[Block]:
    passages = []
    for error in report.errors:
        status = f"HTTP {error.http_status}" if error.http_status is not None else "no response"
        what = ", ".join(plain(word) for word in (error.kind or "unnamed", status, error.code) if word)
        head = f"{error.rows:,} x {what}; for example row {plain(error.row_id, 60)}:"
        passages.append(Passage(head, plain(error.message or UNKNOWN, 300)))
    return [Passages("Errors with an example each", passages)] if passages else []


def _spreads(report: Report) -> list[Block]:
    def line(name: str, quantiles: Quantiles | None) -> list[list[str]]:
        if quantiles is None:
            return []
        q = quantiles
        return [[name, *(_shown(name, one) for one in (q.mean, q.smallest, q.p50, q.p90, q.p95, q.p99, q.largest))]]

    rows = [
        *line("input tokens", report.input_tokens.quantiles),
        *line("output tokens", report.output_tokens.quantiles),
        *line("latency", report.latency_ms.quantiles),
        *line(f"cost in {plain(report.currency)}" if report.currency else "cost", report.cost.quantiles),
    ]
    note = "Quantiles of tokens are exact, those of latency and cost within 0.5 %."
    head = ["per row", "mean", "min", "p50", "p90", "p95", "p99", "max"]
    return [Table("Per row", head, rows, note=note)] if rows else []


def _shown(name: str, value: float) -> str:
    if name == "latency":
        return latency(value)
    return amount(value, None) if name.startswith("cost") else figure(value)


def _rows_that_stand_out(report: Report) -> list[Block]:
    cost = f"cost ({plain(report.currency)})" if report.currency else "cost"
    head = ["row", "end", "latency", "requests", "tokens in", "tokens out", cost]

    def rows(found: Sequence[RowLine]) -> list[list[str]]:
        return [
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

    listed = (("Slowest rows", report.slowest), ("Most expensive rows", report.most_expensive))
    return [Table(title, head, rows(found), words=2) for title, found in listed if found]


def _lines(report: Report) -> list[Block]:
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
    cost = f"cost ({plain(report.currency)})" if report.currency else "cost"
    head = ["model", "status", "finish", "error", "rows", "requests", "tokens in", "tokens out", cost]
    if any(line.endpoint for line in report.lines):
        head.insert(1, "endpoint")
        for row, line in zip(rows, report.lines, strict=False):
            row.insert(1, plain(line.endpoint or UNKNOWN))
    more = len(report.lines) - len(rows)
    note = f"and {more:,} more groups" if more > 0 else ""
    return [Table("Rows, tokens and cost by model and end", head, rows, words=len(head) - 5, note=note)]


def _job_and_run(report: Report) -> list[Block]:
    run = [
        Fact("limited by", plain(report.limited_by or "")),
        Fact("last session", duration(report.wall_s) if report.wall_s is not None else ""),
        Fact("prices of", ", ".join(report.price_dates), plain(", ".join(report.price_sources), 300)),
        *(Fact(plain(name), plain(number)) for name, number in report.versions.items()),
    ]
    settings = [
        Fact(plain(key, 80), plain(str(value), 200)) for key, value in report.settings.items() if value is not None
    ]
    blocks: list[Block] = [Facts([fact for fact in run if fact.value])]
    return [*blocks, *([Facts(settings, code=True)] if settings else [])]
