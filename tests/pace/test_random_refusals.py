"""Whole jobs in virtual time whose refusals are no matter of pace: by chance, or of a door that is shut."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from batchgen.pace.pacer import Pacer
from batchgen.pace.random_refusals import FALLS, RandomRefusals
from batchgen.pace.values import Limits
from batchgen.values import Throttle
from tests.pace.provider import Scene
from tests.pace.world import mean, run

QUICK = Scene(2000, latency_s=0.02, refusal_s=(0.02, 0.02), tells=False, limits=Limits(concurrency=64))


class TestRefusedForNoReasonOfLoad:
    """Refusals that no pace prevents. They must not slow the job for long."""

    @pytest.mark.parametrize(
        ("scene", "most_s"),
        [
            pytest.param(replace(QUICK, noise=0.01), 60, id="1 %"),
            pytest.param(replace(QUICK, noise=0.03), 60, id="3 %"),
            pytest.param(replace(QUICK, noise=0.06), 60, id="6 %"),
            pytest.param(replace(QUICK, noise=0.06, retry_after=1.0), 60, id="6 %, Retry-After 1 s"),
            pytest.param(replace(QUICK, noise=0.2, rows=200), 60, id="20 %"),
            pytest.param(replace(QUICK, noise=0.06, latency_s=2.0), 240, id="6 %, answers of 2 s"),
            pytest.param(
                replace(QUICK, noise=0.06, latency_s=1.0, limits=Limits(concurrency=64, requests_per_minute=600)),
                300,
                id="6 %, 600 a minute given",
            ),
        ],
    )
    def test_by_chance(self, scene, most_s):
        """A share that stays the same at any pace is tolerated; ill luck delays that, but never for long."""
        ends_s = sorted(run(scene, seed).end_s for seed in range(1, 10))
        assert ends_s[6] <= most_s
        assert ends_s[-1] <= 5 * most_s

    @pytest.mark.parametrize("seed", [1, 2, 3])
    @pytest.mark.parametrize(
        ("scene", "most_s"),
        [
            pytest.param(Scene(200, refused_from=(1, 20)), 30, id="the first 20"),
            pytest.param(Scene(200, refused_from=(1, 20), retry_after=1.0), 30, id="the first 20, Retry-After 1 s"),
            pytest.param(Scene(200, refuse_all=(0, 40)), 70, id="all for 40 s"),
            pytest.param(Scene(3000, refuse_all=(10, 50)), 115, id="all from 10 s to 50 s"),
            pytest.param(Scene(200, window=(600, 40.0), used_up=(0,)), 70, id="600 a minute, used up for 40 s"),
            pytest.param(Scene(200, window=(150, 40.0), used_up=(0,)), 130, id="150 a minute, used up for 40 s"),
            pytest.param(Scene(1000, window=(150, 40.0)), 400, id="150 a clock minute"),
        ],
    )
    def test_shut(self, scene, most_s, seed):
        """Once the door is open again the job is back at its pace within seconds."""
        latency_s = 1.0 if scene.rows == 3000 else 0.02
        scene = replace(scene, latency_s=latency_s, refusal_s=(0.02, 0.02), tells=False, limits=Limits(concurrency=64))
        assert run(scene, seed).end_s <= most_s

    def test_shut_from_the_start_is_asked_seldom(self):
        """Nothing known and all refused for a minute: six requests at a time, at growing intervals."""
        seen = run(replace(QUICK, rows=200, refuse_all=(0, 60)))
        assert seen.refused <= 48

    def test_a_share_once_known_does_not_hide_a_limit(self):
        """6 % by chance, then 1200 a minute besides: most of what is refused goes away by slowing down."""
        seen = run(replace(QUICK, noise=0.06, latency_s=0.5, rpm=[(0, 60_000), (20, 1200)], rows=6000))
        late = [t for t in seen.refused_at if t > 40]
        assert len(late) <= 0.25 * sum(t > 40 for t in seen.sent_at)

    @pytest.mark.parametrize("kind", list(Throttle))
    @pytest.mark.parametrize(("share", "least"), [(0.01, 0.91), (0.03, 0.92), (0.1, 0.92)])
    def test_whatever_they_are_called(self, kind, share, least):
        """2,000 rows with 3 % called concurrency took 978 s once: the label does not decide, the share does."""
        scene = Scene(3000, latency_s=0.5, noise=share, noise_as=kind, limits=Limits(concurrency=64))
        assert mean(scene, seeds=3)[0] >= least

    def test_a_fifth_from_the_first_request_on(self):
        """Most short jobs do not notice; what the judge of the search misses in the others costs them minutes."""
        ends_s = sorted(run(replace(QUICK, noise=0.2, rows=200), seed).end_s for seed in range(1, 16))
        assert ends_s[11] <= 5

    @pytest.mark.parametrize(
        ("scene", "most_s", "worst_s"),
        [
            pytest.param(replace(QUICK, rows=200, noise=0.1, limits=Limits(concurrency=8)), 1, 40, id="10 %"),
            pytest.param(replace(QUICK, rows=200, noise=0.1, latency_s=0.5), 10, 40, id="10 %, 0.5 s"),
            pytest.param(replace(QUICK, rows=200, noise=0.05, broken=0.15, latency_s=0.5), 45, 75, id="5xx besides"),
            pytest.param(
                replace(QUICK, rows=600, noise=0.1, noise_as=Throttle.CONCURRENCY, latency_s=1.0),
                40,
                60,
                id="told it is a cap",
            ),
            pytest.param(replace(QUICK, rows=300, noise=0.1, broken=0.15, latency_s=0.5), 60, 75, id="10 %, 5xx"),
            pytest.param(replace(QUICK, rows=1000, noise=0.05, latency_s=0.5), 20, 40, id="5 %, 0.5 s"),
        ],
    )
    def test_ill_luck_in_the_search(self, scene, most_s, worst_s):
        """A tenth of such jobs is cut to a crawl at first, and took 400 s once where seconds would do."""
        ends_s = sorted(run(scene, seed).end_s for seed in range(1, 31))
        assert ends_s[27] <= most_s
        assert ends_s[-1] <= worst_s

    def test_a_failure_was_not_refused(self):
        """One of six refused and the others broken: no limit stopped those, so the search goes on."""
        pacer = Pacer(Limits(concurrency=64), random.Random(1))
        tickets = [pacer.sent(0.0, 100.0) for _ in range(6)]
        pacer.broken(0.05, tickets[2])
        pacer.refused(0.1, tickets[1], Throttle.UNKNOWN)
        assert math.isfinite(pacer.snapshot(0.1).requests_per_s or math.inf)
        for ticket in tickets[3:]:
            pacer.broken(0.2, ticket)
        assert pacer.snapshot(0.2).requests_per_s is None

    def test_beside_a_limit(self):
        """6 % by chance and 600 a minute: near the ideal, and no flood of refusals for the share's sake."""
        share, refused = mean(Scene(4000, rpm=[(0, 600)], latency_s=1.0, noise=0.06, limits=Limits(concurrency=64)))
        assert share >= 0.95
        assert refused <= 0.13

    def test_a_few_at_a_given_limit_cost_no_pace(self):
        """Two refusals an hour do not put a limit that the job named in doubt."""
        limits = Limits(concurrency=64, requests_per_minute=600)
        scene = Scene(1500, latency_s=1.0, tells=False, refused_from=(300, 301), limits=limits)
        assert run(scene).end_s <= 1.01 * 1502 / 9.9 + 2

    def test_a_fall_of_the_limit_is_no_chance(self):
        """A quarter of the pace is left: what is refused on the way down is not taken for chance."""
        scene = Scene(6000, rpm=[(0, 1200), (120, 300)], burst_s=2, retry_after="true")
        for seed in range(1, 6):
            seen = run(scene, seed)
            assert sum(t > 120 for t in seen.refused_at) <= 80
            assert seen.pacer is not None

    def test_a_request_given_up_does_not_leave_the_question_open(self):
        """The second of six is refused and the others are cancelled: the next refusals are a limit's."""
        pacer = Pacer(Limits(concurrency=64), random.Random(1))
        tickets = [pacer.sent(0.0, 100.0) for _ in range(6)]
        pacer.succeeded(0.1, tickets[0], None, None)
        pacer.refused(0.1, tickets[5], Throttle.UNKNOWN)
        assert pacer.snapshot(0.1).requests_per_s is None
        for ticket in (pacer.sent(0.2, 100.0), *tickets[1:5]):
            pacer.abandoned(ticket)
        pacer.refused(0.3, pacer.sent(0.2, 100.0), Throttle.UNKNOWN)
        assert pacer.snapshot(0.3).requests_per_s is not None


class Pace:
    """A load as `RandomRefusals` sees one."""

    def __init__(self, load: float = 100.0) -> None:
        self.load = load


class TestChance:
    """The arithmetic on its own."""

    def falls(self, chance, measured, *, refused_each=1, what=None):
        """Cuts of one load by a sixth, twenty requests apart, `-` for one below the one before."""
        what = what or Pace()
        begun = []
        for n, m in enumerate(measured, 1):
            before, what.load = what.load, what.load * 0.84
            begun.append(chance.fell(n * 20, n * refused_each, what, before, fell=m == "-"))
        return begun

    @pytest.mark.parametrize("measured", ["--=--", "--=-=", "--"])
    def test_a_limit_measures_the_same_again(self, measured):
        """However often it is met: fewer falls in a row are a limit that was overrun, or that fell."""
        chance = RandomRefusals()
        what = Pace()
        for n, m in enumerate("=" + measured, 1):
            assert not chance.fell(n * 20, n, what, 100.0, fell=m == "-")

    def test_what_falls_again_and_again_is_tried(self):
        """The last of `FALLS`; nothing is taken for random before the burst."""
        chance = RandomRefusals()
        assert self.falls(chance, "=" + FALLS * "-") == FALLS * [False] + [True]
        assert chance.share == 0

    def test_falls_of_another_load_are_no_sequel(self):
        """Two of the pace and two of the cap are neither's third."""
        chance, pace, cap = RandomRefusals(), Pace(), Pace()
        for n, what in enumerate((pace, pace, cap, cap), 1):
            what.load *= 0.6
            assert not chance.fell(n * 20, n, what, what.load / 0.6, fell=True)

    def test_a_limit_refuses_more_while_the_pace_falls_so_far(self):
        """Half of the requests refused on the way down: a limit that fell."""
        assert not any(self.falls(RandomRefusals(), "=------", refused_each=10))

    def proved(self):
        """One in twenty, found from sixty requests and confirmed by two bursts, all admitted."""
        chance = RandomRefusals()
        self.falls(chance, "=" + FALLS * "-")
        chance.open_burst(80, 6)
        assert [chance.count_sample(refused=False) for _ in range(4)] == [None, None, None, False]
        assert chance.share == 0
        chance.open_burst(80, 6)
        assert [chance.count_sample(refused=False) for _ in range(4)] == [None, None, None, True]
        return chance

    def test_a_burst_that_is_admitted_shows_random_refusals(self):
        """The share is one of all since the first fall."""
        chance = self.proved()
        assert chance.share == pytest.approx(3 / 64)
        assert not chance.is_open

    def test_a_burst_that_is_refused_shows_a_limit(self):
        """Half of six is enough; the next burst needs twice as many falls."""
        chance = RandomRefusals()
        self.falls(chance, "=" + FALLS * "-")
        chance.open_burst(80, 6)
        verdicts = [chance.count_sample(refused=refused) for refused in (True, False, True, True)]
        assert verdicts == [None, None, None, False]
        assert chance.share == 0
        assert self.falls(chance, "=" + 2 * FALLS * "-") == 2 * FALLS * [False] + [True]

    def test_a_share_that_is_exceeded_outlives_a_limit_beside_it(self):
        """Refused at each request: a limit was met, and what a burst has shown is still true."""
        chance, last = self.proved(), 86
        while chance.expects(last, last, safe=False):
            last += 1
        assert last <= 86 + 8
        assert chance.share > 0

    def test_a_burst_that_was_wrong_is_forgotten(self):
        """Two thirds refused for ever are no random refusals: a job at 300,000 tokens a minute tolerated them."""
        chance = self.proved()
        for last in range(87, 87 + 450):
            if last % 3 and not chance.expects(last, last, safe=False) and not chance.share:
                break
        assert last < 87 + 200
        assert chance.share == 0

    def test_a_share_that_has_gone_is_forgotten(self):
        """At a steady load without refusals nothing is left of it."""
        chance = self.proved()
        for _ in range(3000):
            chance.saw(refused=False)
        assert chance.share == 0
        assert not chance.expects(3100, 3100, safe=True)

    def test_a_share_found_in_the_search_is_one_of_all_that_was_asked(self):
        """One refused of 42, two more of three admitted: one in 44, not one in three."""
        chance = RandomRefusals()
        chance.open(42, 45, 1, [])
        assert [chance.count_sample(refused=False) for _ in range(2)] == [None, True]
        assert chance.share == pytest.approx(1 / 44)

    def test_a_search_that_meets_a_limit_is_over(self):
        """Two of the three that are out are refused too, one of them before the first refusal came."""
        chance = RandomRefusals()
        chance.open(42, 45, 2, [False])
        assert chance.count_sample(refused=True) is False
        assert chance.share == 0
        assert not chance.is_open

    @pytest.mark.parametrize(("after", "random"), [((True, True, True), True), ((False, False, True), False)])
    def test_what_is_decided_already_may_be_the_whole_sample(self, after, random):
        """Answers overtake each other: else a sample of which none is out would stay open, and none follow."""
        chance = RandomRefusals()
        assert chance.open(328, 331, 40, after) is random
        assert (chance.share > 0) is random
        assert not chance.is_open

    @pytest.mark.parametrize(("number", "random"), [(2, True), (42, False)])
    def test_half_of_a_sample_decides_at_the_very_beginning(self, number, random):
        """Two of four refused: a limit lets none of the first six through, but a few of a search that runs into it."""
        chance = RandomRefusals()
        chance.open(number, number + 4, 1, [])
        assert [chance.count_sample(refused=refused) for refused in (True, False)] == [None, None]
        verdicts = [chance.count_sample(refused=refused) for refused in (True, False)]
        assert next(verdict for verdict in verdicts if verdict is not None) is random

    def test_a_sample_that_was_decided_before_the_refusal_came_slows_nothing(self):
        """The first share was taken back, and the requests behind the next refusal were all admitted before it."""
        scene = Scene(
            2000,
            latency_s=0.5,
            noise=0.1,
            broken=0.15,
            tells=False,
            limits=Limits(concurrency=2_000, search_level=True),
        )
        assert run(scene, 84001).end_s < 60
