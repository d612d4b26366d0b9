"""The stop of everybody on its own: what its probes tell."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from batchgen.pace.circuit_breaker import (
    FAILURES,
    LONGEST_S,
    REFUSALS,
    TRANSITIONS,
    CircuitBreaker,
    FailureStreak,
    GateEvent,
    RefusalStreak,
    State,
)


def test_a_stop_doubles_and_ends_with_its_probe():
    """1 s, 2 s, 4 s and so on, a quarter more at most, never more than `LONGEST_S`."""
    stop = CircuitBreaker(random.Random(1))
    stop.on(GateEvent.REFUSED, 100.0)
    waits_s = [stop.until_s - 100.0]
    for _ in range(6):
        stop.until_s = -math.inf
        stop.again(100.0)
        waits_s.append(stop.until_s - 100.0)
    for wait_s, bound_s in zip(waits_s, (1, 2, 4, 8, LONGEST_S, LONGEST_S, LONGEST_S), strict=True):
        assert bound_s <= wait_s <= 1.25 * bound_s
    stop.on(GateEvent.ANSWERED, 200.0)
    assert stop.state is State.SENDING


def test_what_refused_probes_prolonged_is_waited_out_at_once_the_next_time():
    """A ban of a minute that each probe prolongs cost four minutes each time; a used-up minute is over before that."""
    stop = CircuitBreaker(random.Random(1))
    now_s = 0.0
    for _ in range(2):
        stop.on(GateEvent.REFUSED, now_s)
        first_s = stop.until_s - now_s
        while stop.until_s - now_s < 60.0:
            now_s = stop.until_s
            stop.again(now_s)
        now_s = stop.until_s
        stop.on(GateEvent.ANSWERED, now_s)
    assert 60.0 <= first_s <= 94.0
    stop.on(GateEvent.FAILED, now_s)
    assert stop.until_s - now_s <= 1.25


def test_it_says_why_nothing_is_sent():
    """Refusals, failures or a pause that the provider asked for; nothing while requests go out."""
    breaker = CircuitBreaker(random.Random(1))
    assert breaker.says(0.0) is None
    breaker.obey_retry_after(0.0, 30.0)
    assert breaker.says(10.0) == "the provider asked for a pause, 20 s more"
    assert breaker.says(31.0) is None
    breaker.on(GateEvent.FAILED, 40.0)
    assert "fails every request" in breaker.says(50.0)
    breaker.on(GateEvent.ANSWERED, 40.0)
    breaker.on(GateEvent.REFUSED, 40.0)
    assert "rate-limits nearly every request" in breaker.says(50.0)
    breaker.on(GateEvent.ANSWERED, 40.0)
    assert breaker.says(50.0) is None


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(GateEvent))
def test_the_table_decides(state, event):
    """What it does not name changes nothing; the manual has the same table."""
    breaker = CircuitBreaker(random.Random(1))
    breaker.state = state
    after = TRANSITIONS.get((state, event))
    assert breaker.on(event, 10.0) is (after is not None)
    assert breaker.state is (after or state)
    manual = (Path(__file__).parents[2] / "batchgen/manual/pace.md").read_text(encoding="utf-8")
    row = f"| {state.name.lower()} | {event.name.lower().replace('_', ' ')} |"
    assert (f"{row} {after.name.lower()} |" in manual) if after else (row not in manual)


def test_refusals_are_in_a_row_unless_one_is_admitted():
    """Those that were out when the first one came back do not count; one that is admitted ends the row."""
    streak = RefusalStreak()
    assert not any(streak.counted(number, 20) for number in range(10, 21))
    assert [streak.counted(21 + nth, 30) for nth in range(REFUSALS)] == [False] * (REFUSALS - 1) + [True]
    streak.begin(math.inf)
    assert not any(streak.counted(30 + nth, 30) for nth in range(REFUSALS))


def test_a_pause_that_was_asked_for_is_not_cut_short():
    """The breaker opened during a pause of 30 s, and the first probe went after one."""
    breaker = CircuitBreaker(random.Random(1))
    breaker.obey_retry_after(0.0, 30.0)
    breaker.on(GateEvent.REFUSED, 1.0)
    assert breaker.until_s == 30.0


def test_failures_are_in_a_row_by_the_order_of_sending():
    """They may come back in any order, and before the answers to requests between them."""
    streak = FailureStreak()
    assert not any(streak.counted(number, 0.1) for number in range(1, 100, 2))
    assert [streak.counted(number, 5.0) for number in (204, 200, 202, 201, 203)] == [False] * (FAILURES - 1) + [True]
    assert streak.last == 204


def test_failures_long_ago_are_no_sign():
    """Four, and a fifth 11 s later; nor those before an answer that closed the breaker."""
    streak = FailureStreak()
    assert not any([streak.counted(number, 0.0) for number in range(1, FAILURES)])
    assert not streak.counted(FAILURES, 11.0)
    streak.clear()
    assert not any([streak.counted(number, 11.5) for number in range(FAILURES + 1, 2 * FAILURES)])
