"""Whole jobs in virtual time whose refusals are no matter of pace: by chance, or of a door that is shut."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batchgen.pace.values import Limits
from tests.pace.provider import Scene
from tests.pace.world import run

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
    def test_by_chance(self, scene: Scene, most_s: float) -> None:
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
            pytest.param(Scene(3000, refuse_all=(10, 50)), 120, id="all from 10 s to 50 s"),
            pytest.param(Scene(200, window=(600, 40.0), used_up=True), 70, id="600 a minute, used up for 40 s"),
            pytest.param(Scene(200, window=(150, 40.0), used_up=True), 130, id="150 a minute, used up for 40 s"),
            pytest.param(Scene(1000, window=(150, 40.0)), 400, id="150 a clock minute"),
        ],
    )
    def test_shut(self, scene: Scene, most_s: float, seed: int) -> None:
        """Once the door is open again the job is back at its pace within seconds."""
        latency_s = 1.0 if scene.rows == 3000 else 0.02
        scene = replace(scene, latency_s=latency_s, refusal_s=(0.02, 0.02), tells=False, limits=Limits(concurrency=64))
        assert run(scene, seed).end_s <= most_s

    def test_shut_from_the_start_is_asked_seldom(self) -> None:
        """Nothing known and all refused for a minute: six requests at a time, at growing intervals."""
        seen = run(replace(QUICK, rows=200, refuse_all=(0, 60)))
        assert seen.refused <= 48

    def test_a_share_once_known_does_not_hide_a_limit(self) -> None:
        """6 % by chance, then 1200 a minute besides: most of what is refused goes away by slowing down."""
        seen = run(replace(QUICK, noise=0.06, latency_s=0.5, rpm=[(0, 60_000), (20, 1200)], rows=6000))
        late = [t for t in seen.refused_at if t > 40]
        assert len(late) <= 0.25 * sum(t > 40 for t in seen.sent_at)
