"""Where the job does not bound what is in flight, the level is found: as fast as if it were known, never a flood."""

import pytest

from batchgen.pace.values import Limits
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
