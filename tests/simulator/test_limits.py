"""Rate limits in virtual time."""

from __future__ import annotations

import pytest

from batchgen.simulator.limits import SimulatedLimits
from batchgen.simulator.settings import Settings


def admitted(limits, times, tokens=10):
    """Return how many of the requests at `times` are admitted; each ends at once."""
    count = 0
    for now in times:
        if limits.admit(tokens, now) is None:
            limits.settle(0, now)
            count += 1
    return count


def test_a_minute_admits_its_limit_and_the_bucket_it_began_with():
    """600 requests a minute over 60 s, asked for ten times as fast, give 600 and the one second saved up."""
    limits = SimulatedLimits(Settings(rpm=600), 0)
    assert admitted(limits, [i / 100 for i in range(6000)]) == pytest.approx(610, abs=1)


@pytest.mark.parametrize(("burst_s", "at_once"), [(1, 10), (10, 100), (60, 600)])
def test_the_bucket_is_as_deep_as_it_is_told(burst_s, at_once):
    """`burst_s` seconds of the limit may come at once, not one request more."""
    assert admitted(SimulatedLimits(Settings(rpm=600, burst_s=burst_s), 0), [0.0] * 1000) == at_once


def test_a_slow_limit_still_admits_one():
    """A bucket holds one request at least, and the wait it names is true."""
    limits = SimulatedLimits(Settings(rpm=10), 0)
    assert limits.admit(10, 0) is None
    refusal = limits.admit(10, 2)
    assert refusal is not None
    assert (refusal.limit, refusal.wait_s) == ("requests", pytest.approx(4))
    assert limits.admit(10, 2 + refusal.wait_s - 0.01) is not None
    assert limits.admit(10, 2 + refusal.wait_s) is None


def test_refusals_that_count_keep_the_bucket_empty():
    """Hammering at twice the limit starves under `count_refused`, and does not without it."""
    times = [i / 20 for i in range(1200)]
    assert admitted(SimulatedLimits(Settings(rpm=600), 0), times) > 590
    assert admitted(SimulatedLimits(Settings(rpm=600, count_refused=True), 0), times) < 50


def test_tokens_are_charged_at_both_ends():
    """Input counts at admission, output at the end, and a debt delays the next request."""
    limits = SimulatedLimits(Settings(tpm=60_000), 0)
    assert limits.admit(4000, 0) is None
    assert limits.admit(1, 0) is not None
    limits.settle(6000, 0)
    refusal = limits.admit(1000, 1)
    assert refusal is not None
    assert (refusal.limit, refusal.wait_s) == ("tokens", pytest.approx(6.0))
    assert limits.admit(1000, 7.0) is None


def test_a_request_above_the_whole_limit_never_fits():
    """A prompt of more tokens than a minute's limit is told so."""
    refusal = SimulatedLimits(Settings(tpm=10_000), 0).admit(10_001, 0)
    assert refusal is not None
    assert refusal.limit == "too_large"


def test_the_in_flight_cap_counts_what_has_not_ended():
    """Two in flight at most; the end of one makes room; the peak is remembered."""
    limits = SimulatedLimits(Settings(max_in_flight=2), 0)
    assert [limits.admit(1, 0), limits.admit(1, 0)] == [None, None]
    refusal = limits.admit(1, 0)
    assert refusal is not None
    assert refusal.limit == "concurrency"
    limits.settle(1, 1)
    assert limits.admit(1, 1) is None
    assert (limits.in_flight, limits.peak_in_flight) == (2, 2)


def test_growth_is_refused_and_a_steady_rate_is_not():
    """A jump from 2 to 50 requests per second is refused for growth; a steady rate above the floor is not."""
    settings = Settings(growth=2, growth_floor=5)
    limits = SimulatedLimits(settings, 0)
    assert admitted(limits, [i / 2 for i in range(120)]) == 120
    assert admitted(limits, [60 + i / 50 for i in range(250)]) < 120
    assert admitted(SimulatedLimits(settings, 0), [i / 4 for i in range(400)]) == 400


def test_changed_limits_hold_at_once():
    """`apply` changes the limits and keeps what is in flight."""
    limits = SimulatedLimits(Settings(rpm=600), 0)
    assert limits.admit(1, 0) is None
    limits.apply(Settings(max_in_flight=1), 1)
    assert limits.admit(1, 1) is not None
