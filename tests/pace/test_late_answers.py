"""Slow servers of one's own, with all defaults: no row is lost, and time-outs come from the first flood only."""

import math

import pytest

from batchgen.pace.late_answers import LateAnswers
from batchgen.pace.values import Limits
from tests.pace.provider import Scene
from tests.pace.world import run

DEFAULTS = Limits(concurrency=64)


def slow(rows, **settings):
    """A job with the defaults; a row that has failed six times is lost."""
    return Scene(rows, attempts=6, limits=DEFAULTS, **settings)


@pytest.mark.parametrize(
    ("scene", "least"),
    [
        pytest.param(slow(100, slots=(1, 20.0)), 0.8, id="one slot of 20 s"),
        pytest.param(slow(300, slots=(4, 20.0)), 0.8, id="four slots of 20 s"),
        pytest.param(slow(100, slots=(2, 60.0)), 0.8, id="two slots of a minute"),
        pytest.param(slow(400, slots=(16, 100.0)), 0.8, id="sixteen slots of 100 s"),
        pytest.param(slow(30, slots=(1, 200.0)), 0.8, id="one slot of 200 s, a deadline of 300"),
        pytest.param(slow(200, slots=(1, 5.0)), 0.7, id="one slot of 5 s"),
    ],
)
def test_a_server_with_few_slots_is_sent_what_it_answers_in_time(scene, least):
    """Without the bound the second and third wave time out like the first, and rows run out of attempts."""
    seen, ideal = run(scene), run(scene, ideal=True)
    assert seen.lost == 0
    assert seen.late <= 64 + 6
    assert ideal.t99_s / seen.t99_s >= least


@pytest.mark.parametrize("times", [20.0, 60.0])
def test_a_server_that_thrashes_above_some_level_loses_no_row(times):
    """Above 48 in flight each answer takes longer than anybody waits."""
    seen = run(slow(600, thrash=(48, times), latency_s=300 / times + 1))
    assert seen.lost == 0
    assert seen.late <= 3 * 64


def test_enough_slots_are_all_used():
    """Answers that wait in the server's queue, but come in time, are no reason to send less."""
    seen = run(slow(400, slots=(8, 30.0)))
    assert (seen.late, seen.most_in_flight) == (0, 64)


def test_an_honest_slow_model_is_not_slowed_down():
    """Each answer takes two minutes whatever is in flight."""
    seen = run(slow(300, latency_s=130.0, spread=0.2))
    assert (seen.late, seen.most_in_flight) == (0, 64)


def test_single_hung_calls_set_no_bound():
    """One in seven never answers while the others take seconds: that is no matter of how many are in flight."""
    late = LateAnswers()
    for number in range(1, 1000):
        if number % 7:
            late.answered(float(number), 5.0, 64, number)
        else:
            late.late(number, number, 64, 300.0)
    assert late.limit == math.inf


def test_the_bound_follows_a_server_that_has_become_faster():
    """One slot of 20 s, then one of a second: what is in flight grows with the answers per second, then rests."""
    late = LateAnswers()
    for answer in range(15):
        late.answered(20.0 * (answer + 1), 20.0 * (answer + 1), 64, 64)
    for number in range(16, 65):
        late.late(number, 64, 64, 300.0)
    assert late.limit == 7
    now_s, seen = 300.0, set()
    for number in range(65, 1000):
        now_s += 1.0
        late.answered(now_s, late.limit * 1.0, late.limit, number)
        seen.add(late.limit)
    assert late.limit > 7
    assert len(seen) <= 3, "answers per second do not grow any more"
