"""A trial of whether refusals come at random: the load is raised and lowered, and their share follows it or not.

The refusals of a limit grow with the load, and go away when it is lowered, also where several jobs share the limit.
Random ones keep their share. Pure arithmetic; requests are known by their number in the run.
"""

from __future__ import annotations

import math
from enum import Enum

RAISED = 40
"""Requests at the raised load ("6 % at 600": fewer tell no limit from ill luck)."""
LEAST_SHARE = 0.05
"""A smaller one is too uncertain to be exceeded ("5 %, 0.5 s")."""
EXPECTED, FEWEST, MOST = 2.5, 30, 150
"""Refusals expected at the lowered load, and the fewest and the most requests that they are looked for among."""
LEAST = 0.4
"""Share of the expected refusals that must come at the lowered load too ("4 at 1,200 RPM": jobs that share a limit make
room for whoever holds his load, but not all of it)."""
RAISED_WEIGHT = 0.7
"""Weight of the share seen at the raised load, where it is greater than the one before the trial."""
NONE = 3.0
"""So many refusals that were expected at the raised load and did not come end the trial ("8 at 1,200 RPM")."""
SKIPPED = 5
"""Requests after a change of the load that are not counted: the limit still feels those before it."""


class Phase(Enum):
    """Where a trial stands."""

    OFF = "off"
    RAISED = "raised"
    LOWERED = "lowered"


class Trial:
    """One trial at a time. `load` is the load to go to next, until `moved` says that it is in force."""

    __slots__ = (
        "_failed",
        "_from",
        "_lowered",
        "_met",
        "_passed",
        "_raised",
        "_raised_share",
        "_rounds_left",
        "_seen",
        "_share",
        "load",
        "phase",
    )

    def __init__(self) -> None:
        self.phase = Phase.OFF
        self.load: float | None = None
        self._share = self._passed = self._failed = self._raised_share = 0.0
        self._lowered: float | None = None
        self._raised = 0.0
        self._rounds_left = 0
        self._from = self._seen = self._met = 0

    def begin(
        self,
        share: float,
        *,
        raised: float | None = None,
        lowered: float | None = None,
        passed: float,
        failed: float,
        rounds: int = 1,
    ) -> None:
        """Try the load `raised`, then `lowered`, where given; then go on at the load `passed` or `failed`."""
        self._share, self._raised_share = share, 0.0
        self._raised, self._rounds_left = raised or 0.0, rounds - 1
        self._lowered, self._passed, self._failed = lowered, passed, failed
        self.phase = Phase.LOWERED if raised is None else Phase.RAISED
        self.load = lowered if raised is None else raised

    def moved(self, last: int) -> None:
        """The load is what was asked for, from the requests after `last` on."""
        self.load = None
        self._from, self._seen, self._met = last + SKIPPED, 0, 0

    def count(self, number: int, *, refused: bool) -> bool | None:
        """Count a request; True if the refusals were found to be random, False if a limit's, None while undecided."""
        if number <= self._from or self.load is not None:
            return None
        self._seen += 1
        self._met += refused
        seen, met, share = self._seen, self._met, self._share
        if self.phase is Phase.RAISED:
            expected = max(share, LEAST_SHARE) * RAISED
            if met > expected + 1.5 * math.sqrt(expected) + 1:
                return self._end(False)
            if not met and share * seen > NONE:  # whatever it was is over
                self._failed = self._raised
                return self._end(False)
            if seen < RAISED:
                return None
            self._raised_share = met / seen
            if self._lowered is None:
                return self._end(True)
            self.phase, self.load = Phase.LOWERED, self._lowered
            return None
        among = min(MOST, max(FEWEST, EXPECTED / share))
        if met > 2 * share * among + 3:  # a limit is still exceeded
            assert self._lowered is not None
            self.load = self._lowered = self._lowered / 2
            self._passed, self._failed = self._passed / 2, self._failed / 2
            return None
        if seen < among:
            return None
        ok = met >= max(1, int(LEAST * max(share, RAISED_WEIGHT * self._raised_share) * among))
        if ok and self._rounds_left:
            self._rounds_left -= 1
            self.phase, self.load = Phase.RAISED, self._raised
            return None
        return self._end(ok)

    def _end(self, passed: bool) -> bool:
        self.phase = Phase.OFF
        self.load = self._passed if passed else self._failed
        return passed

    @property
    def is_on(self) -> bool:
        """Whether a trial is going on."""
        return self.phase is not Phase.OFF
