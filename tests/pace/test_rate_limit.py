"""One rate on its own: what its refusals measure."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from batchgen.pace.rate_limit import (
    BURST,
    CLOSE,
    ENOUGH,
    FEW,
    LIGHT_CUT,
    PASSED,
    RARE_STEP,
    SAFETY,
    UNSURE_STEP,
    RateLimit,
)  # fmt: skip
from batchgen.pace.rate_states import FROM_ANY, TRANSITIONS, RateEvent, RateState, after
from tests.pace.judge import judge
from tests.pace.provider import Scene


def refuse(rate, now_s, admitted, sent):
    """A refusal of a request sent just now."""
    return rate.refused(now_s, now_s, admitted=admitted, sent=sent, unit=1.0, stop_s=0.0)


def found_10_per_s():
    """The search ended after 20, and ten a second were admitted since."""
    rate = RateLimit(None, 0.0)
    assert refuse(rate, 2.0, 20, 21) is None
    assert rate.pace == 5.0  # half of what passed
    rate.pace = 12.0
    assert refuse(rate, 12.0, 120, 122) is False  # nothing to compare it with
    assert rate.found() == pytest.approx(10.0, rel=0.02)
    assert rate.pace == pytest.approx(SAFETY * rate.found())
    return rate


@pytest.mark.parametrize(("admitted", "fell"), [(220, False), (200, True)])
def test_a_limit_measures_the_same_again(admitted, fell):
    """A hundred in ten seconds as before, or eighty."""
    rate = found_10_per_s()
    assert refuse(rate, 22.0, admitted, admitted + 3) is fell
    assert rate.found() == pytest.approx((admitted - 120) / 10, rel=0.02)


def test_too_few_measure_nothing():
    """Where few were refused, the pace falls by as little as their number can tell; the mark stays for the next."""
    rate = found_10_per_s()
    pace = rate.pace
    assert refuse(rate, 12.5, 120 + ENOUGH - 1, 132) is True
    assert rate.pace == pytest.approx((1 - LIGHT_CUT / ENOUGH) * pace)
    refuse(rate, 13.5, 120 + 2 * ENOUGH, 142)
    assert rate.found() == pytest.approx(2 * ENOUGH / 1.5, rel=0.1)


def test_too_few_of_which_most_were_refused_show_a_lower_limit():
    """The pace falls by a quarter and is not known any more."""
    rate = found_10_per_s()
    pace = rate.pace
    assert refuse(rate, 12.5, 124, 130) is None
    assert rate.pace == 0.75 * pace
    assert not rate.safe


def test_with_nothing_measured_no_cut_goes_far_below_what_was_admitted():
    """A search that ends beside those of other jobs has everything refused for a while."""
    rate = RateLimit(None, 0.0)
    refuse(rate, 5.0, 20, 30)
    for second in range(6, 16):
        refuse(rate, float(second), 20, 30 + second)
    assert rate.found() == rate.pace == pytest.approx(PASSED * 20 / 15, rel=0.1)


def test_a_climb_from_next_to_nothing_counts_seconds():
    """One request in ten seconds raises the pace more than one of a request a second would."""
    steps = []
    for per_s in (0.1, 1.0):
        rate = RateLimit(None, 0.0)
        refuse(rate, 5.0, 20, 30)
        rate.go_at(5.0, per_s, 1.0)
        refuse(rate, 5.1, 20, 31)
        before = rate.pace
        rate.held(5.1 + 1 / per_s, 5.2)
        steps.append(rate.pace / before - 1)
    assert steps == pytest.approx([RARE_STEP, UNSURE_STEP])


def test_a_pace_far_below_what_was_admitted_is_not_held_for_long():
    """Twenty minutes are cheap at nearly the right pace; at a fiftieth of it, three jobs of four stood still."""
    rose_s = []
    for per_s in (0.2, 5.0):
        rate = found_10_per_s()
        rate.opened(80.0, 60.0, 120.0)
        rate.pace = per_s
        refuse(rate, 82.0, 140, 160)
        rate.opened(142.0, 60.0, 140.0)
        pace, now_s = rate.pace, 142.0
        while rate.pace == pace:
            now_s += 5.0
            rate.held(now_s, now_s - 1)
        rose_s.append(now_s - 142.0)
    assert rose_s[0] < 400 < 1_000 < rose_s[1]


def test_refused_requests_use_up_quota_if_the_next_one_is_refused_too():
    """One refusal alone costs nothing; once it is known that they count, each costs a slot."""
    rate = found_10_per_s()
    assert not rate.uses_up(13.0, 12.9, 130.0, 1.0)
    assert not rate.uses_up(13.1, 12.95, 130.0, 1.0)  # it was out already
    assert not rate.uses_up(15.0, 14.9, 145.0, 1.0)
    assert rate.uses_up(15.2, 15.1, 145.0, 1.0)
    assert rate.uses_up(17.0, 16.9, 160.0, 1.0)


def test_a_restored_search_begins_anew():
    """The refusals were random: the pace is unknown again, and what was measured is forgotten."""
    rate = found_10_per_s()
    rate.restore(40.0)
    assert rate.pace == math.inf
    assert refuse(rate, 41.0, 400, 410) is None


def test_a_restored_pace_is_what_the_job_names():
    """Never more, whatever was random."""
    rate = RateLimit(20.0, 0.0)
    refuse(rate, 2.0, 20, 21)
    assert rate.pace < 0.99 * 20.0
    rate.restore(3.0)
    assert rate.pace == pytest.approx(0.99 * 20.0)
    assert rate.safe


def test_a_burst_goes_at_once_and_is_made_up_for():
    """Six requests, or more where the limit admits some of them meanwhile; afterwards as many slots are left out."""
    rate = found_10_per_s()
    assert rate.release(12.0, 0.1) == BURST
    for _ in range(BURST):
        assert rate.next_s <= 12.0
        rate.spend(12.0, 1.0)
    assert rate.next_s == pytest.approx(12.0)
    rate.retract(12.2, 130, BURST)
    assert rate.next_s == pytest.approx(12.2 + BURST / rate.pace)
    assert rate.release(13.0, 1.0) > 2 * rate.pace


def test_a_limit_that_is_named_is_known_at_once():
    """Whatever was measured before, and however badly."""
    rate = found_10_per_s()
    refuse(rate, 12.5, 124, 130)
    assert not rate.safe
    rate.limit(20.0)
    assert rate.safe
    assert rate.found() == 20.0
    assert refuse(rate, 20.0, 250, 260) is None  # the first of this limit
    assert refuse(rate, 30.0, 400, 420) is True  # fifteen a second are below what was named


@pytest.mark.parametrize("state", list(RateState))
@pytest.mark.parametrize("event", list(RateEvent))
def test_the_table_decides(state, event):
    """What it does not name changes nothing; the manual has the same table."""
    rate = found_10_per_s()
    rate.state, rate._held = state, 9.0
    rate._on(event, 13.0)
    assert rate.state is after(state, event)
    assert rate.neighbours.present is False
    manual = (Path(__file__).parents[2] / "batchgen/manual/pace.md").read_text(encoding="utf-8")
    for name, table in ((state.name, TRANSITIONS.get((state, event))), ("any", FROM_ANY.get(event))):
        row = f"\n| {name.lower()} | {event.name.lower()} |"
        assert (f"{row} {table.name.lower()} |" in manual) if table else (row not in manual)


def admit(rate, now_s, count):
    """So many requests that the pace had delayed, spread over the time until `now_s`."""
    for _ in range(count):
        rate.held(now_s, now_s)


def test_a_pace_between_what_has_held_and_what_was_refused_is_tried():
    """It held, it rose and was refused: the middle goes next, and is kept once no higher one is left to try."""
    rate = found_10_per_s()
    low = rate.pace
    admit(rate, 21.0, ENOUGH)
    assert rate.state is RateState.RISING
    for nth in range(4):
        admit(rate, 25.0 + 4 * nth, FEW)
    high = rate.pace
    assert refuse(rate, 40.0, 396, 400) is False
    assert rate.state is RateState.TRYING
    assert rate.pace == pytest.approx((low + high) / 2, rel=0.01)
    admit(rate, 49.0, ENOUGH)  # too few to tell it from the one that has held
    assert rate.state is RateState.TRYING
    tried = rate.pace
    assert refuse(rate, 49.5, 400, 404) is None  # too soon: back
    assert rate.state is RateState.HOLDING
    assert low <= rate.pace < tried / CLOSE


@pytest.mark.parametrize(("rpm", "burst_s", "least"), [(10, 0.1, 0.88), (24, 0.1, 0.87), (40, 1.5, 0.88)])
def test_a_limit_that_saves_nothing_up_is_used(rpm, burst_s, least):
    """Its measurement was our own mean pace, which was never more than 85 % of the limit."""
    scene = Scene(150, rpm=[(0, rpm)], burst_s=burst_s, tells=False)
    assert judge(scene, seeds=range(11, 14)).util >= least
