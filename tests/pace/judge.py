"""Plays a case and says what came of it."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from dataclasses import dataclass

from tests.pace.world import LONGEST_S, ours, run

CRAWL_PER_S, CRAWL_S = 0.5, 30.0
"""A job that has rows to send does not go below this pace for so long without a refusal."""


@dataclass
class Verdict:
    """Means over the seeds. `ratio`: the slowest seed's end over the median's; `spread`: greatest over least share."""

    util: float
    refused: float
    lost: float
    ratio: float
    end_s: float
    least: float
    spread: float = 1.0
    crawled_s: float = 0.0


_IDEAL = {}


def ideal(scene, seed):
    """Return when the ideal sender had 99 % of the rows."""
    key = repr(scene), seed
    if key not in _IDEAL:
        _IDEAL[key] = run(scene, seed, ideal=True).t99_s
    return _IDEAL[key]


def judge(scene, seeds=range(1, 6), policy=ours, times=math.inf):
    """Play the scene with each of the seeds, for at most so many times as long as the ideal sender takes."""
    seen = [run(scene, seed, policy=policy, longest_s=min(LONGEST_S, times * ideal(scene, seed))) for seed in seeds]
    utils = [ideal(scene, seed) / one.t99_s for seed, one in zip(seeds, seen, strict=True)]
    ends_s = [one.end_s for one in seen]
    return Verdict(
        util=statistics.mean(utils),
        refused=statistics.mean(one.refused_share for one in seen),
        lost=statistics.mean(one.rows - one.done for one in seen),
        ratio=max(ends_s) / statistics.median(ends_s),
        end_s=statistics.median(ends_s),
        least=min(utils),
        spread=max(_spread(one) for one in seen),
        crawled_s=max(max(_crawled_s(job) for job in one.jobs or [one]) for one in seen),
    )


def _spread(seen):
    """Rows of the luckiest job over those of the unluckiest, while all are at work; one that leaves early aside."""
    if not seen.jobs:
        return 1.0
    jobs = [job for job in seen.jobs if 2 * job.rows > max(other.rows for other in seen.jobs)]
    since_s, until_s = max(job.began_s for job in jobs), min(job.end_s for job in jobs)
    done = [bisect_left(job.done_at, until_s) - bisect_left(job.done_at, since_s) for job in jobs]
    return max(done) / max(1, min(done))


def _crawled_s(seen):
    """Longest time without a refusal in which fewer than half a request a second was sent, until 99 % were done: later
    a single row that is sent again is no slow pace."""
    longest_s, began_s = 0.0, None
    last_sent_s = min(seen.t99_s, seen.sent_at[-1] if seen.sent_at else 0.0)
    refused, sent = seen.refused_at, seen.sent_at
    for at_s in range(math.ceil(seen.began_s), int(last_sent_s - 10.0)):
        count = bisect_left(sent, at_s + 10.0) - bisect_left(sent, at_s)
        if count < 10.0 * CRAWL_PER_S and bisect_left(refused, at_s + 10.0) == bisect_left(refused, at_s):
            began_s = at_s if began_s is None else began_s
            longest_s = max(longest_s, at_s + 10.0 - began_s)
        else:
            began_s = None
    return longest_s


def passes(case, found):
    """Whether the aim is met."""
    return (
        found.util >= case.util
        and found.refused <= case.refused
        and not found.lost
        and (case.worst is None or found.ratio <= case.worst)
        and (not case.fair or (found.spread <= 2.0 and found.crawled_s < CRAWL_S))
    )
