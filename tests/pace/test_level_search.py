"""Where the job does not bound what is in flight, the level is found: as fast as if it were known, never a flood."""

import math

import pytest

from batchgen.pace.level_search import BEARABLE, FIRST_LEVEL, LEAST_LEVEL, LevelSearch
from batchgen.pace.values import Limits, Ticket
from tests.pace.provider import Scene
from tests.pace.world import run

FOUND = Limits(concurrency=2_000, search_level=True)
FREE = Limits(concurrency=100_000)


def played(rows, *, limits=FOUND, seeds=(1, 2, 3), **scene):
    """Return the worst utilisation over seeds, against an ideal sender without any bound, and the runs."""
    runs = [run(Scene(rows, limits=limits, **scene), seed) for seed in seeds]
    ideal = [run(Scene(rows, limits=FREE, **scene), seed, ideal=True) for seed in seeds]
    return min(best.t99_s / ours.t99_s for best, ours in zip(ideal, runs, strict=True)), runs


@pytest.mark.parametrize(
    ("rows", "scene", "least"),
    [
        pytest.param(6_000, {"rpm": [(0, 1_200)]}, 0.96, id="1,200 a minute"),
        pytest.param(10_000, {"rpm": [(0, 3_000)]}, 0.88, id="3,000 a minute"),
        pytest.param(30_000, {"rpm": [(0, 10_000)]}, 0.85, id="10,000 a minute"),
        pytest.param(6_000, {"tpm": [(0, 1_000_000)]}, 0.87, id="a million tokens a minute"),
        pytest.param(15_000, {"cap": [(0, 400)]}, 0.88, id="400 in flight"),
        pytest.param(3_000, {"slots": (100, 5.0)}, 0.9, id="a hundred slots"),
    ],
)
def test_a_high_limit_is_reached_without_being_told(rows, scene, least):
    """64 in flight, the old default, came to .08 to .68 of the ideal here."""
    share, runs = played(rows, seeds=(1, 2), **scene)
    assert share >= least
    assert max(seen.refused_share for seen in runs) <= 0.025


def test_a_server_that_answers_no_faster_is_not_flooded():
    """Eight slots: 64 in flight already wait; four times as many are tried once, and given up."""
    _, runs = played(2_000, seeds=(1,), slots=(8, 2.0))
    late = runs[0].sent_at[1_000:]
    assert runs[0].most_in_flight <= 256
    assert runs[0].late == 0
    assert len(late) > 0


def test_the_level_stays_where_the_job_says():
    """A bound of the job's own is used at once and never passed."""
    seen = run(Scene(3_000, rpm=[(0, 10_000)], limits=Limits(concurrency=16)))
    assert seen.most_in_flight == 16


def test_a_rate_limit_leaves_the_level_alone():
    """600 a minute need some 45 in flight: nothing is gained by more, and no more are tried."""
    _, runs = played(3_000, seeds=(1,), rpm=[(0, 600)])
    assert runs[0].most_in_flight <= 64


@pytest.mark.parametrize("limits", [FOUND, Limits(concurrency=64)], ids=["level found", "64 given"])
@pytest.mark.parametrize(
    ("thrash", "latency", "least"),
    [
        pytest.param((40, 25.0), {"latency_s": 8.0}, 0.75, id="above 40, time-outs"),
        pytest.param((32, 40.0), {"latency_s": 9.0}, 0.75, id="above 32, time-outs"),
        pytest.param((24, 12.0), {"latency_s": 5.0}, 0.8, id="above 24, twelve times as slow"),
        pytest.param((12, 10.0), {"latency_s": 4.0}, 0.6, id="above 12, ten times as slow"),
        pytest.param((20, 10.0), {"latency_s": 4.0, "spread": 0.5}, 0.75, id="above 20, latencies that differ"),
    ],
)
def test_a_server_that_breaks_down_above_some_level_is_kept_below_it(thrash, latency, least, limits):
    """All of 64 were sent at once, and each answer made room for another request too many; 64 given is no order."""
    for seed in (1, 2):
        scene = Scene(1_000, thrash=thrash, attempts=6, limits=limits, **latency)
        seen = run(scene, seed)
        assert seen.lost == 0
        assert run(scene, seed, ideal=True).t99_s / seen.t99_s >= least


def test_answers_of_a_minute_make_no_job_wait_long():
    """Nothing is known of the server until the first answer: all of 64 rows are sent within 20 s."""
    seen = run(Scene(64, latency_s=60.0, limits=Limits(concurrency=64)))
    assert seen.end_s <= 80.0


def test_a_provider_with_limits_of_its_own_is_not_tried_step_by_step():
    """One that refuses requests, names a limit, or has one by the job, guards itself."""
    for limits in (Limits(concurrency=64, requests_per_minute=6_000), Limits(concurrency=64, tokens_per_minute=1e6)):
        seen = run(Scene(128, rpm=[(0, 6_000)], burst_s=60, latency_s=5.0, sizes=0.1, limits=limits))
        assert seen.most_in_flight == 64
        assert seen.end_s <= 17.0
    level = LevelSearch(search=True, most=2_000)
    level.guarded()
    assert level.limit == BEARABLE


def _one(level, number, in_flight, sent_s):
    """A request that goes out now with so many in flight."""
    ticket = Ticket(sent_s, number, in_flight, 0.0, 0.0, 0.0, 0)
    if in_flight > level.limit:
        level.sent(sent_s, ticket)
    return ticket


def test_the_level_rises_by_what_is_answered_and_falls_back_when_the_answers_slow_down():
    """Answers of a second up to 32 in flight, then of a minute for all of them."""
    level = LevelSearch(search=False, most=64)
    assert level.limit == LEAST_LEVEL
    tickets = [_one(level, number, number, 0.0) for number in range(1, 33)]
    for ticket in tickets:
        ticket.closed = True
        level.answered(1.0 + ticket.number / 1000, ticket)
    assert level.limit == 32
    for number in range(100, 132):
        level.answered(10.0 + number / 1000, _one(level, number, LEAST_LEVEL, 9.0))
    best = level.limit
    high = [_one(level, number, number - 160, 20.0) for number in range(193, 208)]
    for ticket in high:
        ticket.closed = True
        level.answered(21.0, ticket)
    assert level.limit > best
    for number in range(300, 340):
        level.answered(100.0, _one(level, number, 20, 40.0))
    assert level.limit == best
    assert level.full(101.0, int(level.limit)) == math.inf, "it rests before it tries again"


def test_more_than_the_level_is_sent_once_and_not_made_up_for():
    """What a server holds back above its level is waited for; nothing else takes its place."""
    level = LevelSearch(search=False, most=64)
    for number in range(1, 21):
        level.answered(1.0, _one(level, number, 1, 0.0))
    sent = 0
    while sent < 100 and level.full(2.0, int(level.limit) + sent) == 0:
        sent += 1
        _one(level, 100 + sent, int(level.limit) + sent, 2.0)
    assert sent == FIRST_LEVEL - LEAST_LEVEL
    assert level.full(2.1, int(level.limit)) == math.inf
    assert level.full(60.0, int(level.limit)) == math.inf
