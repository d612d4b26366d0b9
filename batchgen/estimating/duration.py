"""How long a job takes: as long as its rate limits or the latency of its answers require, whichever is longer."""

from __future__ import annotations

from collections.abc import Sequence

from batchgen.estimating.intervals import Interval, mean_interval
from batchgen.estimating.observed import Observed
from batchgen.estimating.values import Span
from batchgen.job.settings import LimitSettings
from batchgen.pace.level_search import BEARABLE
from batchgen.pace.rate_limit import SAFETY


def duration(
    limits: LimitSettings, rows: int, input_tokens: int, output_tokens: Span[int], sample: Sequence[Observed]
) -> Span[float] | None:
    """Return the seconds for all rows; None if there are neither rate limits nor answers with a latency.

    `rows` counts one that is asked several times (votes) so often.
    `SAFETY` of each limit is used, as by the pacer. `sample` gives the latencies; `limits.concurrency` requests are in
    flight at once (left out: as many as at the beginning of a run). Rate limits of the provider that the job does not
    state are not taken into account.
    """
    if rows == 0:
        return Span(0.0, 0.0, 0.0)
    times = [item.latency_ms / 1000 for item in sample if item.latency_ms is not None]
    answer_s = Interval(0.0, 0.0, 0.0)
    if len(times) >= min(2, rows):
        answer_s = mean_interval(times, max(rows, len(times)))
    requests_s = 60 * rows / (limits.requests_per_minute * SAFETY) if limits.requests_per_minute else 0.0

    def seconds(tokens: int | None, answer_s: float) -> float | None:
        tokens_s = 0.0
        if limits.tokens_per_minute:
            if tokens is None:
                return None
            tokens_s = 60 * (input_tokens + tokens) / (limits.tokens_per_minute * SAFETY)
        longest = max(requests_s, tokens_s, rows * answer_s / (limits.concurrency or BEARABLE)) + answer_s
        return round(longest, 3)

    if not times and not limits.requests_per_minute and not limits.tokens_per_minute:
        return None
    return Span(
        seconds(output_tokens.low, max(0.0, answer_s.low)),
        seconds(output_tokens.expected, answer_s.expected),
        seconds(output_tokens.high, answer_s.high),
    )
