"""A report's charts, each with a sentence that says what it shows and its numbers as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from batchgen.report.charts import Mark, Moments, Series, histogram, time_chart
from batchgen.report.values import Report, Spread
from batchgen.text.figures import amount, count, duration, figure, latency, plain, quantity
from batchgen.text.sections import Chart, Table

_TABLE_ROWS = 24
_Format = Callable[[float], str]


def progress_charts(report: Report, prefix: str = "") -> list[Chart]:
    """Return throughput, cost and answers over time."""
    moments = report.moments
    if not moments:
        return []
    times = Moments([one.start_s for one in moments], [one.span_s for one in moments])
    rates = [one.rows / one.span_s for one in moments]
    series = [Series("rows/s", rates, "s1", area=True)]
    if report.failed:
        failing = Series("failed/s", [one.failed / one.span_s for one in moments], "s3")
        series = [Series("finished/s", rates, "s1", area=True), failing]
    charts = [
        _over_time(
            f"{prefix}throughput",
            "Rows finished per second",
            f"{figure(report.rows_per_s)} on average, {figure(max(rates))} at best; time between sessions is left out.",
            times,
            series,
            form=figure,
        )
    ]
    if report.totals is not None and report.totals.cost is not None:
        spent = [float(value) for value in accumulate(one.cost for one in moments)]
        charts.append(
            _over_time(
                f"{prefix}cost",
                f"Cost so far{f' in {plain(report.currency)}' if report.currency else ''}",
                f"Of {quantity(report.published, 'row')}, by the time they were finished; "
                f"{amount(report.cost_per_1000_rows, report.currency)} per 1,000 rows.",
                times,
                [Series("cost", spent, "s2", area=True)],
                form=lambda value: f"{value:,.6g}",
            )
        )
    tokens = [one.output_tokens / one.span_s for one in moments]
    if any(tokens):
        charts.append(
            _over_time(
                f"{prefix}tokens-out",
                "Output tokens per second",
                f"{count(report.totals.output_tokens if report.totals else None)} tokens answered in all.",
                times,
                [Series("tokens/s", tokens, "s1", area=True)],
                form=short,
            )
        )
    return charts


def spread_charts(report: Report, prefix: str = "") -> list[Chart]:
    """Return the histograms of tokens and latency."""
    return [
        chart
        for name, title, spread, form in (
            ("input-tokens", "Input tokens per row", report.input_tokens, short),
            ("output-tokens", "Output tokens per row", report.output_tokens, short),
            ("latency", "Latency of the attempt that finished a row", report.latency_ms, latency),
        )
        for chart in _spread(f"{prefix}{name}", title, spread, form)
    ]


def _spread(name: str, title: str, spread: Spread, form: _Format) -> list[Chart]:
    q = spread.quantiles
    if q is None:
        return []
    exact, unit = (latency, "") if form is latency else (figure, "tokens")
    caption = (
        f"Half of {q.rows:,} rows up to {exact(q.p50)}, 95 % up to {exact(q.p95)}, 99 % up to {exact(q.p99)}; "
        "logarithmic scale."
    )
    marks = [Mark("p50", q.p50), Mark("p95", q.p95), Mark("p99", q.p99)]
    drawing = histogram(f"{name}-chart", f"{title}: histogram", bins=spread.bins, marks=marks, form=form, unit=unit)
    rows = [
        [exact(one.low), exact(one.high if one.high > one.low else one.low), count(one.rows)]
        for one in spread.bins
        if one.rows
    ]
    return [Chart(name, title, caption, drawing, Table(title, ["from", "to below", "rows"], rows, words=0, fits=True))]


def pace_charts(report: Report, prefix: str = "") -> list[Chart]:
    """Return what the pacer did: requests and rate-limited ones, requests in flight, latencies, all over time."""
    pace = report.pace
    if not pace:
        return []
    times = Moments([one.start_s for one in pace], [one.span_s for one in pace])
    sent = [one.sent / one.span_s for one in pace]
    highest = 1.5 * max(sent)  # a pace far above what is ever asked for would flatten the rest
    allowed = [
        None if one.requests_per_s is None or one.requests_per_s > highest else one.requests_per_s for one in pace
    ]
    requests = [
        Series("sent/s", sent, "s1", area=True),
        *([Series("allowed/s", allowed, "s2")] if any(value is not None for value in allowed) else []),
        Series("rate-limited/s", [one.refused / one.span_s for one in pace], "s3"),
    ]
    all_sent, all_refused = sum(one.sent for one in pace), sum(one.refused for one in pace)
    all_failed, most = sum(one.failed for one in pace), max(one.in_flight for one in pace)
    limited = f" Limited by {plain(report.limited_by)}." if report.limited_by else ""
    charts = [
        _over_time(
            f"{prefix}pace",
            "Requests per second",
            f"{all_sent:,} sent, {all_refused:,} of them rate-limited, {all_failed:,} failed.{limited}",
            times,
            requests,
            form=figure,
        ),
        _over_time(
            f"{prefix}in-flight",
            "Requests in flight",
            f"At most {most:,} when they were counted, once a second; at most {max(one.cap for one in pace):,} were "
            "allowed.",
            times,
            [
                Series("in flight", [one.in_flight for one in pace], "s1", area=True),
                Series("allowed", [one.cap for one in pace], "s2"),
            ],
            form=short,
        ),
    ]
    quantiles = [
        Series(name, [None if value is None else 1000 * value for value in values], look)
        for name, look, values in (
            ("p50", "s1", [one.latency_p50_s for one in pace]),
            ("p95", "s2", [one.latency_p95_s for one in pace]),
            ("p99", "s3", [one.latency_p99_s for one in pace]),
        )
    ]
    if any(value is not None for value in quantiles[0].values):
        caption = "Of all attempts, by the time their answer came."
        charts.append(
            _over_time(f"{prefix}latency-over-time", "Latency over time", caption, times, quantiles, form=latency)
        )
    return charts


def _over_time(
    name: str, title: str, caption: str, times: Moments, series: Sequence[Series], *, form: _Format
) -> Chart:
    after = [duration(at) for at in accumulate(times.spans)]
    rows = [
        [at, *("–" if value is None else form(value) for value in values)]
        for at, *values in zip(after, *(one.values for one in series), strict=True)
    ]
    numbers = Table(title, ["after", *(one.name for one in series)], _thinned(rows), words=0, fits=True)
    drawing = time_chart(f"{name}-chart", f"{title} over time", times=times, series=series, form=form)
    return Chart(name, title, caption, drawing, numbers)


def _thinned(rows: list[list[str]]) -> list[list[str]]:
    """Return at most `_TABLE_ROWS` rows, evenly taken, the last one always among them."""
    step = -(-len(rows) // _TABLE_ROWS)
    return [row for place, row in enumerate(reversed(rows)) if place % step == 0][::-1]


def short(value: float) -> str:
    """A count for an axis: 1,200 as 1.2k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return figure(value)
