"""The pacer in whole jobs against providers in virtual time: how near to the limit, how many refused."""

from __future__ import annotations

import random

import pytest

from batchgen.pace.pacer import Pacer
from batchgen.pace.values import Limits
from batchgen.values import RateLimits, Throttle, Usage
from tests.pace.provider import Scene
from tests.pace.scenes import MISSED_NOW
from tests.pace.world import mean, run

MANY = 100_000


def given(rpm=None, tpm=None, cap=MANY):
    """Limits as a job names them."""
    return Limits(concurrency=cap, requests_per_minute=rpm, tokens_per_minute=tpm)


STRICT = Scene(6000, rpm=[(0, 600)], tpm=[(0, 900_000)])
DEEP = Scene(12_000, rpm=[(0, 1200)], burst_s=10, eats=True, tells=False)
TOKENS = Scene(5000, rpm=[(0, 3000)], tpm=[(0, 300_000)], burst_s=5)
MOVING = Scene(16_000, rpm=[(0, 1200), (120, 300), (360, 2400)], burst_s=2, retry_after="true")
SLOW = Scene(150, rpm=[(0, 10)], burst_s=0.1, eats=True)
CAPPED = Scene(6000, cap=[(0, 50)], tells=False)
TWO_LIMITS = Scene(4000, cap=[(0, 40)], rpm=[(0, 600)], tells=False)


@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        pytest.param(STRICT, 0.97, 0.01, id="600 a minute, strict seconds"),
        pytest.param(DEEP, 0.95, 0.02, id="burst of 10 s, refusals eat quota, kind not told"),
        pytest.param(TOKENS, 0.95, 0.02, id="tokens bind, charged at the end"),
        pytest.param(MOVING, 0.95, 0.01, id="1200 to 300 to 2400 a minute"),
        pytest.param(SLOW, 0.70, 0.12, id="10 a minute, refusals eat quota", marks=MISSED_NOW),
        pytest.param(CAPPED, 0.97, 0.02, id="cap of 50 in flight, kind not told"),
    ],
)
def test_unknown_limits_are_found(scene, least, most):
    """Without being told anything the pacer runs near the ideal and is seldom refused."""
    share, refused = mean(scene)
    assert share >= least
    assert refused <= most


@pytest.mark.parametrize(
    ("scene", "limits"),
    [
        pytest.param(STRICT, given(600, 900_000), id="600 a minute, strict seconds"),
        pytest.param(DEEP, given(1200), id="burst of 10 s"),
        pytest.param(TOKENS, given(3000, 300_000), id="tokens bind"),
        pytest.param(SLOW, given(10), id="10 a minute"),
        pytest.param(CAPPED, given(cap=50), id="cap of 50 in flight"),
    ],
)
def test_given_limits_are_used_at_once(scene, limits):
    """Limits named in the job: at least 97 % of the ideal, next to nothing refused."""
    share, refused = mean(_with(scene, limits=limits), seeds=2)
    assert share >= 0.97
    assert refused <= 0.002


def _with(scene, **changes):
    return Scene(**{**scene.__dict__, **changes})


FALL = [(0, 6000), (60, 600), (300, 4800)]


@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        pytest.param(Scene(20_000, rpm=FALL, tells=False), 0.88, 0.02, id="a tenth, then eight times"),
        pytest.param(
            Scene(4000, cap=[(0, 40)], rpm=[(0, 600)], tells=False),
            0.98,
            0.02,
            id="cap and rate, not told",
            marks=MISSED_NOW,
        ),
        pytest.param(Scene(8000, cap=[(0, 200)], rpm=[(0, 1200)], burst_s=5), 0.95, 0.02, id="cap and rate, told"),
        pytest.param(Scene(15_000, cap=[(0, 400), (60, 40), (200, 400)]), 0.88, 0.03, id="cap falls and rises"),
        pytest.param(Scene(12_000, rpm=[(0, 6000)], growth=(2, 2)), 0.85, 0.01, id="growth is limited"),
        pytest.param(Scene(300, cap=[(0, 3)], tells=False), 0.95, 0.05, id="cap of 3"),
        pytest.param(Scene(600, rpm=[(0, 60)], eats=True, tells=False), 0.7, 0.06, id="one a second", marks=MISSED_NOW),
        pytest.param(Scene(20_000, rpm=[(0, 30_000)], burst_s=0.1), 0.6, 0.02, id="500 a second in slices of 0.1 s"),
        pytest.param(Scene(50, rpm=[(0, 600)]), 0.8, 0.1, id="a tiny job"),
        pytest.param(Scene(6000, rpm=[(0, 600)], limits=given(1200)), 0.97, 0.01, id="given twice too high"),
        pytest.param(
            Scene(6000, rpm=[(0, 600)], eats=True, tells=False, limits=given(6000)),
            0.95,
            0.03,
            id="given 10 x too high",
        ),
        pytest.param(Scene(3000, rpm=[(0, 1200), (60, 300)], headers=True), 0.95, 0.005, id="headers name the limit"),
        pytest.param(Scene(5000, rpm=[(0, 6000)], overload=(20, 40)), 0.7, 0.05, id="overloaded for 20 s"),
    ],
)
def test_other_providers(scene, least, most):
    """Scenes outside the usual: falls, rises, two limits at once, wrong limits, headers, overload."""
    share, refused = mean(scene, seeds=1)
    assert share >= least
    assert refused <= most


def test_short_job_without_limits_does_not_pay_for_the_search():
    """1,000 rows of 50 ms at 64 in flight take at most 1.3 times what a plain semaphore takes."""
    seen = run(Scene(1000, latency_s=0.05, limits=Limits(concurrency=64)))
    assert seen.end_s <= 1.3 * (1000 / 64 * 0.05)
    assert seen.refused == 0


def test_first_window_is_small():
    """Against 600 a minute with nothing known, the first two seconds see few refusals."""
    seen = run(Scene(600, rpm=[(0, 600)], latency_s=0.05))
    assert sum(t < 2 for t in seen.refused_at) <= 30


def test_given_limit_is_never_exceeded_in_any_minute():
    """No minute holds more than what the job allows, and the start is no burst."""
    seen = run(Scene(2000, latency_s=0.2, limits=given(600)))
    sent = seen.sent_at
    assert max(sum(start <= t < start + 60 for t in sent) for start in sent[::50]) <= 600
    assert sum(t < 1 for t in sent) <= 11


def test_given_limit_is_a_ceiling_when_the_provider_names_a_higher_one():
    """A header that allows more does not lift the job's own limit."""
    seen = run(Scene(600, rpm=[(0, 6000)], headers=True, latency_s=0.2, limits=given(600)))
    assert seen.end_s >= 59


def test_concurrency_always_holds():
    """The user's bound on requests in flight is never passed, whatever else goes on."""
    assert run(Scene(800, rpm=[(0, 6000)], down=(2, 6), limits=Limits(concurrency=7))).most_in_flight == 7


def test_outage_of_a_minute():
    """A minute of 5xx: few probes, no stampede, full pace within seconds."""
    seen = run(Scene(4000, rpm=[(0, 1200)], burst_s=2, latency_s=1.0, down=(60, 120), limits=given(1200)))
    during = [t for t in seen.sent_at if 63 < t < 120]
    assert len(during) <= 12
    back = next(t for t in seen.done_at if t > 120)
    assert back <= 120 + 22  # the longest pause between probes, jittered, and one round trip
    assert sum(back <= t < back + 1 for t in seen.sent_at) <= 25
    assert sum(back + 2 <= t < back + 12 for t in seen.sent_at) >= 0.9 * 200


def test_after_an_outage_an_unlimited_job_does_not_stampede():
    """With no pace known the search starts again from its small window."""
    seen = run(Scene(8000, latency_s=1.0, down=(10, 40), limits=Limits(concurrency=500)))
    back = next(t for t in seen.done_at if t > 40)
    assert sum(back <= t < back + 0.3 for t in seen.sent_at) <= 30
    assert sum(back + 5 <= t < back + 7 for t in seen.sent_at) >= 900


def test_hung_calls_do_not_double_the_run():
    """Half a percent of calls never answers: the learned deadline ends them, the rest is not held up."""
    scene = Scene(6000, rpm=[(0, 1200)], hung=0.005, limits=given(1200))
    seen, ideal = run(scene), run(scene, ideal=True)
    assert seen.t99_s <= 1.05 * ideal.t99_s
    assert seen.end_s <= ideal.end_s + 135


def test_tail_does_not_idle():
    """From 99 % to the last row no time passes but the rows' own."""
    scene = Scene(3000, rpm=[(0, 600)])
    seen, ideal = run(scene), run(scene, ideal=True)
    assert seen.end_s - seen.t99_s <= (ideal.end_s - ideal.t99_s) + 10


def test_refusals_for_a_minute():
    """All refused for 60 s: at most 30 calls in that minute; then 90 % of the pace within 20 s of being let in."""
    seen = run(Scene(4000, rpm=[(0, 1200)], latency_s=1.0, refuse_all=(60, 120), limits=given(1200)))
    assert sum(60 < t < 121 for t in seen.refused_at) <= 30
    back = next(t for t in seen.done_at if t > 121)
    assert sum(back + 20 <= t < back + 30 for t in seen.sent_at) >= 0.9 * 198


class TestScars:
    """What went wrong in other tools, in public."""

    def test_late_refusals_do_not_extend_a_stop(self):
        """inspect_ai#5137: answers to requests sent before the stop kept extending it."""
        pacer = Pacer(given(6000), random.Random(1))
        tickets = [_send(pacer, i * 0.02) for i in range(40)]
        pacer.refused(1.0, tickets[0], Throttle.REQUESTS, 10.0)
        until = 1.0 + pacer.gate(1.0)
        for i, ticket in enumerate(tickets[1:]):
            pacer.refused(1.1 + 0.2 * i, ticket, Throttle.REQUESTS, 10.0)
        assert 9.2 + pacer.gate(9.2) == pytest.approx(until, abs=0.1)

    def test_not_stuck_at_one_in_flight(self):
        """DataDesigner#575: thirty seconds of refusals drove the controller to 1 and it stayed there."""
        seen = run(Scene(20_000, cap=[(0, 200), (30, 1), (60, 200)], latency_s=1.0))
        assert sum(120 <= t < 130 for t in seen.sent_at) >= 0.8 * 2000

    def test_short_retry_after_stops_nobody_for_long(self):
        """async-batch-llm: one `Retry-After: 2` stopped everything for 300 s."""
        pacer = Pacer(given(600), random.Random(1))
        ticket = _send(pacer, 0.0)
        pacer.refused(0.1, ticket, Throttle.REQUESTS, 2.0)
        assert pacer.gate(0.1) < 2.0

    @pytest.mark.parametrize("absurd", [-5.0, float("nan"), 0.0])
    def test_absurd_retry_after_is_no_wish(self, absurd):
        """Negative, zero and not a number mean nothing."""
        pacer = Pacer(given(600), random.Random(1))
        pacer.refused(0.1, _send(pacer, 0.0), Throttle.REQUESTS, absurd)
        assert 0 <= pacer.gate(0.1) < 1.0

    @pytest.mark.parametrize("days", [21 * 86400.0, float("inf")])
    def test_retry_after_of_days_is_capped(self, days):
        """One log shows 21 days; everybody stops for two minutes at most."""
        pacer = Pacer(given(600), random.Random(1))
        pacer.refused(0.1, _send(pacer, 0.0), Throttle.REQUESTS, days)
        assert 100 < pacer.gate(0.1) <= 120

    def test_long_retry_after_at_each_refusal_is_not_provoked_often(self):
        """A provider that asks for 30 s at each refusal: the pacer probes so seldom that it hardly costs."""
        share, _ = mean(Scene(8000, rpm=[(0, 600)], retry_after=30.0, burst_s=5), seeds=1)
        assert share >= 0.7


def _send(pacer, now_s, tokens=100.0):
    return pacer.sent(now_s, tokens)


def test_headers_set_the_ceiling_and_what_remains_only_brakes():
    """`x-ratelimit-limit-*` is taken at once; hardly anything remaining makes the schedule slower, never faster."""
    pacer = Pacer(given(), random.Random(1))
    pacer.succeeded(0.5, _send(pacer, 0.0), None, RateLimits(limit_requests=600, remaining_requests=500))
    assert pacer.snapshot(0.5).requests_per_s == pytest.approx(0.99 * 10)
    free = _gap(pacer, 1.0)
    pacer.succeeded(2.0, _send(pacer, 1.5), None, RateLimits(limit_requests=600, remaining_requests=1))
    assert _gap(pacer, 3.0) > 1.2 * free


def _gap(pacer, now_s):
    """Time between two requests sent as soon as the gate opens."""
    _send(pacer, now_s)
    first = now_s + pacer.gate(now_s)
    _send(pacer, first)
    return pacer.gate(first)


def test_token_estimates_are_learned():
    """Callers' estimates may be off by any factor: the cost follows what is billed."""
    pacer = Pacer(given(tpm=60_000), random.Random(1))
    now_s = 0.0
    for _ in range(400):
        now_s += pacer.gate(now_s)
        ticket = _send(pacer, now_s, 100.0)
        pacer.succeeded(now_s, ticket, Usage(300, 50, 350), None)
    assert _send(pacer, now_s, 100.0).tokens == pytest.approx(350, rel=0.1)


def test_unknown_usage_keeps_the_estimate():
    """An answer without usage changes neither cost nor schedule."""
    pacer = Pacer(given(tpm=60_000), random.Random(1))
    ticket = _send(pacer, 0.0)
    before = pacer.gate(0.0)
    pacer.succeeded(0.0, ticket, None, None)
    assert pacer.gate(0.0) == before


def test_limits_can_be_changed_while_running():
    """New limits hold from the next request on; concurrency too."""
    pacer = Pacer(given(600), random.Random(1))
    pacer.change(given(60, cap=2))
    assert pacer.snapshot(0.0).requests_per_s == pytest.approx(0.99)
    _send(pacer, 0.0)
    _send(pacer, 1.1)
    assert pacer.gate(9.0) == float("inf")
    pacer.change(given(60, cap=3))
    assert pacer.gate(9.0) == 0.0


def test_deadline_is_learned():
    """5 x p99 of latencies, within 120 s and `timeout_s`."""
    pacer = Pacer(Limits(timeout_s=300), random.Random(1))
    assert pacer.deadline_s == 300
    for i in range(300):
        pacer.succeeded(i + 1.0, _send(pacer, float(i)), None, None)
    assert pacer.deadline_s == 120
    for i in range(3000):
        pacer.succeeded(500 + i + 40.0, _send(pacer, 500.0 + i), None, None)
    assert 195 <= pacer.deadline_s <= 215


def test_abandoned_tickets_come_back():
    """A request given up without an outcome frees its place and does not end the search."""
    pacer = Pacer(Limits(concurrency=3), random.Random(1))
    for _ in range(50):
        ticket = _send(pacer, 0.0)
        pacer.abandoned(ticket)
    assert pacer.in_flight == 0
    assert pacer.gate(0.0) == 0.0


def test_failed_first_window_does_not_lock_the_gate():
    """When the very first requests all fail the gate opens again by itself."""
    pacer = Pacer(Limits(), random.Random(1))
    tickets = [_send(pacer, 0.0) for _ in range(6)]
    for ticket in tickets:
        pacer.broken(0.1, ticket)
    assert 0 < pacer.gate(0.1) < 3
    assert pacer.gate(3.0) == 0.0


def test_overload_is_a_refusal_like_any_other():
    """A server that calls itself full may mean any limit, or chance: it slows the job down as if nothing was said."""
    scene = Scene(600, rpm=[(0, 600)], limits=Limits(concurrency=64))
    said = run(_with(scene, tells=Throttle.OVERLOAD))
    unsaid = run(_with(scene, tells=False))
    assert said.sent_at[:250] == unsaid.sent_at[:250]  # later it is no sign of other jobs at the limit, where 429 is
    assert said.end_s == pytest.approx(unsaid.end_s, rel=0.02)
    assert abs(said.refused - unsaid.refused) <= 8


def test_snapshot_counts_since_the_last():
    """A sample has the counts and latencies of its own interval."""
    pacer = Pacer(Limits(), random.Random(1))
    pacer.succeeded(1.0, _send(pacer, 0.0), None, None)
    first = pacer.snapshot(1.0)
    assert (first.sent, first.refused, first.failed) == (1, 0, 0)
    assert first.latency_p50_s == pytest.approx(1.0, rel=0.05)
    pacer.refused(2.1, _send(pacer, 2.0), Throttle.REQUESTS)
    second = pacer.snapshot(3.0)
    assert (second.sent, second.refused, second.latency_p50_s) == (1, 1, None)


@pytest.mark.parametrize(
    ("scene", "phrase"),
    [
        (Scene(1500, rpm=[(0, 600)]), "requests per minute, about "),
        (Scene(300, rpm=[(0, 600)], limits=given(600)), "requests per minute, 600 given"),
        (Scene(300, rpm=[(0, 600)], headers=True), "requests per minute, 600 named by the provider"),
        (Scene(1000, tpm=[(0, 300_000)], limits=given(tpm=300_000)), "tokens per minute, 300,000 given"),
        (Scene(2000, latency_s=0.5, limits=Limits(concurrency=16)), "concurrency (16)"),
        (Scene(2000, cap=[(0, 50)]), "the provider's in-flight cap, about 50 found"),
    ],
)
def test_limited_by_says_what_bound(scene, phrase):
    """One plain phrase for the summary."""
    pacer = run(scene).pacer
    assert pacer
    found = pacer.limited_by()
    assert found
    assert found.startswith(phrase)


def test_limited_by_nothing():
    """A job too small to meet a limit says so."""
    pacer = Pacer(Limits(), random.Random(1))
    assert pacer.limited_by() is None
    pacer.succeeded(1.0, _send(pacer, 0.0), None, None)
    assert pacer.limited_by() is None


def test_same_seed_same_run():
    """The random source is the only source of chance."""
    assert run(DEEP, 3).sent_at == run(DEEP, 3).sent_at
