"""A report's figures: each a chart with a sentence that says what it shows, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from markupsafe import Markup
from msgspec import Struct

from batchgen.report.charts import Format, Mark, Series, histogram, range_chart, time_chart
from batchgen.report.estimate import compared
from batchgen.report.values import PaceMoment, Report, Spread
from batchgen.text.figures import amount, count, duration, figure, latency, plain

_TABLE_ROWS = 24


class Plot(Struct, frozen=True):
    """A chart, its caption, and its numbers."""

    id: str
    title: str
    caption: str
    chart: Markup
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def progress_figures(report: Report) -> list[Plot]:
    """Return throughput, cost and answers over time."""
    moments = report.moments
    if not moments:
        return []
    starts, spans = [found.start_s for found in moments], [found.span_s for found in moments]
    rates = [found.rows / found.span_s for found in moments]
    failing = [found.failed / found.span_s for found in moments]
    tokens = [found.output_tokens / found.span_s for found in moments]
    money = [float(value) for value in accumulate(found.cost for found in moments)]
    series = [Series("rows/s", rates, "s1", area=True)]
    if report.failed:
        series = [Series("finished", rates, "s1", area=True), Series("failed", failing, "s3")]
    head = ["after", "rows/s", "failed/s", "tokens out/s", "cost so far"]
    rows = _thinned(
        [
            [duration(at), figure(rate), figure(failed), figure(out), amount(cost, report.currency)]
            for at, rate, failed, out, cost in zip(accumulate(spans), rates, failing, tokens, money, strict=True)
        ]
    )
    best = max(rates)
    figures = [
        Plot(
            "throughput",
            "Rows finished per second",
            f"{figure(report.rows_per_s)} on average, {figure(best)} at best; time without pauses.",
            time_chart(
                "throughput-chart",
                "Rows finished per second over time",
                starts=starts,
                spans=spans,
                series=series,
                form=figure,
            ),
            [*head[:3]],
            [row[:3] for row in rows],
        )
    ]
    if report.totals is not None and report.totals.cost is not None:
        figures.append(
            Plot(
                "cost",
                f"Cost so far{f' in {report.currency}' if report.currency else ''}",
                f"Of the {report.published:,} published rows, by the time they were finished; "
                f"{amount(report.cost_per_1000_rows, report.currency)} per 1,000 rows.",
                time_chart(
                    "cost-chart",
                    "Cost so far over time",
                    starts=starts,
                    spans=spans,
                    series=[Series("cost", money, "s2", area=True)],
                    form=lambda value: f"{value:,.6g}",
                ),
                [head[0], head[4]],
                [[row[0], row[4]] for row in rows],
            )
        )
    if any(tokens):
        figures.append(
            Plot(
                "tokens-out",
                "Output tokens per second",
                f"{count(report.totals.output_tokens if report.totals else None)} tokens answered in all.",
                time_chart(
                    "tokens-out-chart",
                    "Output tokens per second over time",
                    starts=starts,
                    spans=spans,
                    series=[Series("tokens", tokens, "s1", area=True)],
                    form=_short,
                ),
                [head[0], head[3]],
                [[row[0], row[3]] for row in rows],
            )
        )
    return figures


def spread_figures(report: Report) -> list[Plot]:
    """Return the histograms of tokens and latency."""
    figures = []
    for name, title, spread, form, unit in (
        ("input-tokens", "Input tokens per row", report.input_tokens, _short, "tokens"),
        ("output-tokens", "Output tokens per row", report.output_tokens, _short, "tokens"),
        ("latency", "Latency of the attempt that finished a row", report.latency_ms, latency, ""),
    ):
        figures += _spread(name, title, spread, form, unit)
    return figures


def _spread(name: str, title: str, spread: Spread, form: Format, unit: str) -> list[Plot]:
    quantiles = spread.quantiles
    if quantiles is None:
        return []
    marks = [Mark("p50", quantiles.p50), Mark("p95", quantiles.p95), Mark("p99", quantiles.p99)]
    whole = latency if name == "latency" else figure
    return [
        Plot(
            name,
            title,
            f"Half of {quantiles.rows:,} rows up to {whole(quantiles.p50)}, 95 % up to {whole(quantiles.p95)}, "
            f"99 % up to {whole(quantiles.p99)}; logarithmic scale.",
            histogram(f"{name}-chart", f"{title}: histogram", bins=spread.bins, marks=marks, form=form, unit=unit),
            ["from", "to below", "rows"],
            [
                [whole(found.low), whole(found.high) if found.high > found.low else whole(found.low), count(found.rows)]
                for found in spread.bins
                if found.rows
            ],
        )
    ]


def pace_figures(report: Report) -> list[Plot]:
    """Return what the limiter did: requests and refusals, requests in flight, latencies, all over time."""
    pace = report.pace
    if not pace:
        return []
    starts, spans = [found.start_s for found in pace], [found.span_s for found in pace]
    after = [duration(at) for at in accumulate(spans)]
    sent = [found.sent / found.span_s for found in pace]
    refused = [found.refused / found.span_s for found in pace]
    allowed = [found.requests_per_s for found in pace]
    highest = 1.5 * max(sent)  # a pace far above what is ever asked for would flatten the rest
    series = [Series("sent", sent, "s1", area=True), Series("rate-limited", refused, "s3")]
    if any(value is not None for value in allowed):
        series.insert(
            1, Series("pace", [None if value is None or value > highest else value for value in allowed], "s2")
        )
    all_sent, all_refused = sum(found.sent for found in pace), sum(found.refused for found in pace)
    figures = [
        Plot(
            "pace",
            "Requests per second, pace and refusals",
            f"{all_sent:,} requests sent, {all_refused:,} of them refused"
            + (f"; limited by {plain(report.limited_by)}." if report.limited_by else "."),
            time_chart(
                "pace-chart",
                "Requests sent and rate-limited per second over time",
                starts=starts,
                spans=spans,
                series=series,
                form=figure,
            ),
            ["after", "sent/s", "pace/s", "rate-limited", "failed"],
            _thinned(
                [
                    [at, figure(rate), figure(found.requests_per_s), count(found.refused), count(found.failed)]
                    for at, rate, found in zip(after, sent, pace, strict=True)
                ]
            ),
        ),
        _in_flight(pace, starts, spans, after),
    ]
    return figures + _latencies(pace, starts, spans, after)


def _in_flight(pace: Sequence[PaceMoment], starts: list[float], spans: list[float], after: list[str]) -> Plot:
    most = max(found.in_flight for found in pace)
    return Plot(
        "in-flight",
        "Requests in flight",
        f"At most {most:,} at a time, where at most {max(found.cap for found in pace):,} were allowed.",
        time_chart(
            "in-flight-chart",
            "Requests in flight over time",
            starts=starts,
            spans=spans,
            series=[
                Series("in flight", [found.in_flight for found in pace], "s1", area=True),
                Series("allowed", [found.cap for found in pace], "s2"),
            ],
            form=_short,
        ),
        ["after", "in flight", "allowed"],
        _thinned([[at, count(found.in_flight), count(found.cap)] for at, found in zip(after, pace, strict=True)]),
    )


def _latencies(pace: Sequence[PaceMoment], starts: list[float], spans: list[float], after: list[str]) -> list[Plot]:
    """Latencies in milliseconds over time; nothing if no answer was timed."""

    def scaled(name: str) -> list[float | None]:
        return [None if (value := getattr(found, name)) is None else 1000 * value for found in pace]

    half, most, nearly = scaled("latency_p50_s"), scaled("latency_p95_s"), scaled("latency_p99_s")
    if not any(value is not None for value in half):
        return []
    return [
        Plot(
            "latency-over-time",
            "Latency over time",
            "Of all attempts, by the time their answer came.",
            time_chart(
                "latency-over-time-chart",
                "Latency quantiles over time",
                starts=starts,
                spans=spans,
                series=[Series("p50", half, "s1"), Series("p95", most, "s2"), Series("p99", nearly, "s3")],
                form=latency,
            ),
            ["after", "p50", "p95", "p99"],
            _thinned([[at, *map(latency, values)] for at, *values in zip(after, half, most, nearly, strict=True)]),
        )
    ]


def estimate_charts(report: Report) -> list[Markup | None]:
    """Return a chart for each line of `compared`, None where nothing was foreseen but one figure, or no
    bound."""
    return [
        None
        if span is None or span.low is None or span.expected is None or span.high is None
        else range_chart(
            f"estimate-{name.replace(' ', '-')}",
            f"Estimated and actual {name}",
            low=float(span.low),
            expected=float(span.expected),
            high=float(span.high),
            actual=None if came is None else float(came),
        )
        for name, span, came in ((line.name, line.range, line.came) for line in compared(report))
    ]


def _thinned(rows: list[list[str]]) -> list[list[str]]:
    """Return at most `_TABLE_ROWS` rows, evenly taken, the last one always among them."""
    step = -(-len(rows) // _TABLE_ROWS)
    return [row for place, row in enumerate(reversed(rows)) if place % step == 0][::-1]


def _short(value: float) -> str:
    """A count for an axis: 1,200 as 1.2k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return figure(value)
