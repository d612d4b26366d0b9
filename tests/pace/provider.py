"""A provider with limits, in virtual time: what refuses a request, and when one that sees its books may send."""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from dataclasses import dataclass, field

from batchgen.pace.values import Limits
from batchgen.values import RateLimits, Throttle

Plan = list[tuple[float, float]]
"""A quantity over time: (from second, value), first from 0."""


@dataclass(frozen=True)
class Scene:
    """One job and one provider. Rates are per minute; buckets are `burst_s` seconds of their rate deep."""

    rows: int
    rpm: Plan | None = None
    tpm: Plan | None = None
    cap: Plan | None = None
    burst_s: float = 1.0
    growth: tuple[float, float] | None = None  # 5 s rate at most factor x 30 s rate + floor
    sliding: tuple[int, float] | None = None  # at most so many requests in any so many seconds
    window: tuple[int, float] | None = None  # requests per clock minute, and the second at which the first minute ends
    window_s: float = 60.0  # length of these windows
    used_up: tuple[int, ...] = ()  # windows, the first one is 0, that somebody else has used up from their start
    eats: bool = False  # a refused request uses up quota
    tells: bool | Throttle = True  # the answer says which limit refused; or it says always the same
    retry_after: str | float | None = None  # "true" or a constant
    # So many refusals within a minute shut the door for so many seconds; whether requests meanwhile prolong that.
    ban: tuple[int, float, bool] | None = None
    headers: bool = False
    named: int | None = None  # the limit that the headers name, where it is not the true one
    remaining: bool = False  # the headers also say what is left
    down: tuple[float, float] | None = None  # 5xx between these seconds
    overload: tuple[float, float] | None = None  # 503 between these seconds
    refuse_all: tuple[float, float] | None = None  # 429 for everybody
    noise: float = 0.0  # share refused by chance, whatever the pace
    noise_as: Throttle = Throttle.UNKNOWN
    noise_s: tuple[float, float] = (0.0, math.inf)  # between these seconds
    refused_from: tuple[int, int] = (1, 0)  # requests with these numbers are refused, the first one and the last
    refusal_s: tuple[float, float] = (0.06, 0.25)  # how long a refusal takes
    broken: float = 0.0  # share that fails by chance (5xx), at once
    slots: tuple[int, float] | None = None  # so many are worked on at a time, so many seconds each; others queue
    thrash: tuple[int, float] | None = None  # above so many in flight an answer takes this times as long
    attempts: int = 10**9  # a row that has failed so often is lost
    hung: float = 0.0  # share of first attempts that never answer
    latency_s: float | None = None  # median; None: log-normal, growing with the answer
    spread: float = 0.0  # sigma of the logarithm of the latency
    sizes: float = 0.6  # sigma of the logarithm of prompts' lengths; answers' is 0.2 more
    long: tuple[float, float] | None = None  # a share of rows whose prompts are so many times as long
    jobs: int = 1  # so many jobs share the provider, and know nothing of each other; each has its part of the rows
    late_s: float = 0.0  # the last of these jobs begins so many seconds after the others
    leaves: int | None = None  # the first of these jobs has so many rows only, and is done before the others
    limits: Limits = field(default_factory=lambda: Limits(concurrency=100_000))


class Row:
    """One row: lengths in tokens, how long its answer takes."""

    __slots__ = ("attempts", "failures", "hangs", "late", "latency_s", "prompt", "reply", "served", "waits")

    def __init__(self, rng, scene):
        answers = scene.sizes + 0.2
        self.prompt = int(400 * rng.lognormvariate(-0.5 * scene.sizes**2, scene.sizes)) + 1
        self.reply = int(250 * rng.lognormvariate(-0.5 * answers**2, answers)) + 1
        if scene.long and rng.random() < scene.long[0]:
            self.prompt = int(self.prompt * scene.long[1])
        if scene.latency_s is None:
            self.latency_s = (0.4 + self.reply / 60) * rng.lognormvariate(0, 0.25)
        else:
            self.latency_s = scene.latency_s * (rng.lognormvariate(0, scene.spread) if scene.spread else 1.0)
        self.hangs = rng.random() < scene.hung
        self.attempts = self.failures = self.waits = self.late = 0
        self.served = False


def _at(plan, now_s):
    return next(value for since, value in reversed(plan) if since <= now_s)


class _Bucket:
    def __init__(self, plan, burst_s, least):
        self.plan, self.burst_s, self.least = plan, burst_s, least
        self.filled_s = 0.0
        self.level = self.flat_depth = self.depth(0.0)
        self.flat = self.rate(0.0)

    def rate(self, now_s):
        return _at(self.plan, now_s) / 60

    def depth(self, now_s):
        return max(self.least, self.rate(now_s) * self.burst_s)

    def fill(self, now_s):
        if len(self.plan) == 1:
            self.level = min(self.level + (now_s - self.filled_s) * self.flat, self.flat_depth)
            self.filled_s = now_s
            return
        steps = [s for s, _ in self.plan if self.filled_s < s < now_s] + [now_s]
        for step in steps:
            self.level += (step - self.filled_s) * self.rate(self.filled_s)
            self.level = min(self.level, self.depth(step))
            self.filled_s = step


class Provider:
    """Takes or refuses requests by the scene's limits."""

    def __init__(self, scene, rng):
        self.scene = scene
        self.rng = rng
        self.seen = 0
        self.windows = Counter({number: scene.window[0] for number in scene.used_up} if scene.window else ())
        self.banned_s = -math.inf
        self.offences = deque()
        self.requests = _Bucket(scene.rpm, scene.burst_s, 1.0) if scene.rpm else None
        self.tokens = _Bucket(scene.tpm, scene.burst_s, 4000.0) if scene.tpm else None
        self.busy = 0
        self.free = scene.slots[0] if scene.slots else 0
        self.queue = deque()
        self.taken = deque()

    def refusal(self, now_s, row):
        """Return what the answer names when the request is refused, None when it is taken."""
        scene = self.scene
        self.seen += 1
        if scene.refused_from[0] <= self.seen <= scene.refused_from[1]:
            return scene.noise_as
        if scene.noise and scene.noise_s[0] <= now_s < scene.noise_s[1] and self.rng.random() < scene.noise:
            return scene.noise_as
        why = self._objection(now_s, row)
        if scene.window and (why is None or scene.eats):
            self.windows[self._window(now_s)] += 1
        if scene.ban and why is not None:
            self.offences.append(now_s)
            while self.offences[0] < now_s - 60:
                self.offences.popleft()
            if (now_s < self.banned_s and scene.ban[2]) or (
                now_s >= self.banned_s and len(self.offences) >= scene.ban[0]
            ):
                self.banned_s = now_s + scene.ban[1]
                self.offences.clear()
        if isinstance(scene.tells, Throttle):
            return why and scene.tells
        return why if scene.tells or why in (None, Throttle.OVERLOAD) else Throttle.UNKNOWN

    def _window(self, now_s):
        assert self.scene.window
        return math.floor((now_s - self.scene.window[1]) / self.scene.window_s) + 1

    def _objection(self, now_s, row):
        scene = self.scene
        if now_s < self.banned_s:
            return Throttle.REQUESTS
        if scene.refuse_all and scene.refuse_all[0] <= now_s < scene.refuse_all[1]:
            return Throttle.REQUESTS
        if scene.overload and scene.overload[0] <= now_s < scene.overload[1]:
            return Throttle.OVERLOAD
        if scene.cap and self.busy >= _at(scene.cap, now_s):
            return Throttle.CONCURRENCY
        for bucket in (self.requests, self.tokens):
            if bucket:
                bucket.fill(now_s)
        if self.requests and self.requests.level < 1 - 1e-9:
            return Throttle.REQUESTS
        if self.tokens and self.tokens.level < min(row.prompt, self.tokens.depth(now_s)):
            return Throttle.TOKENS
        if scene.window and self.windows[self._window(now_s)] >= scene.window[0]:
            return Throttle.REQUESTS
        if scene.sliding:
            most, span_s = scene.sliding
            while self.taken and self.taken[0] <= now_s - span_s:
                self.taken.popleft()
            if len(self.taken) >= most:
                return Throttle.REQUESTS
        if scene.growth:
            while self.taken and self.taken[0] < now_s - 30:
                self.taken.popleft()
            lately = sum(1 for _ in itertools.takewhile(lambda t: t > now_s - 5, reversed(self.taken)))
            if lately / 5 > scene.growth[0] * len(self.taken) / 30 + scene.growth[1]:
                return Throttle.GROWTH
        return None

    def take(self, now_s, row):
        """Admit a request."""
        self.busy += 1
        if self.scene.sliding or self.scene.growth:
            self.taken.append(now_s)
        if self.requests:
            self.requests.level -= 1
        if self.tokens:
            self.tokens.level -= row.prompt

    def takes_s(self, now_s, row):
        """Seconds until the answer to a request that was taken."""
        if self.scene.thrash and self.busy > self.scene.thrash[0]:
            return row.latency_s * self.scene.thrash[1]
        return row.latency_s

    def eat(self):
        """A refused request uses up quota where it does."""
        if self.requests and self.scene.eats:
            self.requests.level = max(self.requests.level - 1, -self.requests.depth(self.requests.filled_s))

    def retry_after_s(self, now_s):
        """The `Retry-After` of a refusal."""
        if self.scene.retry_after == "true" and self.requests:
            return max(1.0, math.ceil((1 - self.requests.level) / self.requests.rate(now_s)))
        return self.scene.retry_after if isinstance(self.scene.retry_after, float) else None

    def finish(self, now_s, row):
        """An answer leaves; its tokens are charged only now."""
        self.busy -= 1
        if self.tokens:
            self.tokens.fill(now_s)
            self.tokens.level -= row.reply

    def named(self, now_s):
        """What an answer's headers say."""
        if not (self.scene.headers and self.requests):
            return None
        limit = self.scene.named or int(_at(self.requests.plan, now_s))
        if not self.scene.remaining:
            return RateLimits(limit_requests=limit)
        self.requests.fill(now_s)
        return RateLimits(limit_requests=limit, remaining_requests=max(0, int(self.requests.level)))

    def ideal_wait(self, now_s, row):
        """Seconds until a sender that sees everything should look again; 0: it should send."""
        for closed in (self.scene.down, self.scene.overload, self.scene.refuse_all):
            if closed and closed[0] <= now_s < closed[1]:
                return closed[1] - now_s
        why = self._objection(now_s, row)
        if self.scene.thrash and self.busy >= self.scene.thrash[0]:
            return math.inf
        if why is None:
            return 0.0
        if why is Throttle.CONCURRENCY and len(self.scene.cap or ()) == 1:
            return math.inf
        if self.scene.window:
            first_s, each_s = self.scene.window[1], self.scene.window_s
            return first_s + self._window(now_s) * each_s - now_s + 1e-6
        if self.scene.sliding:
            return self.taken[0] + self.scene.sliding[1] - now_s + 1e-6
        if why is Throttle.REQUESTS and self.requests:
            return min(0.1, max(1e-6, (1 - self.requests.level) / self.requests.rate(now_s)))
        if why is Throttle.TOKENS and self.tokens:
            short = min(row.prompt, self.tokens.depth(now_s)) - self.tokens.level
            return max(1e-3, short / self.tokens.rate(now_s)) if len(self.tokens.plan) == 1 else 0.02
        return 0.02
