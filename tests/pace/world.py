"""A provider with limits and a job that meets them, in virtual time: what a pacer is judged by.

`run` plays one job against one provider and returns what a user would see. `ideal=True` plays it with a sender that
looks into the provider's books and sends at the first instant that will be taken: the yardstick of `share`.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field

from batchgen.pace.pacer import Pacer
from batchgen.values import Usage
from tests.pace.provider import Provider, Row


@dataclass
class Seen:
    """What came of it; `t99_s`: 99 % of the rows were done."""

    end_s: float = 0.0
    t99_s: float = math.inf
    sent: int = 0
    refused: int = 0
    failed: int = 0
    done: int = 0
    lost: int = 0
    late: int = 0
    worst_attempts: int = 0
    most_in_flight: int = 0
    refused_at: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    done_at: list[float] = field(default_factory=list)
    pacer: Pacer | None = None

    @property
    def refused_share(self):
        """Refusals among all attempts."""
        return self.refused / self.sent


def run(scene, seed=1, *, ideal=False):
    """Play the scene to its end."""
    rng = random.Random(seed)
    rows = deque(Row(rng, scene) for _ in range(scene.rows))
    retries = deque()
    provider, pacer, seen = (
        Provider(scene, random.Random(seed + 2)),
        Pacer(scene.limits, random.Random(seed + 1)),
        Seen(),
    )
    seen.pacer = pacer
    events = []
    order = itertools.count()
    now_s, wake_s, in_flight = 0.0, math.inf, 0

    def later(delay_s, what, *args):
        heapq.heappush(events, (now_s + delay_s, next(order), what, args))

    def send(row, *, retry):
        nonlocal in_flight
        row.attempts += 1
        row.waits = row.attempts
        in_flight += 1
        seen.sent += 1
        seen.most_in_flight = max(seen.most_in_flight, in_flight)
        seen.worst_attempts = max(seen.worst_attempts, row.attempts)
        seen.sent_at.append(now_s)
        ticket = None if ideal else pacer.sent(now_s, row.prompt, retry=retry)
        if scene.down and scene.down[0] <= now_s < scene.down[1]:
            later(rng.uniform(0.1, 1.0), "broken", row, ticket)
            return
        if scene.broken and provider.rng.random() < scene.broken:
            later(scene.refusal_s[0], "broken", row, ticket)
            return
        kind = provider.refusal(now_s, row)
        if kind is not None:
            provider.eat()
            later(rng.uniform(*scene.refusal_s), "refused", row, ticket, kind, provider.retry_after_s(now_s))
            return
        provider.take(now_s, row)
        if row.hangs and row.attempts == 1 and not ideal:
            later(pacer.deadline_s, "hung", row, ticket)
            return
        # A row that was too late is given twice as long, up to the job's own limit.
        longest_s = scene.limits.timeout_s
        deadline_s = math.inf if ideal else min(longest_s, pacer.deadline_s * 2 ** min(row.late, 20))
        if scene.slots:
            provider.queue.append((row, (row, ticket, row.attempts)))
            later(deadline_s, "patience", row, ticket, row.attempts)
            serve()
            return
        takes_s = provider.takes_s(now_s, row)
        if takes_s > deadline_s:
            later(deadline_s, "late", row, ticket)
        else:
            later(takes_s, "answer", row, ticket)

    def serve():
        """A slot takes up the next request whose sender still waits."""
        while provider.free and provider.queue:
            row, served = provider.queue.popleft()
            if row.waits == served[2]:
                provider.free -= 1
                row.served = True
                later(scene.slots[1], "served", *served)

    def arrive(what, row, ticket, *rest):
        nonlocal in_flight
        if what in ("served", "patience"):  # whoever comes second finds that the other came first
            if row.waits != rest[0]:
                return
            row.waits = 0
            provider.free += row.served  # a server lets go of a request whose sender has left
            row.served = False
            serve()
            what = "answer" if what == "served" else "late"
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
            wait_s = pacer.refused(now_s, ticket, *rest) if ticket else 0.0
        else:
            seen.failed += 1
            seen.late += what == "late"
            row.late += what == "late"
            if what in ("hung", "late"):
                provider.finish(now_s, row)
            if ticket:
                pacer.broken(now_s, ticket, late=what in ("hung", "late"))
            row.failures += not pacer.is_down
            if row.failures >= scene.attempts:
                seen.lost += 1
                return
            wait_s = 0.0 if pacer.is_down else rng.uniform(0.0, min(30.0, 2.0 ** (row.attempts - 1)))
        if wait_s:
            later(wait_s, "due", row)
        else:
            retries.append(row)

    while seen.done + seen.lost < scene.rows and now_s < 200_000:
        while queue := retries or rows:
            if not ideal:
                wait_s = pacer.gate(now_s)
            elif in_flight >= scene.limits.concurrency:
                wait_s = math.inf
            else:
                wait_s = provider.ideal_wait(now_s, queue[0])
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


def mean(scene, seeds=5):
    """Mean over seeds of: the ideal's time for 99 % of the rows over the pacer's; refusals among all attempts."""
    played = [(run(scene, seed, ideal=True), run(scene, seed)) for seed in range(1, seeds + 1)]
    share = sum(best.t99_s / ours.t99_s for best, ours in played) / seeds
    return share, sum(ours.refused_share for _, ours in played) / seeds
