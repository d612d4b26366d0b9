"""What others do at the same place: public policies as pacers in the bed, each with the back-off of its own client.

A row that waits for its next try keeps its place in flight with all of these: `gate_retry` asks for a retry only.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class _Sent(NamedTuple):
    sent_s: float
    retry: bool
    in_flight: int


class Semaphore:
    """At most so many rows at once, and the OpenAI SDK's back-off: 0.5 s doubling to 8 s, less up to a quarter."""

    deadline_s = 600.0  # the SDK's default
    is_down = False

    def __init__(self, scene, rng, level=64):
        self.level = min(level, scene.limits.concurrency)
        self.rng = rng
        self.held = self.in_flight = 0

    def gate(self, now_s):
        return 0.0 if self.held < self.level else math.inf

    def gate_retry(self, now_s):
        return 0.0

    def sent(self, now_s, tokens, *, retry):
        self.in_flight += 1
        self.held += not retry
        return _Sent(now_s, retry, self.in_flight)

    def succeeded(self, now_s, ticket, usage, named):
        self.in_flight -= 1
        self.held -= 1

    def refused(self, now_s, ticket, kind, retry_after_s, attempts=1):
        self.in_flight -= 1
        if retry_after_s is not None and 0 < retry_after_s <= 120:
            return retry_after_s
        return self.backoff_s(attempts)

    def broken(self, now_s, ticket, *, late):
        self.in_flight -= 1

    def backoff_s(self, attempts):
        return min(8.0, 0.5 * 2.0 ** min(attempts - 1, 20)) * (1 - 0.25 * self.rng.random())


class AwsAdaptive(Semaphore):
    """botocore's retry mode `adaptive`: CUBIC on the sending rate, a token bucket, and 20 s of full jitter at most."""

    def __init__(self, scene, rng, level=256):
        super().__init__(scene, rng, level)
        self.on = False
        self.top = self.back_s = self.failed_s = 0.0
        self.fill, self.depth, self.tokens, self.filled_s = 0.5, 1.0, 0.0, 0.0
        self.measured, self.count, self.bucket_s = 0.0, 0, 0.0

    def gate(self, now_s):
        return math.inf if self.held >= self.level else self.gate_retry(now_s)

    def gate_retry(self, now_s):
        if not self.on:
            return 0.0
        self.refill(now_s)
        return 0.0 if self.tokens >= 1 else (1 - self.tokens) / self.fill + 1e-6

    def refill(self, now_s):
        self.tokens = min(self.depth, self.tokens + (now_s - self.filled_s) * self.fill)
        self.filled_s = now_s

    def sent(self, now_s, tokens, *, retry):
        if self.on:
            self.refill(now_s)
            self.tokens -= 1
        return super().sent(now_s, tokens, retry=retry)

    def succeeded(self, now_s, ticket, usage, named):
        super().succeeded(now_s, ticket, usage, named)
        self.answered(now_s, throttled=False)

    def refused(self, now_s, ticket, kind, retry_after_s, attempts=1):
        self.in_flight -= 1
        self.answered(now_s, throttled=True)
        return self.backoff_s(attempts)

    def backoff_s(self, attempts):
        return min(20.0, self.rng.random() * 2.0 ** min(attempts - 1, 20))

    def answered(self, now_s, *, throttled):
        half = math.floor(now_s * 2) / 2
        self.count += 1
        if half > self.bucket_s:
            self.measured = 0.8 * self.count / (half - self.bucket_s) + 0.2 * self.measured
            self.count, self.bucket_s = 0, half
        if throttled:
            rate = min(self.measured, self.fill) if self.on else self.measured
            self.top, self.failed_s = rate, now_s
            self.back_s = (self.top * 0.3 / 0.4) ** (1 / 3)
            rate, self.on = 0.7 * rate, True
        else:
            rate = 0.4 * (now_s - self.failed_s - self.back_s) ** 3 + self.top
        rate = min(rate, 2 * self.measured)
        self.refill(now_s)
        self.fill, self.depth = max(rate, 0.5), max(rate, 1.0)
        self.tokens = min(self.tokens, self.depth)


class InspectAi(Semaphore):
    """inspect_ai: level doubled at first, then 5 % more a clean round; a fifth less per 15 s with refusals."""

    def __init__(self, scene, rng, least=10, first=20, most=100):
        super().__init__(scene, rng, first)
        self.least, self.most = least, min(most, scene.limits.concurrency)
        self.level = min(self.level, self.most)
        self.clean = self.peak = 0
        self.met, self.rests_until_s = False, 0.0

    def sent(self, now_s, tokens, *, retry):
        ticket = super().sent(now_s, tokens, retry=retry)
        self.peak = max(self.peak, self.held)
        return ticket

    def succeeded(self, now_s, ticket, usage, named):
        super().succeeded(now_s, ticket, usage, named)
        if ticket.retry or now_s < self.rests_until_s:
            return
        self.clean += 1
        if self.clean < max(self.level, 4):
            return
        peak, self.peak, self.clean = self.peak, 0, 0
        if peak < 0.8 * self.level:
            return
        more = self.level + max(1, round(0.05 * self.level)) if self.met else 2 * self.level
        self.level = min(more if self.met is False or more < 10 else (more + 4) // 5 * 5, self.most)

    def refused(self, now_s, ticket, kind, retry_after_s, attempts=1):
        self.in_flight -= 1
        self.clean = self.peak = 0
        self.met = True
        if now_s >= self.rests_until_s:
            less = int(0.8 * self.level)
            self.level = max(less if less < 10 else less // 5 * 5, min(self.least, self.most), 1)
            self.rests_until_s = now_s + 15
        return self.backoff_s(attempts)

    def backoff_s(self, attempts):
        return min(1800.0, 3.0 * 2.0 ** min(attempts - 1, 20) + self.rng.uniform(0, 3))


class Gradient2(Semaphore):
    """Netflix's concurrency-limits, `Gradient2Limit` as it comes: the level follows long-term over recent latency."""

    def __init__(self, scene, rng, first=20, least=20, most=200):
        super().__init__(scene, rng, first)
        self.most = min(most, scene.limits.concurrency)
        self.least = min(least, self.most)
        self.estimate = float(min(first, self.most))
        self.long_s, self.seen = 0.0, 0

    def succeeded(self, now_s, ticket, usage, named):
        super().succeeded(now_s, ticket, usage, named)
        self.sample(now_s - ticket.sent_s, ticket.in_flight)

    def refused(self, now_s, ticket, kind, retry_after_s, attempts=1):
        self.sample(now_s - ticket.sent_s, ticket.in_flight)
        return super().refused(now_s, ticket, kind, retry_after_s, attempts)

    def sample(self, took_s, in_flight):
        self.seen += 1
        if self.seen <= 10:
            self.long_s += (took_s - self.long_s) / self.seen
        else:
            self.long_s += (took_s - self.long_s) * 2 / 601
        if self.long_s / max(took_s, 1e-9) > 2:
            self.long_s *= 0.95
        if in_flight < self.estimate / 2:
            return
        gradient = max(0.5, min(1.0, 1.5 * self.long_s / max(took_s, 1e-9)))
        aimed = self.estimate * gradient + 4
        self.estimate = max(self.least, min(self.most, 0.8 * self.estimate + 0.2 * aimed))
        self.level = int(self.estimate)


OTHERS = {"AWS adaptive": AwsAdaptive, "inspect_ai": InspectAi, "semaphore(64)": Semaphore, "Gradient2": Gradient2}
"""By the names in the table."""
