"""Limits that count requests per window: found, used up at once, and waited for."""

from __future__ import annotations

import math

import pytest

from batchgen.pace.rate_limit import RateLimit
from batchgen.pace.values import Limits, Ticket
from batchgen.pace.window import LATE_S, Window
from tests.pace.judge import judge
from tests.pace.provider import Scene

FREE = Limits(concurrency=100_000)


def probe(at_s, number):
    """A request that was sent while nothing was admitted."""
    return Ticket(at_s, number, 1, 1.0, 1.0, 1.0, 0, False)


def found_100_per_minute():
    """Two windows that closed after a hundred requests; the third one has begun at 120 s."""
    window, rate = Window(0.0), RateLimit(None, 0.0)
    window.used_up(2.0)
    window.closed(50.0, 49.0, 65.0, 100)
    window.opened(60.2, probe(60.0, 106), 100, rate)
    assert not window.count
    window.used_up(65.0)
    window.closed(80.0, 79.0, 95.0, 200)
    window.opened(122.2, probe(122.0, 211), 200, rate)
    return window, rate


def test_the_same_count_twice_is_a_window():
    """It is used up at the pace of the burst before; the last request that it admits has the number 310."""
    window, rate = found_100_per_minute()
    assert window.count == 100
    assert window.end == 310
    assert rate.pace == pytest.approx(100 / 3.0)


def test_refusals_in_a_row_show_that_a_window_is_used_up():
    """The first probe was admitted: ten seconds were half over, and the next ones took six to be used up."""
    window, rate = Window(0.0), RateLimit(None, 0.0)
    window.used_up(2.8, seen=True)
    window.opened(4.5, probe(4.0, 241), 200, rate)
    window.used_up(9.9, seen=True)
    window.closed(11.2, 11.1, 13.3, 400)
    window.opened(14.6, probe(14.1, 456), 400, rate)
    assert window.count == 200
    assert window.end == 655
    assert rate.pace == pytest.approx(200 / 5.9)


def test_what_was_used_for_longer_than_a_window_lasts_is_none():
    """Twice seventy in seventy seconds, each time followed by a ban of a minute."""
    window, rate = Window(0.0), RateLimit(None, 0.0)
    for number in range(2):
        began_s = 135.0 * number
        window.used_up(began_s + 70.0, seen=True)
        window.opened(began_s + 135.5, probe(began_s + 135.0, 80 * number + 79), 70 * number + 70, rate)
    assert not window.count


def test_a_bucket_is_none():
    """It admits more where less is sent per second."""
    window, rate = Window(0.0), RateLimit(None, 0.0)
    window.used_up(2.0)
    window.opened(60.2, probe(60.0, 106), 100, rate)
    window.used_up(65.0)
    window.opened(122.2, probe(122.0, 211), 210, rate)
    assert not window.count
    assert window.end == math.inf


def test_the_same_count_at_the_same_pace_shows_no_window():
    """A bucket admits the same again, too: 157 in ten seconds, and nothing for the minute of a ban."""
    window, rate = Window(0.0), RateLimit(None, 0.0)
    window.used_up(10.7, seen=True)
    window.closed(60.0, 59.9, 71.0, 157)
    window.opened(71.5, probe(71.0, 160), 157, rate)
    window.used_up(81.5, seen=True)
    window.closed(131.0, 130.9, 142.0, 312)
    window.opened(142.5, probe(142.0, 320), 312, rate)
    assert not window.count


def test_a_length_in_which_nothing_was_admitted_again_is_not_tried():
    """Ten seconds are over when the next window may begin after twenty: a minute is next, or half of one."""
    window, rate = Window(0.0), RateLimit(None, 0.0)
    window.used_up(2.0, seen=True)
    window.closed(20.2, 20.0, 36.0, 60)
    window.opened(31.5, probe(31.0, 80), 60, rate)
    window.used_up(36.0)
    assert window.closed(37.2, 37.0, 39.0, 120) > 60.0


def test_a_known_count_is_trusted_for_some_windows():
    """Three windows are waited for at once; after the fourth it is tried whether one more is admitted."""
    window, _ = found_100_per_minute()
    until_s = []
    for _ in range(4):
        window.used_up(126.0)
        until_s.append(window.sent_all(126.0, 127.1))
    assert [at_s > 150.0 for at_s in until_s] == [True, True, True, False]


def test_the_next_window_is_waited_for():
    """While its beginning is known to two seconds only, the middle between them is tried first."""
    window, _ = found_100_per_minute()
    window.used_up(130.0)
    at_s = window.closed(130.6, 130.5, 132.0, 300)
    assert 150.0 < at_s < 182.0
    while at_s < 182.0:
        at_s = window.closed(at_s + 0.1, at_s, at_s + 1.0, 300)
    assert at_s == pytest.approx(182.0 + LATE_S)


def test_a_window_that_admits_more_is_used_further():
    """The probe after its last request was admitted: one more is tried, then two."""
    window, rate = found_100_per_minute()
    window.used_up(126.0)
    window.opened(126.6, probe(126.1, 311), 300, rate)
    assert window.end == 312
    window.used_up(127.0)
    window.opened(127.6, probe(127.1, 313), 302, rate)
    assert window.end == 315
    assert window.count == 100


def test_a_window_that_others_use_too_is_forgotten():
    """Fewer were admitted than before: the rest goes evenly."""
    window, rate = found_100_per_minute()
    window.used_up(124.0)
    window.closed(150.6, 150.5, 181.0, 250)
    window.opened(182.2, probe(182.0, 262), 250, rate)
    assert not window.count
    assert window.end == math.inf
    assert rate.pace == pytest.approx(100 / 60)


@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        pytest.param(Scene(1_500, sliding=(300, 60.0), tells=False, limits=FREE), 0.92, 0.06, id="sliding"),
        pytest.param(Scene(2_000, window=(400, 25.0), tells=False, limits=FREE), 0.92, 0.05, id="clock"),
        pytest.param(
            Scene(5_000, window=(1_000, 50.0), eats=True, tells=False, limits=FREE), 0.92, 0.04, id="refusals count"
        ),
        pytest.param(
            Scene(3_000, window=(200, 4.0), window_s=10.0, tells=False, limits=FREE), 0.9, 0.04, id="ten seconds"
        ),
        pytest.param(Scene(240, window=(40, 10.0), tells=False, limits=FREE), 0.85, 0.15, id="few"),
    ],
)
def test_a_window_is_used_up_as_soon_as_it_begins(scene, least, most):
    """Sent evenly, or looked for every quarter of a minute, a tenth to a fifth of the time was lost."""
    found = judge(scene, seeds=(31, 32, 33))
    assert found.util >= least
    assert found.refused <= most
