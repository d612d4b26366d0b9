"""Other jobs at the same limit: found by their effect, and given way to until all have about the same. Pure arithmetic.

A limit of our own refuses nothing at a pace that it was measured to admit. If it does, others use it up. Then each
refusal takes a share of the pace and each second brings some back, whatever the pace: a job with a larger share is
refused more often, so that jobs at one limit come to rest near equal shares, with few refusals.
"""

from __future__ import annotations

import math

CUT = 0.15
"""Share of the pace that a refusal takes; none if nothing was admitted since the last ("200 a clock 10 s")."""
RISE = 0.01
"""Share that a second without a refusal brings back: with `CUT`, 2 % are refused where four jobs share 1,200 RPM."""
DOUBLES_S, DOUBLES_AFTER = 20.0, 5.0
"""The rise is twice as steep after so many seconds without a refusal, or requests where that takes longer: it reaches
what others have left ("8 at 1,200 RPM")."""
MOST_S, MOST_STEP = 3.0, 0.25
"""Seconds that one step makes up for, unless requests are rarer, and the greatest step."""
REFUSED_AT_SAFE = 2
"""Refusals in a row at a pace that was measured as safe which show that there are others ("600 RPM, strict seconds" has
one now and then)."""
SAME = 4
"""Measurements in a row with the same result which show that there are none, or no more ("300k TPM")."""
LEAST_PER_S = 0.25
"""Requests a second below which a measurement is too coarse to tell ("10 RPM, bucket of one")."""


class Neighbours:
    """`present` while others seem to use the limit; paces are in requests per second."""

    __slots__ = ("_lowest", "_refused", "_same", "present")

    def __init__(self) -> None:
        self.present = False
        self._refused = self._same = 0
        self._lowest = math.inf

    def refused(self, per_s: float, *, safe: bool, tells: bool) -> None:
        """Count a refusal; `safe`: the pace was measured as safe. `tells`: the refusal says something about others."""
        self._refused = self._refused + 1 if safe else 0
        if tells and per_s >= LEAST_PER_S and self._refused >= REFUSED_AT_SAFE:
            self.present, self._same = True, 0

    def set(self, present: bool) -> None:
        """Take over what a trial has found."""
        self.present, self._refused, self._same = present, 0, 0

    def measured(self, *, same: bool) -> None:
        """Count a measurement: a limit of our own measures the same again and again."""
        self._same = self._same + 1 if same else 0
        if self._same >= SAME:
            self.set(False)

    def fell(self, pace: float) -> bool:
        """Whether a cut went below the one before."""
        fell, self._lowest = pace < self._lowest, pace
        return fell

    @staticmethod
    def step(step_s: float, since_s: float, per_s: float) -> float:
        """Share by which the pace rises, `step_s` seconds after the last step and `since_s` after the last refusal."""
        doubled = since_s / max(DOUBLES_S, DOUBLES_AFTER / per_s)
        return min(MOST_STEP, RISE * min(step_s, max(MOST_S, 1 / per_s)) * (1 + doubled))
