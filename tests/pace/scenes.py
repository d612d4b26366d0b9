"""The scenes that a pacer is judged by: families of providers and jobs, several members of each, and what is aimed at.

A member differs from its brothers in rate, burst, latency, size of rows, state at the start, or mix. `util` is the
ideal's time for 99 % of the rows over the pacer's, mean over the seeds; `refused` the share of rate-limited answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from batchgen.pace.values import Limits
from batchgen.values import Throttle
from tests.pace.provider import Scene

FREE = Limits(concurrency=100_000)
FOUND = Limits(concurrency=2_000, search_level=True)
C64 = Limits(concurrency=64)


@dataclass(frozen=True)
class Case:
    """A scene and its aim. `worst`: the slowest of 30 seeds takes at most so many times what the median takes.

    `fair`: jobs that share an account get shares within a factor of two, and none crawls without a refusal.
    """

    family: str
    name: str
    scene: Scene
    util: float = 0.0
    refused: float = 1.0
    worst: float | None = None
    fair: bool = False

    @property
    def seeds(self):
        """Return the seeds that it is judged by: the shorter the job, the more one differs from the other, and a ban
        more or less takes a tenth of the time."""
        return range(1, 1 + (30 if self.worst or self.family == "bans" else max(5, 2_000 // self.scene.rows)))


def _rpm(rows, rpm, **more):
    return Scene(rows, rpm=[(0, rpm)], **{"tells": False, "limits": FREE, **more})


def _given(rpm, concurrency=64):
    return Limits(concurrency=concurrency, requests_per_minute=rpm)


_SLOW = {"attempts": 6, "limits": C64}
_CHANCE = {"tells": False, "noise_as": Throttle.OVERLOAD, "limits": C64}
_SHARED = {"util": 0.92, "refused": 0.05, "fair": True}

CASES = [
    # One honest limit.
    Case("one limit", "600 RPM, strict seconds", _rpm(6_000, 600, tells=True), 0.94, 0.03),
    Case("one limit", "1,200 RPM, burst 10 s, refusals count", _rpm(12_000, 1_200, burst_s=10, eats=True), 0.94, 0.03),
    Case("one limit", "300k TPM", Scene(5_000, tpm=[(0, 300_000)], burst_s=5, limits=FREE), 0.94, 0.03),
    Case(
        "one limit",
        "1,200 to 300 to 2,400 RPM",
        Scene(16_000, rpm=[(0, 1_200), (120, 300), (360, 2_400)], burst_s=2, limits=FREE, tells=False),
        0.94,
        0.03,
    ),
    Case("one limit", "cap of 50", Scene(6_000, cap=[(0, 50)], tells=False, limits=FREE), 0.94, 0.03),
    Case(
        "one limit",
        "10 RPM, bucket of one",
        Scene(150, rpm=[(0, 10)], burst_s=0.1, limits=FREE, tells=False),
        0.86,
        0.15,
    ),
    Case(
        "one limit",
        "10 RPM, bucket of one, refusals count",
        Scene(150, rpm=[(0, 10)], burst_s=0.1, eats=True, limits=FREE),
        0.7,
        0.15,
    ),
    # Slow servers of one's own.
    Case("slow own server", "1 slot of 20 s", Scene(100, slots=(1, 20.0), **_SLOW), 0.8),
    Case("slow own server", "4 slots of 20 s", Scene(300, slots=(4, 20.0), **_SLOW), 0.8),
    Case("slow own server", "16 slots of 100 s", Scene(400, slots=(16, 100.0), **_SLOW), 0.8),
    Case("slow own server", "thrashes above 48", Scene(1_000, thrash=(48, 30.0), latency_s=11.0, **_SLOW), 0.75),
    Case(
        "slow own server",
        "thrashes above 20, level found",
        Scene(1_000, thrash=(20, 10.0), latency_s=4.0, attempts=6, limits=FOUND),
        0.75,
    ),
    # 503, or any other word for "I am full".
    Case("503 as full", "cap of 16", Scene(3_000, cap=[(0, 16)], tells=Throttle.OVERLOAD, limits=C64), 0.99, 0.02),
    Case("503 as full", "600 RPM", _rpm(4_000, 600, tells=Throttle.OVERLOAD, limits=C64), 0.99, 0.02),
    Case("503 as full", "cap of 4, unknown kind", Scene(800, cap=[(0, 4)], tells=False, limits=C64), 0.96, 0.03),
    Case(
        "503 as full",
        "cap of 100, level found",
        Scene(8_000, cap=[(0, 100)], tells=Throttle.OVERLOAD, limits=FOUND),
        0.94,
        0.02,
    ),
    Case(
        "503 as full",
        "3,000 RPM, burst 5 s",
        _rpm(10_000, 3_000, burst_s=5, tells=Throttle.OVERLOAD, limits=FREE),
        0.95,
        0.02,
    ),
    # Overloaded at random.
    Case("overloaded by chance", "5 %, 0.5 s", Scene(2_000, latency_s=0.5, noise=0.05, **_CHANCE), worst=3),
    Case("overloaded by chance", "10 %, 0.5 s", Scene(3_000, latency_s=0.5, noise=0.1, **_CHANCE), worst=3),
    Case("overloaded by chance", "15 %, 1 s", Scene(2_000, latency_s=1.0, noise=0.15, **_CHANCE), worst=3),
    Case("overloaded by chance", "10 %, short", Scene(300, noise=0.1, **_CHANCE), worst=3),
    Case("overloaded by chance", "10 %, level found", Scene(3_000, noise=0.1, tells=False, limits=FOUND), worst=3),
    Case(
        "overloaded by chance",
        "12 %, 2 s, 8 in flight",
        Scene(800, latency_s=2.0, noise=0.12, **{**_CHANCE, "limits": Limits(concurrency=8)}),
        worst=3,
    ),
    # Several jobs on one account.
    Case("several jobs", "4 at 1,200 RPM", _rpm(12_000, 1_200, burst_s=2, jobs=4), **_SHARED),
    Case(
        "several jobs",
        "4 at 300k TPM",
        Scene(5_000, tpm=[(0, 300_000)], burst_s=5, tells=False, jobs=4, limits=FREE),
        **_SHARED,
    ),
    Case("several jobs", "4 at a cap of 50", Scene(8_000, cap=[(0, 50)], tells=False, jobs=4, limits=C64), **_SHARED),
    Case("several jobs", "4 at a cap of 50, told", Scene(8_000, cap=[(0, 50)], jobs=4, limits=C64), **_SHARED),
    Case("several jobs", "8 at 1,200 RPM", _rpm(12_000, 1_200, burst_s=2, jobs=8), **_SHARED),
    Case("several jobs", "2 at 600 RPM, strict", _rpm(6_000, 600, jobs=2, tells=True), **_SHARED),
    Case(
        "several jobs", "3 at 3,000 RPM, level found", _rpm(20_000, 3_000, burst_s=10, jobs=3, limits=FOUND), **_SHARED
    ),
    Case("several jobs", "4 at 1,200 RPM, one late", _rpm(14_000, 1_200, burst_s=2, jobs=4, late_s=180), **_SHARED),
    Case("several jobs", "4 at 1,200 RPM, one leaves", _rpm(14_000, 1_200, burst_s=2, jobs=4, leaves=500), **_SHARED),
    Case(
        "several jobs",
        "3 at 300k TPM, one late",
        Scene(6_000, tpm=[(0, 300_000)], burst_s=5, tells=False, jobs=3, late_s=120, limits=FREE),
        **_SHARED,
    ),
    Case(
        "several jobs",
        "4 at a cap of 50, told, one late",
        Scene(9_000, cap=[(0, 50)], jobs=4, late_s=120, limits=C64),
        **_SHARED,
    ),
    Case(
        "several jobs",
        "4 at a cap of 50, told, one leaves",
        Scene(9_000, cap=[(0, 50)], jobs=4, leaves=500, limits=C64),
        **_SHARED,
    ),
    # A door that is shut for a while.
    Case("a door shut", "30 s of 600 RPM", _rpm(1_500, 600, refuse_all=(40, 70), latency_s=1.0), 0.8),
    Case(
        "a door shut",
        "minute used up by others",
        Scene(2_400, window=(600, 40.0), used_up=(2,), tells=False, latency_s=1.0, limits=C64),
        0.8,
    ),
    Case("a door shut", "50 s of 1,200 RPM, given", _rpm(2_400, 1_200, refuse_all=(20, 70), limits=_given(1_200)), 0.8),
    Case(
        "a door shut", "20 s, no limit", Scene(6_000, refuse_all=(10, 30), latency_s=0.5, tells=False, limits=C64), 0.8
    ),
    Case("a door shut", "100 s of 3,000 RPM", _rpm(9_000, 3_000, refuse_all=(60, 160), burst_s=2), 0.8),
    Case("a door shut", "from the start, 40 s", _rpm(600, 600, refuse_all=(0, 40), latency_s=0.5), 0.8),
    Case(
        "a door shut",
        "first minute used up",
        Scene(200, window=(150, 40.0), used_up=(0,), tells=False, latency_s=0.5, limits=C64),
        0.8,
    ),
    Case("a door shut", "overloaded for 30 s", _rpm(3_000, 1_200, overload=(30, 60), latency_s=2.0), 0.8),
    # Bans.
    Case(
        "bans", "3 RPM, refusals count", Scene(20, rpm=[(0, 3)], eats=True, burst_s=60, latency_s=2.0, limits=C64), 0.3
    ),
    Case("bans", "600 RPM, at once, prolonged", _rpm(9_000, 600, burst_s=5, ban=(1, 60.0, True), limits=C64), 0.7),
    Case("bans", "600 RPM, at once, not prolonged", _rpm(9_000, 600, burst_s=5, ban=(1, 60.0, False), limits=C64), 0.7),
    Case("bans", "600 RPM, after ten, prolonged", _rpm(5_000, 600, burst_s=5, ban=(10, 60.0, True), limits=C64), 0.8),
    Case(
        "bans",
        "600 RPM, after ten, not prolonged",
        _rpm(5_000, 600, burst_s=5, ban=(10, 60.0, False), limits=C64),
        0.86,
    ),
    Case(
        "bans",
        "60 RPM, after five, refusals count",
        _rpm(600, 60, burst_s=10, eats=True, ban=(5, 60.0, True), limits=C64),
        0.75,
    ),
    # The level in flight is found.
    Case("no concurrency given", "1,200 RPM", _rpm(12_000, 1_200, limits=FOUND, tells=True), 0.94, 0.03),
    Case("no concurrency given", "3,000 RPM", _rpm(30_000, 3_000, limits=FOUND), 0.94, 0.03),
    Case("no concurrency given", "10,000 RPM", _rpm(60_000, 10_000, limits=FOUND), 0.94, 0.03),
    Case("no concurrency given", "100 slots of 5 s", Scene(4_000, slots=(100, 5.0), limits=FOUND), 0.9, 0.03),
    # Windows.
    Case("windows", "600 a sliding minute", Scene(3_000, sliding=(600, 60.0), tells=False, limits=FREE), 0.95, 0.04),
    Case("windows", "100 a sliding 10 s", Scene(3_000, sliding=(100, 10.0), tells=False, limits=FREE), 0.95, 0.04),
    Case("windows", "600 a clock minute", Scene(3_000, window=(600, 40.0), tells=False, limits=FREE), 0.95, 0.04),
    Case(
        "windows",
        "200 a clock 10 s",
        Scene(5_000, window=(200, 4.0), window_s=10.0, tells=False, limits=FREE),
        0.95,
        0.04,
    ),
    Case(
        "windows",
        "1,200 a clock minute, refusals count",
        Scene(7_200, window=(1_200, 20.0), eats=True, tells=False, limits=FREE),
        0.95,
        0.04,
    ),
    Case("windows", "60 a clock minute", Scene(360, window=(60, 30.0), tells=False, limits=FREE), 0.85, 0.08),
    # Both limits bind.
    Case(
        "requests and tokens",
        "5 % long rows",
        Scene(4_000, rpm=[(0, 600)], tpm=[(0, 600_000)], long=(0.05, 10.0), tells=False, limits=FREE),
        0.8,
        0.05,
    ),
    Case(
        "requests and tokens",
        "5 % very long rows, burst 5 s",
        Scene(3_000, rpm=[(0, 600)], tpm=[(0, 800_000)], burst_s=5, long=(0.05, 20.0), tells=False, limits=C64),
        0.8,
        0.05,
    ),
    Case(
        "requests and tokens",
        "2 % long rows, strict, told",
        Scene(3_000, rpm=[(0, 1_200)], tpm=[(0, 1_000_000)], long=(0.02, 15.0), limits=FREE),
        0.8,
        0.05,
    ),
    # What headers say.
    Case("headers", "60 named, 1,200 true", _rpm(12_000, 1_200, headers=True, named=60, burst_s=2), 0.9, 0.03),
    Case("headers", "300 named, 600 true", _rpm(6_000, 600, headers=True, named=300), 0.9, 0.03),
    Case("headers", "remaining, a full minute", _rpm(1_800, 600, headers=True, remaining=True, burst_s=60), 0.9, 0.03),
    Case(
        "headers",
        "remaining, 3,000 RPM, full minute",
        _rpm(9_000, 3_000, headers=True, remaining=True, burst_s=60, limits=FOUND),
        0.9,
        0.03,
    ),
    Case("headers", "named rightly", _rpm(3_000, 600, headers=True), 0.97, 0.01),
    Case(
        "headers", "1,200 to 300 RPM", Scene(3_000, rpm=[(0, 1_200), (60, 300)], headers=True, limits=FREE), 0.95, 0.01
    ),
    # Short jobs.
    *(
        Case("short jobs", f"{rows} rows at 60 RPM", _rpm(rows, 60, limits=C64), 0.8)
        for rows in (5, 10, 20, 50, 100, 200)
    ),
    Case("short jobs", "100 rows at 60 RPM, refusals count", _rpm(100, 60, eats=True, limits=C64), 0.75),
    Case("short jobs", "60 rows at 120 RPM, burst 5 s", _rpm(60, 120, burst_s=5, limits=C64), 0.8),
    # A mock server over sockets has these beside the limit.
    Case(
        "faults by chance",
        "10 % 429, 15 % broken",
        Scene(300, latency_s=0.1, noise=0.1, broken=0.15, tells=False, limits=C64),
        0.0,
        worst=4,
    ),
    Case(
        "faults by chance",
        "10 % 429, 15 % broken, 2,000 rows",
        Scene(2_000, latency_s=0.5, noise=0.1, broken=0.15, tells=False, limits=FOUND),
        0.0,
        worst=4,
    ),
]
"""All scenes, family by family."""

MISSED = {
    "10 % 429, 15 % broken",
    "10 %, level found",
    "4 at a cap of 50",
    "60 RPM, after five, refusals count",
}
"""Names of the scenes whose aims are not met yet."""

MISSED_NOW = pytest.mark.xfail(
    strict=True,
    reason="who makes room for other jobs at his limit has a little more refused, or is slower, where he is alone",
)
"""Marks bounds of one job alone that the pace met before it made room for others, and misses by a little now."""
