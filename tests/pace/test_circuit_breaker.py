"""The stop of everybody on its own: what its probes tell."""

from __future__ import annotations

import random

from batchgen.pace.circuit_breaker import FAILURES, LONGEST_S, CircuitBreaker, FailureStreak, Reason


def test_a_stop_doubles_and_ends_with_its_probe():
    """1 s, 2 s, 4 s and so on, a quarter more at most, never more than `LONGEST_S`."""
    stop = CircuitBreaker(random.Random(1))
    stop.begin(100.0, Reason.REFUSALS, 1.0, 0.5)
    waits_s = [stop.until_s - 100.0]
    for _ in range(6):
        stop.again(100.0)
        waits_s.append(stop.until_s - 100.0)
    for wait_s, bound_s in zip(waits_s, (1, 2, 4, 8, LONGEST_S, LONGEST_S, LONGEST_S), strict=True):
        assert bound_s <= wait_s <= 1.25 * bound_s
    stop.end()
    assert stop.why is None


def test_what_refused_probes_prolonged_is_waited_out_at_once_the_next_time():
    """A ban of a minute that each probe prolongs cost four minutes each time; a used-up minute is over before that."""
    stop = CircuitBreaker(random.Random(1))
    now_s = 0.0
    for _ in range(2):
        stop.begin(now_s, Reason.REFUSALS, 1.0, 0.5)
        first_s = stop.until_s - now_s
        while stop.until_s - now_s < 60.0:
            now_s = stop.until_s
            stop.again(now_s)
        now_s = stop.until_s
        stop.end()
    assert 60.0 <= first_s <= 94.0
    stop.begin(now_s, Reason.FAILURES, 1.0, 0.5)
    assert stop.until_s - now_s <= 1.25


def test_it_says_why_nothing_is_sent():
    """Refusals, failures or a pause that the provider asked for; nothing while requests go out."""
    breaker = CircuitBreaker(random.Random(1))
    assert breaker.says(0.0) is None
    breaker.wait(0.0, 30.0)
    assert breaker.says(10.0) == "the provider asked for a pause, 20 s more"
    assert breaker.says(31.0) is None
    breaker.begin(40.0, Reason.FAILURES, 1.0, 0.5)
    assert "fails every request" in breaker.says(50.0)
    breaker.begin(40.0, Reason.REFUSALS, 1.0, 0.5)
    assert "rate-limits nearly every request" in breaker.says(50.0)
    breaker.end()
    assert breaker.says(50.0) is None


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
