"""One rate on its own: what a guess about another limit does to it, and takes back."""

from __future__ import annotations

import pytest

from batchgen.pace.rate import NAMED, Rate


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
