"""A provider with limits and a job that meets them, in virtual time: what a pacer is judged by.

`run` plays one job against one provider and returns what a user would see. `ideal=True` plays it with a sender that
looks into the provider's books and sends at the first instant that will be taken: the yardstick of `share`.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field

from batchgen.pace.pacer import Pacer
from batchgen.pace.values import Limits, Ticket
from batchgen.values import RateLimits, Throttle, Usage

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
    eats: bool = False  # a refused request uses up quota
    tells: bool = True  # the answer says which limit refused
    retry_after: str | float | None = None  # "true" or a constant
    headers: bool = False
    down: tuple[float, float] | None = None  # 5xx between these seconds
    overload: tuple[float, float] | None = None  # 503 between these seconds
    refuse_all: tuple[float, float] | None = None  # 429 for everybody
    noise: float = 0.0  # share refused by chance, whatever the pace
    first_refused: int = 0  # so many requests are refused before any is taken
    window: tuple[int, float] | None = None  # requests per clock minute, and the second at which the first minute ends
    used_up: bool = False  # the first minute's window was empty from the start
    refusal_s: tuple[float, float] = (0.06, 0.25)  # how long a refusal takes
    hung: float = 0.0  # share of first attempts that never answer
    latency_s: float | None = None  # constant; else log-normal, growing with the answer
    limits: Limits = field(default_factory=lambda: Limits(concurrency=100_000))


@dataclass
class Seen:
    """What came of it; `t99_s`: 99 % of the rows were done."""

    end_s: float = 0.0
    t99_s: float = math.inf
    sent: int = 0
    refused: int = 0
    failed: int = 0
    done: int = 0
    worst_attempts: int = 0
    most_in_flight: int = 0
    refused_at: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    done_at: list[float] = field(default_factory=list)
    pacer: Pacer | None = None

    @property
    def refused_share(self) -> float:
        """Refusals among all attempts."""
        return self.refused / self.sent


class _Row:
    __slots__ = ("attempts", "hangs", "latency_s", "prompt", "reply")

    def __init__(self, rng: random.Random, scene: Scene) -> None:
        self.prompt = int(400 * rng.lognormvariate(-0.18, 0.6)) + 1
        self.reply = int(250 * rng.lognormvariate(-0.32, 0.8)) + 1
        self.latency_s = scene.latency_s or (0.4 + self.reply / 60) * rng.lognormvariate(0, 0.25)
        self.hangs = rng.random() < scene.hung
        self.attempts = 0


def _at(plan: Plan, now_s: float) -> float:
    return next(value for since, value in reversed(plan) if since <= now_s)


class _Bucket:
    def __init__(self, plan: Plan, burst_s: float, least: float) -> None:
        self.plan, self.burst_s, self.least = plan, burst_s, least
        self.filled_s = 0.0
        self.level = self.flat_depth = self.depth(0.0)
        self.flat = self.rate(0.0)

    def rate(self, now_s: float) -> float:
        return _at(self.plan, now_s) / 60

    def depth(self, now_s: float) -> float:
        return max(self.least, self.rate(now_s) * self.burst_s)

    def fill(self, now_s: float) -> None:
        if len(self.plan) == 1:
            self.level = min(self.level + (now_s - self.filled_s) * self.flat, self.flat_depth)
            self.filled_s = now_s
            return
        steps = [s for s, _ in self.plan if self.filled_s < s < now_s] + [now_s]
        for step in steps:
            self.level += (step - self.filled_s) * self.rate(self.filled_s)
            self.level = min(self.level, self.depth(step))
            self.filled_s = step


class _Provider:
    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene = scene
        self.rng = rng
        self.seen = 0
        self.minutes: Counter[int] = Counter()
        if scene.window and scene.used_up:
            self.minutes[0] = scene.window[0]
        self.requests = _Bucket(scene.rpm, scene.burst_s, 1.0) if scene.rpm else None
        self.tokens = _Bucket(scene.tpm, scene.burst_s, 4000.0) if scene.tpm else None
        self.busy = 0
        self.taken: deque[float] = deque()

    def is_shut(self, now_s: float) -> bool:
        """Whether a request is refused for no reason of load: by chance, by script, or until the minute is over."""
        scene = self.scene
        self.seen += 1
        if self.seen <= scene.first_refused or self.rng.random() < scene.noise:
            return True
        if scene.window is None:
            return False
        most, ends_s = scene.window
        minute = math.floor((now_s - ends_s) / 60) + 1
        self.minutes[minute] += 1
        return self.minutes[minute] > most

    def objection(self, now_s: float, row: _Row) -> Throttle | None:
        scene = self.scene
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
        if scene.growth:
            while self.taken and self.taken[0] < now_s - 30:
                self.taken.popleft()
            lately = sum(1 for _ in itertools.takewhile(lambda t: t > now_s - 5, reversed(self.taken)))
            if lately / 5 > scene.growth[0] * len(self.taken) / 30 + scene.growth[1]:
                return Throttle.GROWTH
        return None

    def take(self, now_s: float, row: _Row) -> None:
        self.busy += 1
        self.taken.append(now_s)
        if self.requests:
            self.requests.level -= 1
        if self.tokens:
            self.tokens.level -= row.prompt

    def eat(self) -> None:
        if self.requests and self.scene.eats:
            self.requests.level = max(self.requests.level - 1, -self.requests.depth(self.requests.filled_s))

    def wish_s(self, now_s: float) -> float | None:
        if self.scene.retry_after == "true" and self.requests:
            return max(1.0, math.ceil((1 - self.requests.level) / self.requests.rate(now_s)))
        return self.scene.retry_after if isinstance(self.scene.retry_after, float) else None

    def finish(self, now_s: float, row: _Row) -> None:
        self.busy -= 1
        if self.tokens:
            self.tokens.fill(now_s)
            self.tokens.level -= row.reply

    def named(self, now_s: float) -> RateLimits | None:
        if not (self.scene.headers and self.requests):
            return None
        return RateLimits(limit_requests=int(_at(self.requests.plan, now_s)))

    def ideal_wait(self, now_s: float, row: _Row) -> float:
        for closed in (self.scene.down, self.scene.overload, self.scene.refuse_all):
            if closed and closed[0] <= now_s < closed[1]:
                return closed[1] - now_s
        why = self.objection(now_s, row)
        if why is None:
            return 0.0
        if why is Throttle.CONCURRENCY and len(self.scene.cap or ()) == 1:
            return math.inf
        if why is Throttle.REQUESTS and self.requests:
            return min(0.1, max(1e-6, (1 - self.requests.level) / self.requests.rate(now_s)))
        if why is Throttle.TOKENS and self.tokens:
            short = min(row.prompt, self.tokens.depth(now_s)) - self.tokens.level
            return max(1e-3, short / self.tokens.rate(now_s)) if len(self.tokens.plan) == 1 else 0.02
        return 0.02


def run(scene: Scene, seed: int = 1, *, ideal: bool = False) -> Seen:
    """Play the scene to its end."""
    rng = random.Random(seed)
    rows = deque(_Row(rng, scene) for _ in range(scene.rows))
    retries: deque[_Row] = deque()
    provider, pacer, seen = (
        _Provider(scene, random.Random(seed + 2)),
        Pacer(scene.limits, random.Random(seed + 1)),
        Seen(),
    )
    seen.pacer = pacer
    events: list[tuple[float, int, str, tuple]] = []
    order = itertools.count()
    now_s, wake_s, in_flight = 0.0, math.inf, 0

    def later(delay_s: float, what: str, *args: object) -> None:
        heapq.heappush(events, (now_s + delay_s, next(order), what, args))

    def send(row: _Row, *, retry: bool) -> None:
        nonlocal in_flight
        row.attempts += 1
        in_flight += 1
        seen.sent += 1
        seen.most_in_flight = max(seen.most_in_flight, in_flight)
        seen.worst_attempts = max(seen.worst_attempts, row.attempts)
        seen.sent_at.append(now_s)
        ticket = None if ideal else pacer.sent(now_s, row.prompt, retry=retry)
        if scene.down and scene.down[0] <= now_s < scene.down[1]:
            later(rng.uniform(0.1, 1.0), "broken", row, ticket)
            return
        why = Throttle.REQUESTS if provider.is_shut(now_s) else provider.objection(now_s, row)
        if why is not None:
            provider.eat()
            kind = why if scene.tells or why is Throttle.OVERLOAD else Throttle.UNKNOWN
            later(rng.uniform(*scene.refusal_s), "refused", row, ticket, kind, provider.wish_s(now_s))
            return
        provider.take(now_s, row)
        if row.hangs and row.attempts == 1 and not ideal:
            later(pacer.deadline_s, "hung", row, ticket)
        else:
            later(row.latency_s, "answer", row, ticket)

    def arrive(what: str, row: _Row, ticket: Ticket | None, *rest: object) -> None:
        nonlocal in_flight
        in_flight -= 1
        wait_s = 0.0
        if what == "answer":
            provider.finish(now_s, row)
            seen.done += 1
            seen.done_at.append(now_s)
            if seen.done == scene.rows - scene.rows // 100:
                seen.t99_s = now_s
            if ticket:
                usage = Usage(row.prompt, row.reply, row.prompt + row.reply)
                pacer.succeeded(now_s, ticket, usage, provider.named(now_s))
            return
        if what == "refused":
            seen.refused += 1
            seen.refused_at.append(now_s)
            assert ticket
            wait_s = pacer.refused(now_s, ticket, *rest)
        else:
            seen.failed += 1
            if what == "hung":
                provider.finish(now_s, row)
            assert ticket
            pacer.broken(now_s, ticket)
            wait_s = 0.0 if pacer.is_down else rng.uniform(0.0, min(30.0, 2.0 ** (row.attempts - 1)))
        if wait_s:
            later(wait_s, "due", row)
        else:
            retries.append(row)

    while seen.done < scene.rows and now_s < 20_000:
        while queue := retries or rows:
            wait_s = provider.ideal_wait(now_s, queue[0]) if ideal else pacer.gate(now_s)
            if wait_s > 0:
                if now_s + wait_s < wake_s - 1e-9:
                    wake_s = now_s + wait_s
                    later(wait_s, "wake")
                break
            retry = bool(retries)
            send(queue.popleft(), retry=retry)
        assert events, "the pacer waits for ever with nothing in flight"
        now_s, _, what, args = heapq.heappop(events)
        if what == "wake":
            if now_s >= wake_s - 1e-12:
                wake_s = math.inf
        elif what == "due":
            retries.append(*args)
        else:
            arrive(what, *args)
    seen.end_s = now_s
    return seen


def mean(scene: Scene, seeds: int = 5) -> tuple[float, float]:
    """Mean over seeds of: the ideal's time for 99 % of the rows over the pacer's; refusals among all attempts."""
    played = [(run(scene, seed, ideal=True), run(scene, seed)) for seed in range(1, seeds + 1)]
    share = sum(best.t99_s / ours.t99_s for best, ours in played) / seeds
    return share, sum(ours.refused_share for _, ours in played) / seeds
