"""Several endpoints behind one gate, in virtual time."""

import heapq
import itertools
import math
import random

import pytest

from batchgen.pace.pacer import Pacer
from batchgen.pace.pacer_pool import PacerPool, PooledEndpoint
from batchgen.pace.values import Limits
from batchgen.values import Throttle

LIMITS = Limits(concurrency=10_000)


class Host:
    """Admits `per_minute` requests in buckets of one second; fails everything in `down`, a span of seconds."""

    def __init__(self, per_minute, down=(math.inf, math.inf)):
        self.per_s, self.down = per_minute / 60, down
        self.level, self.seen_s = self.per_s, 0.0

    def ask(self, now_s):
        """Return how a request fares that comes now, and in how many seconds that is known."""
        if self.down[0] <= now_s < self.down[1]:
            return "broken", 0.05
        self.level = min(self.per_s, self.level + (now_s - self.seen_s) * self.per_s)
        self.seen_s = now_s
        if self.level < 1:
            return "refused", 0.1
        self.level -= 1
        return "done", 0.4


def pool_of(hosts, seed=1, **fields):
    """Return a pool with a pacer for each host; `fields` are lists of what the endpoints have."""
    rng = random.Random(seed)
    return PacerPool(
        [
            PooledEndpoint(f"host {n}", Pacer(LIMITS, rng), **{name: values[n] for name, values in fields.items()})
            for n in range(len(hosts))
        ],
        LIMITS,
    )


def play(pool, hosts, rows, until_s=math.inf):
    """Ask rows until all are done; return (requests, when each was answered, by which host)."""
    events, order, done, left, sent, now_s = [], itertools.count(), [], rows, 0, 0.0
    while len(done) < rows and now_s < until_s:
        wait_s = pool.gate(now_s) if left else math.inf
        if wait_s <= 0:
            ticket = pool.sent(now_s, 100.0)
            how, after_s = hosts[ticket.endpoint].ask(now_s)
            heapq.heappush(events, (now_s + after_s, next(order), how, ticket))
            left, sent = left - 1, sent + 1
            continue
        next_s = events[0][0] if events else math.inf
        now_s = min(next_s, now_s + wait_s)
        if now_s < next_s:
            continue
        _, _, how, ticket = heapq.heappop(events)
        if how == "done":
            pool.succeeded(now_s, ticket, None, None)
            done.append((now_s, ticket.endpoint))
        else:
            left += 1
            if how == "refused":
                pool.refused(now_s, ticket, Throttle.REQUESTS)
            else:
                pool.broken(now_s, ticket)
    return sent, done


@pytest.mark.parametrize("seed", range(1, 6))
def test_two_hosts_are_used_up_to_the_limits_of_both(seed):
    """Nobody has named them: 97 % of 3,600 a minute after the first ten seconds."""
    hosts = [Host(600), Host(3_000)]
    sent, done = play(pool_of(hosts, seed), hosts, 10_800)
    counted = [at_s for at_s, _ in done if at_s >= 10]
    assert len(counted) / (counted[-1] - 10) >= 0.97 * 60
    assert sent <= 1.01 * len(done)
    assert sum(place == 0 for _, place in done) >= 0.97 * 10 * done[-1][0]


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_host_that_dies_costs_no_row_and_is_back_soon_after(seed):
    """Its rows go to the other; single requests try it again, and find it within 30 s."""
    hosts = [Host(600), Host(3_000, down=(60, 120))]
    sent, done = play(pool_of(hosts, seed), hosts, 9_000)
    assert len(done) == 9_000
    assert sent - len(done) <= 0.012 * 9_000  # 1 % for what fails; the limits that are found cost some too
    back = [at_s for at_s, place in done if place == 1 and at_s > 120]
    assert back[0] <= 150
    while_down = [at_s for at_s, _ in done if 65 <= at_s < 120]
    assert len(while_down) >= 0.95 * 55 * 10


def test_the_cheaper_one_is_asked_first_and_the_other_beside_it():
    """Nobody waits for the cheap one while the other is idle."""
    hosts = [Host(3_000), Host(600)]
    pool = pool_of(hosts, price=[5.0, 1.0])
    assert pool.gate(0.0) == 0.0
    assert pool.sent(0.0, 1.0).endpoint == 1
    _, done = play(pool_of(hosts, price=[5.0, 1.0]), hosts, 3_600)
    assert {place for _, place in done} == {0, 1}
    assert len(done) / done[-1][0] >= 0.95 * 60


def test_equally_cheap_ones_share_by_weight():
    """As long as both could take every request."""
    pool = pool_of([0, 0], weight=[3.0, 1.0])
    places = []
    for n in range(400):
        assert pool.gate(n * 1.0) == 0.0
        ticket = pool.sent(n * 1.0, 1.0)
        places.append(ticket.endpoint)
        pool.succeeded(n + 0.5, ticket, None, None)
    assert places.count(0) == 300


def test_a_spare_is_asked_only_while_no_other_answers():
    """An endpoint of weight 0."""
    hosts = [Host(600, down=(30, 60)), Host(600)]
    _, done = play(pool_of(hosts, weight=[1.0, 0.0]), hosts, 900)
    by_spare = [at_s for at_s, place in done if place == 1]
    assert by_spare[0] >= 30
    assert by_spare[-1] <= 60 + 20


def test_one_that_is_left_out_gets_single_requests_from_then_on():
    """Until somebody takes it back."""
    pool = pool_of([0, 0])
    pool.endpoints[0].retry_s = 10.0
    for n in range(5):
        assert pool.gate(float(n)) == 0.0
        assert pool.sent(float(n), 1.0).endpoint == 1
    places = []
    for n in range(3):
        assert pool.gate(11.0 + n) == 0.0
        places.append(pool.sent(11.0 + n, 1.0).endpoint)
    assert places.count(0) == 1


def test_when_all_are_left_out_the_next_is_waited_for():
    """The last one is not given up."""
    pool = pool_of([0, 0])
    pool.endpoints[0].retry_s, pool.endpoints[1].retry_s = 10.0, 7.0
    assert pool.gate(5.0) == pytest.approx(2.0)
    assert pool.is_down


def test_endpoints_of_one_account_have_one_pace():
    """Two keys are no two quotas."""
    pacer = Pacer(Limits(concurrency=100, requests_per_minute=60), random.Random(1))
    pool = PacerPool([PooledEndpoint("a", pacer), PooledEndpoint("b", pacer)], LIMITS)
    assert pool.pacers == [pacer]
    sent = []
    now_s = 0.0
    while now_s < 30:
        wait_s = pool.gate(now_s)
        if wait_s > 0:
            now_s += wait_s
            continue
        ticket = pool.sent(now_s, 1.0)
        sent.append(ticket.endpoint)
        pool.succeeded(now_s, ticket, None, None)
    assert 29 <= len(sent) <= 33
    assert abs(sent.count(0) - sent.count(1)) <= 1


def test_all_endpoints_together_are_bounded():
    """`limits.concurrency` is the run's."""
    pool = PacerPool([PooledEndpoint(name, Pacer(LIMITS, random.Random(1))) for name in "ab"], Limits(concurrency=3))
    tickets = [pool.sent(0.0, 1.0) for _ in range(3) if pool.gate(0.0) == 0.0]
    assert len(tickets) == 3
    assert pool.gate(0.0) == math.inf
    pool.abandoned(tickets[0])
    assert pool.gate(0.0) == 0.0
