"""Other jobs at the same limit: noticed, and given way to."""

from __future__ import annotations

import random

import pytest

from batchgen.pace.neighbours import CUT, FADES, RISE, STEEPEST, SURE, Neighbours
from batchgen.pace.pacer import Pacer
from batchgen.pace.values import Limits
from batchgen.values import Throttle
from tests.pace.judge import judge
from tests.pace.provider import Scene
from tests.pace.world import run


def test_a_safe_pace_that_is_refused_twice_is_shared():
    """Once may be the error of the measurement; a refusal above it tells nothing, and takes nothing back."""
    others = Neighbours()
    for measured in (SURE, 0):
        others.refused(5.0, 10, measured, tells=True)
    assert not others.present
    others.refused(5.0, 10, SURE, tells=True)
    assert others.present


def test_what_was_measured_by_few_requests_counts_in_part():
    """Ten requests measure a rate with an error of a tenth."""
    others = Neighbours()
    for _ in range(3):
        others.refused(5.0, 1, SURE / 2, tells=True)
    assert not others.present
    others.refused(5.0, 1, SURE / 2, tells=True)
    assert others.present


def test_what_was_counted_long_ago_is_forgotten():
    """A limit of our own with strict seconds refuses a safe pace now and then."""
    others = Neighbours()
    for _ in range(20):
        others.refused(5.0, 2 * FADES, SURE, tells=True)
    assert not others.present


def test_what_tells_nothing_is_no_sign():
    """Such as "overloaded", or a job that is too short, or a pace at which a measurement is too coarse."""
    others = Neighbours()
    for _ in range(9):
        others.refused(5.0, 10, SURE, tells=False)
        others.refused(0.1, 10, SURE, tells=True)
    assert not others.present


def test_a_low_pace_rises_more_steeply_and_pauses():
    """Who began with next to nothing took minutes to his share; the next request finds the bucket as empty."""
    assert Neighbours.step(1.0, 0.0, 5.0) < Neighbours.step(1.0, 0.0, 1.0) <= STEEPEST * RISE
    assert Neighbours.pause_s(5.0) == 0.0 < Neighbours.pause_s(1.0)


def test_a_limit_that_measures_the_same_again_is_our_own():
    """The others have gone."""
    others = Neighbours()
    others.set(True)
    for same in (True, True, True, False, True, True, True):
        others.measured(same=same)
    assert others.present
    others.measured(same=True)
    assert not others.present


def test_the_larger_share_falls():
    """Two jobs, one in fifty refused: the one with nine tenths of the limit loses what the other one gains."""
    paces = [9.0, 1.0]
    since = [0.0, 0.0]
    for _ in range(600):
        for n, pace in enumerate(paces):
            since[n] += 1.0
            paces[n] *= 1 + Neighbours.step(1.0, since[n], pace)
            if since[n] * pace >= 50 * sum(paces) / 10:
                paces[n] *= 1 - CUT
                since[n] = 0.0
    assert max(paces) < 1.5 * min(paces)


@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        pytest.param(Scene(6_000, rpm=[(0, 1_200)], burst_s=2, jobs=4, tells=False), 0.92, 0.05, id="4 at 1,200"),
        pytest.param(
            Scene(
                6_000, rpm=[(0, 1_200)], burst_s=2, jobs=4, tells=False,
                limits=Limits(concurrency=100_000, requests_per_minute=1_200),
            ),
            0.85,
            0.06,
            id="each told that it has 1,200",
        ),
        pytest.param(Scene(4_000, rpm=[(0, 600)], jobs=2), 0.92, 0.05, id="2 at 600"),
        pytest.param(Scene(4_000, cap=[(0, 50)], jobs=4), 0.92, 0.05, id="4 at a cap of 50 in flight, told"),
        pytest.param(Scene(3_000, cap=[(0, 24)], jobs=3, latency_s=1.0), 0.90, 0.05, id="3 at a cap of 24, told"),
    ],
)  # fmt: skip
def test_jobs_at_one_limit_use_it_up_and_leave_each_other_some(scene, least, most):
    """They took each other for chance, or kept what each had found first: one held most, and the others crawled."""
    found = judge(scene, seeds=(21, 22))
    assert found.util >= least
    assert found.refused <= most
    assert found.spread <= 3.0


def test_others_at_a_limit_are_not_taken_for_chance():
    """A burst of six found the room that others had just made; from then on one job took all, and three crawled."""
    found = judge(Scene(12_000, rpm=[(0, 1_200)], burst_s=2, jobs=4, tells=False), seeds=(31_005,))
    assert found.util >= 0.92
    assert found.refused <= 0.05
    assert found.spread <= 2.0


def test_who_is_left_comes_back():
    """Three of four jobs end early: the last one has the whole limit within half a minute."""
    seen = run(Scene(6_000, rpm=[(0, 1_200)], burst_s=2, jobs=4, tells=False), 23)
    last = max(seen.jobs, key=lambda job: job.end_s)
    assert last.end_s <= 1.2 * 6_000 / 20


def test_a_job_that_waits_before_its_first_request_is_no_slower():
    """Its first measurement was one of all the time since it was made: it began at a request in twenty seconds."""
    seen = run(Scene(14_000, rpm=[(0, 1_200)], burst_s=2, jobs=4, late_s=180, tells=False), 71_001)
    assert sum(at_s < 360 for at_s in seen.jobs[-1].done_at) > 180


def paced_after_being_closed(made_s):
    """A job sends from 120 s on: three requests are admitted, then all are refused for 40 s. Return its pace."""
    pacer = Pacer(Limits(concurrency=64), random.Random(1), made_s)
    now_s, refused = 120.0, 0
    for number in range(200):
        now_s += pacer.gate(now_s) if number >= 6 else 0.0
        ticket = pacer.sent(now_s, 100.0)
        now_s += 0.05
        if number < 3 or now_s > 160.0:
            pacer.succeeded(now_s, ticket, None, None)
        else:
            pacer.refused(now_s, ticket, Throttle.UNKNOWN)
            refused += 1
        if now_s > 160.0:
            break
    assert refused > 5
    return pacer.snapshot(now_s).requests_per_s


def test_a_job_that_waited_and_is_closed_goes_on_as_fast_as_one_that_did_not_wait():
    """What it had admitted was spread over the two minutes before its first request: a request in twenty seconds."""
    assert paced_after_being_closed(0.0) == paced_after_being_closed(120.0) > 0.1
