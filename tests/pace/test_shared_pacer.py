"""A pacer that leads or follows: turns, leases, and what comes of permits that nobody uses."""

import math
import random

import pytest

from batchgen.pace.shared_pacer import KEPT_S, UNSEEN, AccountState, LeasedTicket, LeaseOutcome, Role, SharedPacer
from batchgen.pace.values import Limits
from batchgen.values import Throttle


def leading(**limits):
    """Return a pacer that leads."""
    pacer = SharedPacer(Limits(concurrency=100, **limits), random.Random(1))
    pacer.lead()
    return pacer


def following():
    """Return a pacer that leases permits, and the list of what it wanted to say."""
    pacer = SharedPacer(Limits(concurrency=2), random.Random(1))
    told = []
    pacer.changed = lambda: told.append(True)
    pacer.follow(1)
    return pacer, told


def test_nothing_is_sent_until_it_is_known_who_leads():
    """Then the caller is woken."""
    pacer = SharedPacer(Limits(), random.Random(1))
    woken = []
    pacer.wake = lambda: woken.append(True)
    assert pacer.gate(0.0) == math.inf
    pacer.lead()
    assert woken
    assert pacer.gate(0.0) == 0.0


def test_alone_it_is_a_pacer_like_any_other():
    """With its own bound on what is in flight."""
    pacer = SharedPacer(Limits(concurrency=3), random.Random(1))
    pacer.step_down(Role.ALONE)
    tickets = [pacer.sent(0.0, 10.0) for _ in range(3) if pacer.gate(0.0) == 0.0]
    assert pacer.mine == pacer.in_flight == 3
    assert pacer.gate(0.0) == math.inf
    pacer.succeeded(0.1, tickets[0], None, None)
    pacer.broken(0.1, tickets[1])
    pacer.abandoned(tickets[2])
    assert pacer.mine == pacer.in_flight == 0


def test_permits_go_round():
    """Each process has as many as any other, the leader included, whoever asks for more."""
    pacer = leading(requests_per_minute=600)
    woken = []

    def own_row():
        if pacer.gate(now_s) == 0.0:
            woken.append(pacer.sent(now_s, 1.0))

    now_s = 0.0
    pacer.wake = own_row
    pacer.joined(1, Limits())
    pacer.joined(2, Limits())
    had = {1: 0, 2: 0}
    for n in range(3_000):
        now_s = n / 100
        pacer.gate(now_s)
        for number, most in ((1, 64), (2, 3)):
            pacer.wants(number, most, 1.0, had[number])
        found, _ = pacer.grant(now_s)
        for number, leases in found.items():
            had[number] += len(leases)
            for lease in leases:
                pacer.heard(now_s, number, LeaseOutcome(lease, "succeeded"))
        while woken and pacer.mine:
            pacer.succeeded(now_s, woken[-pacer.mine], None, None)
    counts = [*had.values(), len(woken)]
    assert sum(counts) == pytest.approx(300, rel=0.05)
    assert max(counts) <= 1.1 * min(counts)


def test_who_comes_later_is_not_ahead_of_the_others():
    """It has its part from then on, and does not catch up."""
    pacer = leading(requests_per_minute=60_000)
    pacer.joined(1, Limits())
    for n in range(200):
        pacer.wants(1, 1, 1.0, n)
        pacer.grant(float(n))
    pacer.joined(2, Limits())
    had = {1: 0, 2: 0}
    for n in range(200, 240):
        pacer.wants(1, 1, 1.0, 200 + had[1])
        pacer.wants(2, 1, 1.0, had[2])
        for number, leases in pacer.grant(float(n))[0].items():
            had[number] += len(leases)
    assert had[1] == pytest.approx(had[2], abs=2)


def test_a_suspended_process_holds_few_permits():
    """No more than are on their way."""
    pacer = leading(requests_per_minute=60_000)
    pacer.joined(1, Limits())
    given = 0
    for n in range(100):
        pacer.wants(1, 64, 1.0, 0)
        given += sum(map(len, pacer.grant(float(n))[0].values()))
    assert given == UNSEEN
    assert pacer.in_flight == UNSEEN
    pacer.left(1)
    assert pacer.in_flight == 0


def test_the_lowest_limit_that_a_job_names_holds():
    """For as long as that job runs."""
    pacer = leading()
    pacer.joined(1, Limits(requests_per_minute=600))
    pacer.joined(2, Limits(requests_per_minute=60))
    assert pacer.told(0.0).requests_per_s == pytest.approx(1.0, rel=0.02)
    pacer.left(2)
    assert pacer.told(0.0).requests_per_s == pytest.approx(10.0, rel=0.02)
    assert pacer.limits.requests_per_minute is None


def test_a_follower_sends_with_leases_and_tells_what_came_of_them():
    """In the words of the pacer."""
    pacer, told = following()
    assert pacer.gate(0.0) == math.inf
    assert told == [True]
    pacer.granted(0.0, [7, 8, 9])
    tickets = [pacer.sent(0.1, 10.0) for _ in range(3) if pacer.gate(0.1) == 0.0]
    assert [ticket.lease for ticket in tickets] == [7, 8]  # two in flight are all it may have
    pacer.refused(0.2, tickets[0], Throttle.REQUESTS, 3.0)
    pacer.broken(0.2, tickets[1], late=True)
    assert [(one.lease, one.how, one.retry_after_s, one.late) for one in pacer.outbox] == [
        (7, "refused", 3.0, False),
        (8, "broken", None, True),
    ]
    assert pacer.mine == 0


def test_a_lease_is_given_back_when_it_was_not_used():
    """After a second, at the latest after the process went on; at once where nobody waits."""
    pacer, _ = following()
    pacer.granted(0.0, [1])
    assert pacer.gate(KEPT_S + 0.1) == math.inf
    assert [(one.lease, one.how) for one in pacer.outbox] == [(1, "abandoned")]
    pacer.granted(10.0, [2])
    pacer.give_back_unused(10.0, waiting=1)
    assert pacer.gate(10.0) == 0.0
    pacer.give_back_unused(10.0, waiting=0)
    assert pacer.outbox[-1].lease == 2


def test_what_an_earlier_leader_granted_is_not_told_to_the_next():
    """Its numbers mean something else there."""
    pacer, _ = following()
    pacer.granted(0.0, [1])
    assert pacer.gate(0.0) == 0.0
    ticket = pacer.sent(0.0, 1.0)
    assert isinstance(ticket, LeasedTicket)
    pacer.step_down()
    pacer.follow(2)
    pacer.succeeded(1.0, ticket, None, None)
    assert pacer.outbox == []
    assert pacer.mine == 0


def test_the_next_leader_goes_on_at_the_pace_of_the_last():
    """And does not search again."""
    pacer, _ = following()
    pacer.state = AccountState(50.0, None, down=True, waits_for="a probe", limited_by="requests")
    assert pacer.is_down
    assert pacer.waits_for(0.0) == "a probe"
    assert "shared" in pacer.limited_by()
    pacer.step_down()
    pacer.lead()
    assert pacer.told(0.0).requests_per_s == pytest.approx(50.0)
    assert not pacer.is_down


def test_a_leader_that_was_suspended_forgets_what_the_others_had():
    """It follows then."""
    pacer = leading()
    pacer.joined(1, Limits())
    pacer.wants(1, 5, 1.0, 0)
    assert pacer.gate(0.0) == math.inf or pacer.mine == 0
    pacer.grant(0.0)
    pacer.step_down()
    assert pacer.in_flight == 0
    assert pacer.gate(0.0) == math.inf
