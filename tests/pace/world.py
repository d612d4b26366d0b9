"""A provider with limits and a job that meets them, in virtual time: what a pacer is judged by.

`run` plays one job against one provider and returns what a user would see; several jobs, if the scene says so, which
share the provider and know nothing of each other. `policy` makes what paces each of them, ours if left out. `IDEAL` is
one sender that looks into the provider's books and sends at the first instant that will be taken: the yardstick of
`share`.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from batchgen.pace.pacer import Pacer
from batchgen.values import Usage
from tests.pace.provider import Provider, Row

LONGEST_S = 200_000.0
"""No scene is played for longer."""


@dataclass
class Seen:
    """What came of it; `t99_s`: 99 % of the rows were done."""

    rows: int = 0
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
    pacer: Any = None
    began_s: float = 0.0
    jobs: list[Seen] = field(default_factory=list)  # of the single jobs, where there are several

    @property
    def refused_share(self):
        """Refusals among all attempts."""
        return self.refused / self.sent if self.sent else 0.0


class Ideal:
    """Sees the provider's books. Takes the place of a pacer."""

    deadline_s = math.inf
    is_down = False

    def __init__(self, world):
        self.world = world
        self.in_flight = 0

    def gate(self, now_s, row):
        """Look whether the row would be taken now."""
        if self.in_flight >= self.world.scene.limits.concurrency:
            return math.inf
        return self.world.provider.ideal_wait(now_s, row)

    def sent(self, now_s, tokens, *, retry):
        """Count what is in flight."""
        self.in_flight += 1

    def succeeded(self, now_s, ticket, usage, named):
        """Count what is in flight."""
        self.in_flight -= 1

    def refused(self, now_s, ticket, kind, retry_after_s):
        """Try again at once."""
        self.in_flight -= 1
        return 0.0

    def broken(self, now_s, ticket, *, late):
        """Count what is in flight."""
        self.in_flight -= 1


def ours(scene, rng):
    """Return batchgen's pacer."""
    return Pacer(scene.limits, rng)


class _Job:
    """One sender with its part of the rows."""

    def __init__(self, world, rows, pacer):
        self.world, self.pacer = world, pacer
        self.rows, self.retries = deque(rows), deque()
        self.seen = Seen(rows=len(rows), pacer=pacer)
        self.nearly = len(rows) - len(rows) // 100
        self.wake_s = math.inf
        self.looks = isinstance(pacer, Ideal)
        self.gate = pacer.gate
        self.gate_retry = getattr(pacer, "gate_retry", None)  # of senders whose retries keep their places
        self.keeps_deadline = not self.looks

    def pump(self):
        """Send what may go now."""
        world = self.world
        now_s = world.now_s
        while queue := self.retries or self.rows:
            if self.looks:
                wait_s = self.gate(now_s, queue[0])
            elif self.gate_retry is None:
                wait_s = self.gate(now_s)
            else:
                wait_s = self.gate_retry(now_s) if queue is self.retries else self.gate(now_s)
            if wait_s > 0:
                if now_s + wait_s < self.wake_s - 1e-9:
                    self.wake_s = now_s + wait_s
                    world.later(wait_s, self.wake)
                return
            self.send(queue.popleft(), retry=queue is self.retries)

    def wake(self):
        """Look again."""
        if self.world.now_s >= self.wake_s - 1e-12:
            self.wake_s = math.inf
        self.pump()

    def send(self, row, *, retry):
        """Send a row's request."""
        world, seen, pacer = self.world, self.seen, self.pacer
        scene, provider, rng, now_s = world.scene, world.provider, world.rng, world.now_s
        row.attempts += 1
        row.waits = row.attempts
        seen.sent += 1
        seen.sent_at.append(now_s)
        ticket = pacer.sent(now_s, row.prompt, retry=retry)
        if pacer.in_flight > seen.most_in_flight:
            seen.most_in_flight = pacer.in_flight
        if row.attempts > seen.worst_attempts:
            seen.worst_attempts = row.attempts
        if scene.down and scene.down[0] <= now_s < scene.down[1]:
            world.later(rng.uniform(0.1, 1.0), self.broken, row, ticket)
            return
        if scene.broken and provider.rng.random() < scene.broken:
            world.later(scene.refusal_s[0], self.broken, row, ticket)
            return
        kind = provider.refusal(now_s, row)
        if kind is not None:
            provider.eat()
            world.later(rng.uniform(*scene.refusal_s), self.refused, row, ticket, kind, provider.retry_after_s(now_s))
            return
        provider.take(now_s, row)
        if row.hangs and row.attempts == 1 and self.keeps_deadline:
            world.later(pacer.deadline_s, self.late, row, ticket)
            return
        # A row that was too late is given twice as long, up to the job's own limit.
        deadline_s = min(scene.limits.timeout_s, pacer.deadline_s * 2 ** min(row.late, 20))
        if not self.keeps_deadline:
            deadline_s = math.inf
        if scene.slots:
            provider.queue.append((self, row, ticket, row.attempts))
            world.later(deadline_s, self.gave_up, row, ticket, row.attempts)
            world.serve()
            return
        takes_s = provider.takes_s(now_s, row)
        if takes_s > deadline_s:
            world.later(deadline_s, self.late, row, ticket)
        else:
            world.later(takes_s, self.answered, row, ticket)

    def served(self, row, ticket, attempt):
        """A slot has worked on the request to its end."""
        if row.waits == attempt:
            self.leave(row)
            self.answered(row, ticket)

    def gave_up(self, row, ticket, attempt):
        """The sender has left the server's queue or slot, unless the answer came first."""
        if row.waits == attempt:
            self.leave(row)
            self.late(row, ticket)

    def leave(self, row):
        """Free the row's slot: a server lets go of a request whose sender has left."""
        row.waits = 0
        self.world.provider.free += row.served
        row.served = False
        self.world.serve()

    def answered(self, row, ticket):
        """An answer came."""
        world, seen, now_s = self.world, self.seen, self.world.now_s
        world.provider.finish(now_s, row)
        seen.done += 1
        seen.done_at.append(now_s)
        if seen.done == self.nearly:
            seen.t99_s = now_s
        usage = Usage(row.prompt, row.reply, row.prompt + row.reply)
        self.pacer.succeeded(now_s, ticket, usage, world.provider.named(now_s))
        self.pump()

    def refused(self, row, ticket, kind, retry_after_s):
        """The request was rate-limited."""
        seen, now_s = self.seen, self.world.now_s
        seen.refused += 1
        seen.refused_at.append(now_s)
        if self.gate_retry is None:
            wait_s = self.pacer.refused(now_s, ticket, kind, retry_after_s)
        else:
            wait_s = self.pacer.refused(now_s, ticket, kind, retry_after_s, row.attempts)
        self.again(row, wait_s)

    def late(self, row, ticket):
        """The request had no answer in time."""
        self.seen.late += 1
        row.late += 1
        self.world.provider.finish(self.world.now_s, row)
        self.broken(row, ticket, late=True)

    def broken(self, row, ticket, *, late=False):
        """The service failed."""
        pacer, seen = self.pacer, self.seen
        seen.failed += 1
        pacer.broken(self.world.now_s, ticket, late=late)
        row.failures += not pacer.is_down
        if row.failures >= self.world.scene.attempts:
            seen.lost += 1
            if self.gate_retry is not None:
                pacer.held -= 1
            self.pump()
            return
        longest_s = min(30.0, 2.0 ** (row.attempts - 1))
        self.again(row, 0.0 if pacer.is_down else self.world.rng.uniform(0.0, longest_s))

    def again(self, row, wait_s):
        """Put the row back into the queue."""
        if wait_s:
            self.world.later(wait_s, self.due, row)
        else:
            self.retries.append(row)
        self.pump()

    def due(self, row):
        """The row has waited."""
        self.retries.append(row)
        self.pump()


class _World:
    """The clock, the provider, and the jobs."""

    def __init__(self, scene, seed, policy):
        self.scene, self.now_s = scene, 0.0
        self.rng = random.Random(seed)
        rows = [Row(self.rng, scene) for _ in range(scene.rows)]
        self.provider = Provider(scene, random.Random(seed + 2))
        self.events = []
        self.order = itertools.count()
        if policy is None:
            self.jobs = [_Job(self, rows, Ideal(self))]
        else:
            parts = [rows[number :: scene.jobs] for number in range(scene.jobs)]
            if scene.leaves is not None:
                others = scene.jobs - 1
                parts = [rows[: scene.leaves], *(rows[scene.leaves + number :: others] for number in range(others))]
            self.jobs = [
                _Job(self, part, policy(scene, random.Random(seed + 1 + 1000 * number)))
                for number, part in enumerate(parts)
            ]

    def later(self, delay_s, what, *args):
        """Have something happen."""
        heapq.heappush(self.events, (self.now_s + delay_s, next(self.order), what, args))

    def serve(self):
        """A slot takes up the next request whose sender still waits."""
        provider = self.provider
        while provider.free and provider.queue:
            job, row, ticket, attempt = provider.queue.popleft()
            if row.waits == attempt:
                provider.free -= 1
                row.served = True
                self.later(self.scene.slots[1], job.served, row, ticket, attempt)

    def play(self, longest_s=LONGEST_S):
        """Play to the end, or for so long."""
        for number, job in enumerate(self.jobs):
            is_last = 1 < len(self.jobs) == number + 1
            job.seen.began_s = 0.37 * number + (self.scene.late_s if is_last else 0.0)
            self.later(job.seen.began_s, job.pump)
        left = {job for job in self.jobs if job.rows}
        events, pop = self.events, heapq.heappop
        while left and self.now_s < longest_s:
            assert events, "the pacer waits for ever with nothing in flight"
            self.now_s, _, what, args = pop(events)
            what(*args)
            job = what.__self__
            seen = job.seen
            if seen.done + seen.lost == seen.rows and job in left:
                seen.end_s = self.now_s
                left.discard(job)
        for job in left:
            job.seen.end_s = self.now_s
        return self.jobs


def run(scene, seed=1, *, policy=ours, ideal=False, longest_s=LONGEST_S):
    """Play the scene to its end, or for so long."""
    seen = [job.seen for job in _World(scene, seed, None if ideal else policy).play(longest_s)]
    if len(seen) == 1:
        return seen[0]
    whole = Seen(
        rows=scene.rows,
        end_s=max(one.end_s for one in seen),
        jobs=seen,
        refused_at=sorted(itertools.chain.from_iterable(one.refused_at for one in seen)),
        sent_at=sorted(itertools.chain.from_iterable(one.sent_at for one in seen)),
        done_at=sorted(itertools.chain.from_iterable(one.done_at for one in seen)),
        worst_attempts=max(one.worst_attempts for one in seen),
    )
    for name in ("sent", "refused", "failed", "done", "lost", "late"):
        setattr(whole, name, sum(getattr(one, name) for one in seen))
    nearly = scene.rows - scene.rows // 100
    if whole.done >= nearly:
        whole.t99_s = whole.done_at[nearly - 1]
    return whole


def mean(scene, seeds=5):
    """Mean over seeds of: the ideal's time for 99 % of the rows over the pacer's; refusals among all attempts."""
    played = [(run(scene, seed, ideal=True), run(scene, seed)) for seed in range(1, seeds + 1)]
    share = sum(best.t99_s / ours.t99_s for best, ours in played) / seeds
    return share, sum(ours.refused_share for _, ours in played) / seeds
