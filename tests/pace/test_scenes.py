"""Families of providers in which the pacer once fell behind: each scene is one of many of its kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batchgen.pace.values import Limits
from tests.pace.judge import judge, passes
from tests.pace.provider import Scene
from tests.pace.scenes import CASES, MISSED
from tests.pace.world import mean, run

GIVEN = Limits(concurrency=64, requests_per_minute=600)
GIVEN_1200 = Limits(concurrency=64, requests_per_minute=1200)
SHARED = Scene(2000, rpm=[(0, 600)], latency_s=1.0, burst_s=2, tells=False, noise=0.06, limits=GIVEN)


@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        pytest.param(Scene(4000, tpm=[(0, 1_000_000)]), 0.95, 0.02, id="tokens, strict seconds"),
        pytest.param(Scene(6000, tpm=[(0, 2_500_000)], burst_s=0.5), 0.93, 0.02, id="tokens, strict half seconds"),
        pytest.param(Scene(155, tpm=[(0, 30_000)], tells=False), 0.89, 0.19, id="few tokens, kind not told"),
    ],
)
def test_tokens_charged_late_do_not_cut_twice(scene, least, most):
    """After a cut the answers still in flight are charged: refusals meanwhile say nothing about the new pace."""
    share, refused = mean(scene)
    assert share >= least
    assert refused <= most


def test_a_strict_limit_met_by_a_short_job_is_no_chance():
    """Three admitted after the first refusal were taken for a quarter of chance: 16 % of 400 rows were refused."""
    share, refused = mean(Scene(400, rpm=[(0, 1200)]))
    assert share >= 0.9
    assert refused <= 0.05


def test_a_pace_beyond_what_the_bound_in_flight_lets_out():
    """At 64 in flight 64 a second go out, not the pace of 104: a measurement of a mean with it was far too high."""
    share, refused = mean(Scene(3000, rpm=[(0, 3000)], latency_s=1.0, limits=Limits(concurrency=64)))
    assert share >= 0.92
    assert refused <= 0.03


@pytest.mark.parametrize("seed", range(7001, 7005))
def test_the_first_measurements_are_no_sign_of_others(seed):
    """Refused twice within a second of a measurement by ten requests: one job in ten gave way to nobody, at .80."""
    scene = Scene(3000, rpm=[(0, 3000)], latency_s=0.2, limits=Limits(concurrency=64))
    assert run(scene, seed, ideal=True).t99_s / run(scene, seed).t99_s >= 0.95


def test_chance_at_a_limit_that_was_given():
    """6 % by chance at a right limit: a burst after the third cut, then the limit again."""
    assert mean(SHARED)[0] >= 0.9


def test_a_low_limit_that_rises_is_found():
    """From 60 a minute to 600: ten requests for each step took minutes."""
    share, refused = mean(Scene(1500, rpm=[(0, 60), (120, 600)], tells=False))
    assert share >= 0.82
    assert refused <= 0.02


def test_tokens_given_ten_times_too_high():
    """The rate is no more than all that has passed since the start, a full bucket included."""
    limits = Limits(concurrency=100_000, tokens_per_minute=300_000)
    share, refused = mean(Scene(192, tpm=[(0, 30_000)], burst_s=0.1, tells=False, limits=limits))
    assert share >= 0.89
    assert refused <= 0.14


def test_a_high_limit_is_reached_by_a_short_job():
    """20,000 a minute in slices of a fifth of a second, 20,000 rows: the climb is short beside the job."""
    share, refused = mean(Scene(20_000, rpm=[(0, 20_000)], burst_s=0.2, tells=False), seeds=2)
    assert share >= 0.925
    assert refused <= 0.01


def test_a_tiny_cap_is_not_cut_below_itself():
    """Refused at six and at five, a cap of four was held to three for as long as a short job lasted."""
    share, _ = mean(Scene(85, cap=[(0, 4)]))
    assert share >= 0.95


def test_three_a_minute_where_refused_requests_use_up_quota_comes_to_an_end():
    """A probe every 15 s kept the quota used up for ever; after a minute the pauses grow beyond it."""
    scene = Scene(20, rpm=[(0, 3)], eats=True, burst_s=60, latency_s=2.0, limits=Limits(concurrency=64))
    for seed in range(1, 6):
        assert run(scene, seed).done == 20


def test_a_lasting_refusal_that_nothing_prolongs_costs_no_more_than_before():
    """A minute in which all is refused: the pace is back within seconds."""
    share, _ = mean(Scene(2400, rpm=[(0, 1200)], refuse_all=(30, 90), latency_s=1.0, limits=GIVEN_1200))
    assert share >= 0.9


@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        pytest.param(
            Scene(6000, rpm=[(0, 1200)], burst_s=2, jobs=4, tells=False), 0.85, 0.08, id="4 at 1,200 a minute"
        ),
        pytest.param(Scene(4000, rpm=[(0, 600)], jobs=2), 0.85, 0.06, id="2 at 600 a minute"),
        pytest.param(Scene(4000, tpm=[(0, 300_000)], burst_s=5, jobs=4, tells=False), 0.85, 0.12, id="4, tokens"),
    ],
)
def test_jobs_that_share_an_account_use_it_up_together(scene, least, most):
    """They took each other's refusals for chance, and starved: half of the limit was used, an eighth refused."""
    share, refused = mean(scene, seeds=2)
    assert share >= least
    assert refused <= most


@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        pytest.param(Scene(6000, rpm=[(0, 1200)], headers=True, named=60, burst_s=2), 0.85, 0.02, id="60 for 1,200"),
        pytest.param(Scene(3000, rpm=[(0, 600)], headers=True, named=300), 0.93, 0.02, id="300 for 600"),
        pytest.param(Scene(1800, rpm=[(0, 600)], headers=True, remaining=True, burst_s=60), 0.9, 0.03, id="bucket"),
        pytest.param(Scene(3000, rpm=[(0, 600)], headers=True), 0.97, 0.015, id="named rightly"),
    ],
)
def test_what_headers_name_is_used_and_tried(scene, least, most):
    """A named limit that is never met is not in force, and what remains in the bucket may be sent at once."""
    share, refused = mean(scene, seeds=2)
    assert share >= least
    assert refused <= most


@pytest.mark.parametrize(
    ("scene", "least"),
    [
        pytest.param(Scene(5000, rpm=[(0, 600)], burst_s=5, ban=(10, 60.0, False), tells=False), 0.8, id="after ten"),
        pytest.param(Scene(9000, rpm=[(0, 600)], burst_s=5, ban=(1, 60.0, False), tells=False), 0.55, id="at once"),
        pytest.param(Scene(9000, rpm=[(0, 600)], burst_s=5, ban=(1, 60.0, True), tells=False), 0.35, id="prolonged"),
        pytest.param(Scene(1500, rpm=[(0, 600)], refuse_all=(40, 70), latency_s=1.0, tells=False), 0.85, id="a door"),
    ],
)
def test_a_closed_door_is_no_measurement(scene, least):
    """Nothing was taken meanwhile: the pace is what it was, and a ban that follows on it is not provoked again soon."""
    assert mean(replace(scene, limits=Limits(concurrency=64)), seeds=3)[0] >= least


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.family}: {case.name}") for case in CASES])
def test_the_aim_of_each_scene(case):
    """Mean over its seeds, and the worst where that is judged; what is known to be missed is let pass."""
    found = judge(case.scene, case.seeds)
    assert passes(case, found) or case.name in MISSED, found


def test_every_scene_that_is_missed_is_one():
    """The list of what is missed has no name that no scene has."""
    assert {case.name for case in CASES} >= MISSED


@pytest.mark.parametrize(
    ("rows", "seeds", "least"),
    [
        (20, range(1, 6), 0.6),
        (50, range(1, 6), 0.7),
        (200, range(1, 6), 0.75),
        (20, (500_036, 500_136, 500_248), 0.7),
        (50, (500_241,), 0.75),
        (100, (500_248, 500_294), 0.75),
        (200, (500_003, 500_202), 0.75),
    ],
)
def test_a_short_job_at_a_low_rate_is_not_taken_for_a_cap(rows, seeds, least):
    """Refused with five and then with six in flight, one job in five was held to one request at a time; refused three
    times with two in flight, one in a hundred."""
    scene = Scene(rows, rpm=[(0, 60)], tells=False, limits=Limits(concurrency=64))
    for seed in seeds:
        assert run(scene, seed, ideal=True).t99_s / run(scene, seed).t99_s >= least
