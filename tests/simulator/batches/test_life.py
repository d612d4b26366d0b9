"""What a batch is at a time: states come in order, whatever its plan and whenever somebody cancels it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchgen.simulator import Settings
from batchgen.simulator.batches.life import ENDED, life_of, plan_of
from batchgen.simulator.batches.oddity_names import BATCHES

ORDER = ("validating", "in_progress", "finalizing", "cancelling", *sorted(ENDED))
DAY_S = 24 * 3600.0


@given(
    number=st.integers(0, 1000),
    odd=st.sets(st.sampled_from(sorted(BATCHES)), max_size=3),
    window_s=st.sampled_from([None, DAY_S]),
    cancel_s=st.one_of(st.none(), st.floats(0, 2 * DAY_S)),
    failed=st.booleans(),
    times=st.lists(st.floats(0, 4 * DAY_S), min_size=2, max_size=20).map(sorted),
)
def test_states_come_in_order(number, odd, window_s, cancel_s, failed, times):
    """They never go back, all end but one that is stuck without a window, and the end is known beforehand."""
    plan = plan_of(Settings(seed=4), number, odd, window_s)
    seen = [
        life_of(
            plan,
            time,
            scanned=True,
            failed=failed,
            built=True,
            cancel_s=cancel_s if cancel_s is None or time >= cancel_s else None,
        )
        for time in [*times, 40 * DAY_S]
    ]
    places = [ORDER.index(life.word) for life in seen]
    assert places == sorted(places)
    assert all(0 <= life.done <= 1 for life in seen)
    last = seen[-1]
    assert (last.word in ENDED) or ("stuck" in odd and window_s is None and cancel_s is None)
    assert last.word in (last.end, "in_progress")
    assert last.next_s > 40 * DAY_S


@given(time=st.floats(0, 3 * DAY_S))
def test_nothing_ends_before_its_files_are_there(time):
    """However late the simulator is with them."""
    plan = plan_of(Settings(), 1, (), DAY_S)
    assert life_of(plan, time, scanned=True, failed=False, built=False, cancel_s=None).word not in ENDED
    assert life_of(plan, time, scanned=False, failed=False, built=False, cancel_s=None).word == "validating"


def test_what_does_not_finish_in_its_window_expires_with_its_share():
    """Half of it, if it would have taken twice as long; a batch without a window goes on."""
    plan = plan_of(Settings(), 1, ("half_expired",), DAY_S)
    life = life_of(plan, DAY_S + 100, scanned=True, failed=False, built=True, cancel_s=None)
    assert (life.word, life.stop_s, life.done) == ("expired", DAY_S, 0.5)
    slow = plan_of(Settings(batch_hours=100, batch_sigma=0), 1, (), None)
    life = life_of(slow, 90 * 3600, scanned=True, failed=False, built=True, cancel_s=None)
    assert (life.word, life.end) == ("in_progress", "completed")
