"""What the pacer has observed, for `pace.parquet`, the summary and the deadline of an attempt. Pure arithmetic."""

from __future__ import annotations

import math
from collections import defaultdict

from batchgen.pace.latency_histogram import LatencyHistogram
from batchgen.pace.rate_limit import RateLimit
from batchgen.pace.values import CONCURRENCY, IN_FLIGHT, LEVEL, REQUESTS, SLOW, TOKENS, Limits, PaceSample

DEADLINE_S = 120.0
"""Least deadline of an attempt, whatever the latencies are."""


class PaceObservations:
    """Counts, latencies and what delayed requests, in constant size. `held`: no deadline is learnt."""

    __slots__ = (
        "_held",
        "_latencies",
        "_new_s",
        "_reported",
        "_window",
        "deadline_s",
        "failed",
        "held_by",
        "refused",
        "sent",
        "timeout_s",
    )

    def __init__(self, timeout_s: float, *, held: bool = False) -> None:
        self._held = held
        self.sent = self.refused = self.failed = 0
        self.timeout_s = timeout_s
        self.deadline_s = timeout_s
        self._latencies, self._window = LatencyHistogram(), LatencyHistogram()
        self._new_s: list[float] = []  # in neither of them yet
        self._reported = (0, 0, 0)
        self.held_by = defaultdict[int, int](int)  # what delayed requests: counts by the bits that came together

    def answered(self, latency_s: float) -> None:
        """Count an answer; every hundred the deadline follows the latencies."""
        self._new_s.append(latency_s)
        if len(self._new_s) >= 100:
            self._sort_in()

    def _sort_in(self) -> None:
        """Put the latest latencies into the histograms, many at a time: one by one they would cost 0.5 µs a row."""
        self._window.add(self._new_s, self._latencies)
        self._new_s.clear()
        self.learn_deadline()
        if self._latencies.count >= 4000:
            self._latencies.halve()

    @property
    def typical_s(self) -> float:
        """The median of recent latencies in seconds, 0 while none is known."""
        self._sort_in()
        return self._latencies.quantile(0.5) or 0.0

    def change_timeout(self, timeout_s: float) -> None:
        """Take over another bound of the deadline."""
        self.timeout_s = timeout_s
        self.learn_deadline()

    def learn_deadline(self) -> None:
        """5 x p99 of recent latencies, at least 120 s, at most `timeout_s`, which it is until 200 are known."""
        p99_s = self._latencies.quantile(0.99) if self._latencies.count >= 200 and not self._held else None
        self.deadline_s = self.timeout_s if p99_s is None else min(self.timeout_s, max(DEADLINE_S, 5 * p99_s))

    def sample(self, now_s: float, requests: RateLimit, tokens: RateLimit, in_flight: int, cap: int) -> PaceSample:
        """Return the state and what happened since the last sample."""
        self._sort_in()
        window, before = self._window, self._reported
        self._reported = (self.sent, self.refused, self.failed)
        self._window = LatencyHistogram()
        return PaceSample(
            time_s=now_s,
            requests_per_s=_finite(requests.pace),
            tokens_per_s=_finite(tokens.pace),
            in_flight=in_flight,
            cap=cap,
            sent=self.sent - before[0],
            refused=self.refused - before[1],
            failed=self.failed - before[2],
            latency_p50_s=window.quantile(0.5),
            latency_p95_s=window.quantile(0.95),
            latency_p99_s=window.quantile(0.99),
        )

    def limited_by(self, limits: Limits, requests: RateLimit, tokens: RateLimit, cap: int) -> str | None:
        """Return in one phrase what delayed most requests; None if nothing delayed a fifth of them."""
        held = {
            bit: sum(count for bits, count in self.held_by.items() if bits & bit)
            for bit in (REQUESTS, TOKENS, IN_FLIGHT, CONCURRENCY, SLOW, LEVEL)
        }
        bit, count = max(held.items(), key=lambda item: item[1])
        if not count or count * 5 < self.sent:
            return None
        if bit == CONCURRENCY:
            return f"concurrency ({limits.concurrency})"
        if bit == IN_FLIGHT:
            return f"the provider's in-flight cap, about {cap} found"
        if bit == LEVEL:
            return f"requests in flight: {cap:,} was the level that was found, and more were answered no faster"
        if bit == SLOW:
            return "the server's speed: more requests at once were not answered in time"
        if bit == REQUESTS:
            return _phrase("requests per minute", requests, limits.requests_per_minute)
        return _phrase("tokens per minute", tokens, limits.tokens_per_minute)


def _phrase(name: str, rate: RateLimit, given: float | None) -> str:
    if math.isinf(rate.found()):  # a limit that was taken for one, and was none
        return f"{name} for a while"
    if rate.pace < 0.95 * rate.ceiling or math.isinf(rate.named):
        return f"{name}, about {_three_digits(60 * rate.found()):,} found"
    if given is not None and math.isclose(rate.named * 60, given):
        return f"{name}, {given:,.0f} given"
    return f"{name}, {60 * rate.named:,.0f} named by the provider"


def _three_digits(value: float) -> int:
    """A measured figure with no more digits than it deserves."""
    return int(float(f"{value:.3g}"))


def _finite(pace: float) -> float | None:
    return None if math.isinf(pace) else pace
