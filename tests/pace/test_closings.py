"""What it shows of a limit that nothing was admitted for a while."""

from __future__ import annotations

import math

import pytest

from batchgen.pace.closings import AT_ONCE_S, PROVED, SLOWER, Closings
from batchgen.pace.values import Limits
from tests.pace.judge import judge
from tests.pace.provider import Scene


def closed_after(closings, began_s, span_s, got, closed_s, total):
    """Requests passed for so many seconds, and then none for `closed_s`."""
    closings.refused(began_s + span_s, total + got)
    return closings.opened(began_s + span_s + closed_s, closed_s, total + got)


def test_two_full_buckets_show_the_rate():
    """Fifty at once and ten a second: 250 in 20 s, 150 in ten."""
    closings = Closings(0.0)
    most, rate = closed_after(closings, 0.0, 20.0, 250.0, 60.0, 0.0)
    assert (most, rate) == (pytest.approx(SLOWER * 12.5), None)
    most, rate = closed_after(closings, 80.0, 10.0, 150.0, 60.0, 250.0)
    assert (most, rate) == (15.05, pytest.approx(PROVED * max(10.0, SLOWER * 15.05)))


def test_two_alike_show_that_the_pace_is_too_high():
    """And no more than that."""
    closings = Closings(0.0)
    closed_after(closings, 0.0, 20.0, 250.0, 60.0, 0.0)
    assert closed_after(closings, 80.0, 20.0, 252.0, 60.0, 250.0) == (12.625, math.inf)


def test_a_bucket_that_ran_over_does_not_show_a_rate_far_too_low():
    """A search that was slow at first had 209 in 19 s, and the next time 192 in 14.6 s: four a second would be held."""
    closings = Closings(0.0)
    closed_after(closings, 0.0, 19.0, 209.0, 60.0, 0.0)
    assert closed_after(closings, 79.0, 14.6, 192.0, 60.0, 209.0)[1] == pytest.approx(PROVED * SLOWER * 192.5 / 14.6)


def test_none_admitted_at_all_is_no_rate_of_none():
    """Refused two seconds after it had opened, a limit of ten a minute was held to three a minute for seven minutes."""
    closings = Closings(0.0)
    closed_after(closings, 0.0, 2.0, 1.0, 20.0, 0.0)
    assert closed_after(closings, 22.0, 2.0, 0.0, 20.0, 1.0) == (0.25, math.inf)


def test_what_happens_seldom_is_not_our_doing():
    """Half an hour after the last time somebody else has used the limit up."""
    closings = Closings(0.0)
    closed_after(closings, 0.0, 20.0, 250.0, 60.0, 0.0)
    assert closed_after(closings, 80.0, 1800.0, 18_000.0, 60.0, 250.0)[1] is None


def test_a_search_that_used_a_bucket_up_at_once_shows_no_rate():
    """Sixty in a second are no sixty a second."""
    assert closed_after(Closings(0.0), 0.0, 1.0, 60.0, 60.0, 0.0)[0] == SLOWER * 60.0 / AT_ONCE_S


@pytest.mark.parametrize("prolonged", [True, False])
@pytest.mark.parametrize(("rpm", "burst_s"), [(600, 5.0), (480, 10.0)])
def test_bans_are_not_provoked_again_and_again(rpm, burst_s, prolonged):
    """Each refusal shuts the door for a minute: the second one has to tell the rate."""
    scene = Scene(
        15 * rpm, rpm=[(0, rpm)], burst_s=burst_s, ban=(1, 60.0, prolonged), tells=False, limits=Limits(concurrency=64)
    )
    assert judge(scene, seeds=range(1, 4)).util >= 0.6


@pytest.mark.parametrize("seed", [500_003, 500_009, 500_016, 500_031])
def test_a_ban_is_no_window(seed):
    """Twice the same number at the same pace was taken for one, and a quarter of the limit held for a long time."""
    scene = Scene(3_000, rpm=[(0, 600)], burst_s=5, ban=(1, 60.0, False), tells=False, limits=Limits(concurrency=64))
    assert judge(scene, seeds=(seed,)).util >= 0.45
