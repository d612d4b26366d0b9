"""One rate on its own: what a guess about another limit does to it, and takes back."""

from __future__ import annotations

import pytest

from batchgen.pace.rate import NAMED, SAFETY, Rate


@pytest.mark.parametrize(("limit_per_s", "before"), [(10.0, 10.0 * NAMED), (None, 5.0)])
def test_a_refuted_guess_takes_back_only_what_it_gave(limit_per_s: float | None, before: float) -> None:
    """A pace at its ceiling gained nothing when a cap was blamed: it is not halved when the cap is refuted."""
    rate = Rate(limit_per_s, 0.0)
    rate.pace = before
    rate.release(1.0)
    assert rate.pace == min(2 * before, rate.ceiling)
    rate.pace = min(3 * before, rate.ceiling)  # it climbs while it does not bind
    rate.blame(2.0)
    assert rate.pace == before


def test_a_trial_above_leaves_no_trace() -> None:
    """If a limit refused it, the pace before it holds again, and what is still out is no news."""
    rate = Rate(None, 0.0)
    rate.pace = 2.0
    rate.try_above(1.0, 6.0)
    assert rate.pace == 6.0
    rate.go_on(3.0)
    assert (rate.pace, rate.cut_s) == (2.0, 3.0)
    rate.try_above(4.0, 6.0)
    rate.restore(5.0, 6.0)  # chance: nothing is left of the pace before
    rate.try_at(6.0, 5.0)
    rate.go_on(7.0)
    assert rate.pace == 5.0


def test_a_pace_that_rose_by_little_is_still_kept() -> None:
    """One per cent above the measured rate spends a slot in a minute: a refusal after seconds is none of its doing."""
    rate = Rate(None, 0.0)
    refusal = {"unit": 1.0, "stop_s": 0.0, "noisy": False, "chance": 0.0}
    rate.refused(0.0, 0.0, admitted=10.0, sent=10.0, **refusal)
    rate.refused(10.0, 10.0, admitted=30.0, sent=31.0, **refusal)
    fair = 31.0 + 10 * SAFETY * rate.found()
    assert rate.is_kept(20.0, fair + 0.9)
    assert not rate.is_kept(20.0, fair + 1.1)
