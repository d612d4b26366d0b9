"""Other jobs at the same limit: found by their effect, and given way to until all have about the same. Pure arithmetic.

A limit of our own refuses nothing at a pace that it was measured to admit. If it does, others use it up. Then each
refusal takes a share of the pace and each second brings some back, at a low pace no less than at a high one: a job with
a larger share is refused more often, so that jobs at one limit come to rest near equal shares, with few refusals.
"""

from __future__ import annotations

import math

CUT = 0.15
"""Share of the pace that a refusal takes; none if nothing was admitted since the last ("200 a clock 10 s")."""
RISE = 0.0065
"""Share that a second without a refusal brings back: with `CUT`, 1.7 % are refused where four jobs share 1,200 RPM."""
STEEP_BELOW, STEEPEST = 2.2, 3.0
"""Below so many requests a second the rise is as much steeper as the pace is lower, up to the second: who began with
next to nothing soon has his share ("8 at 1,200 RPM")."""
PAUSED = 3
"""Requests that are left out after a refusal at such a pace: the next one would find the bucket as empty ("4 at 300k
TPM")."""
DOUBLES_S, DOUBLES_AFTER = 20.0, 5.0
"""The rise is twice as steep after so many seconds without a refusal, or requests where that takes longer: it reaches
what others have left ("8 at 1,200 RPM")."""
MOST_S, MOST_STEP = 3.0, 0.25
"""Seconds that one step makes up for, unless requests are rarer, and the greatest step."""
EVIDENCE, SURE, FADES = 1.5, 20, 300
"""Refusals at a pace that was measured as safe which show that there are others ("600 RPM, strict seconds" has one now
and then). One counts in full where the second, in requests, were measured, else in part; half of what was counted is
left after the third. A refusal above that pace says nothing: a job at next to nothing is refused there as often."""
LONG_ENOUGH, SETTLED_S, HELD = 60, 5.0, 300
"""Refusals tell of others after so many requests and seconds, unless the pace has held for the third ("3,000 RPM")."""
FELL = 0.9
"""A cut that is no lower than this share of the one before is none to suspect chance by: where others are, each burst
is refused ("8 at 1,200 RPM")."""
SAME = 4
"""Measurements in a row with the same result which show that there are none, or no more ("300k TPM")."""
LEAST_PER_S = 0.25
"""Requests a second below which a measurement is too coarse to tell ("10 RPM, bucket of one")."""


class Neighbours:
    """`present` while others seem to use the limit; paces are in requests per second."""

    __slots__ = ("_evidence", "_lowest", "_same", "present")

    def __init__(self) -> None:
        self.present = False
        self._evidence, self._same = 0.0, 0
        self._lowest = math.inf

    def refused(self, per_s: float, since: float, measured: float, *, tells: bool) -> None:
        """Count a refusal, after `since` admitted requests. `tells`: it says something about others.

        `measured`: how many requests have shown that the pace is safe; 0 if none have.
        """
        self._evidence = self._evidence * 0.5 ** (since / FADES) + min(1.0, measured / SURE)
        if tells and per_s >= LEAST_PER_S and measured and self._evidence >= EVIDENCE:
            self.present, self._same = True, 0

    def set(self, present: bool) -> None:
        """Take over what a trial has found."""
        self.present, self._evidence, self._same = present, 0.0, 0

    def measured(self, *, same: bool) -> None:
        """Count a measurement: a limit of our own measures the same again and again."""
        self._same = self._same + 1 if same else 0
        if self._same >= SAME:
            self.set(False)

    def fell(self, pace: float) -> bool:
        """Whether a cut went well below the one before."""
        fell, self._lowest = pace < FELL * self._lowest, pace
        return fell

    @staticmethod
    def step(step_s: float, since_s: float, per_s: float) -> float:
        """Share by which the pace rises, `step_s` seconds after the last step and `since_s` after the last refusal."""
        doubled = since_s / max(DOUBLES_S, DOUBLES_AFTER / per_s)
        steep = min(STEEPEST, max(1.0, STEEP_BELOW / per_s))
        return min(MOST_STEP, RISE * steep * min(step_s, max(MOST_S, 1 / per_s)) * (1 + doubled))

    @staticmethod
    def pause_s(per_s: float) -> float:
        """Seconds for which nothing is sent after a refusal."""
        return PAUSED / per_s if per_s < STEEP_BELOW else 0.0
