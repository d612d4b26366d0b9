"""What it shows of a limit that nothing was admitted for a while. Pure arithmetic.

Once, somebody else may have used the limit up. If it happens again soon, our pace has caused it, as with a ban. Each
time the provider's bucket was full when it admitted again: what passed until the first refusal is the size of the
bucket, and the rate times the seconds. So two such times of unlike length show the rate.
"""

from __future__ import annotations

import math

DEAR, PROVOKED, PROVED = 20, 0.8, 0.97
"""So many times as long as nothing was admitted the pace is not raised ("600 RPM, at once"), if that happened again
within as long. Then the second of the pace of before is used, or the third of the rate that two times have shown."""
UNLIKE, FEWEST = 0.2, 5
"""By this share of the later one, and so many requests, two times have to differ ("600 RPM, at once, not prolonged",
"10 RPM, bucket of one, refusals count")."""
SLOWER, AT_ONCE_S = 0.67, 5.0
"""The first time, where nothing is measured, the pace is the first of what was admitted per second before, but in the
second at least, since a search uses up a bucket at once ("60 RPM, after five"). Nor is the rate that two times show
below the first of what was admitted per second in the later one: a bucket that runs over while the pace is low makes
the other one too short, and a pace far too low stays for long ("600 RPM, at once")."""


class Closings:
    """Of one quantity; `admitted` arguments are its running totals. `began` is called when requests pass again."""

    __slots__ = ("_admitted", "_before", "_began_s", "_passed")

    def __init__(self, now_s: float) -> None:
        self._before: tuple[float, float] | None = None  # seconds and admitted until the first refusal, the time before
        self.began(now_s, 0.0)

    def began(self, now_s: float, admitted: float) -> None:
        """Count from now on."""
        self._began_s, self._admitted = now_s, admitted
        self._passed: tuple[float, float] | None = None  # the same of this time, None until it comes

    def refused(self, sent_s: float, admitted: float) -> None:
        """Note the first refusal."""
        if self._passed is None:
            self._passed = sent_s - self._began_s, admitted - self._admitted

    def opened(self, now_s: float, closed_s: float, admitted: float, unit: float = 1.0) -> tuple[float, float | None]:
        """Requests pass again, after `closed_s` seconds: return the most that the rate may be, and what it is found to
        be; the second is infinite where our pace caused it and the rate is unknown, None where that is not known."""
        before, passed, since_s = self._before, self._passed, now_s - closed_s - self._began_s
        self._before = passed
        self.began(now_s, admitted)
        if passed is None:
            return math.inf, None
        span_s, got = passed
        if before is None or since_s >= DEAR * closed_s:
            return SLOWER * got / max(AT_ONCE_S, span_s), None
        most = (got + 0.5 * unit) / max(1e-6, span_s)  # by half a request more than were counted, as a mean
        if abs(span_s - before[0]) > UNLIKE * span_s and abs(got - before[1]) >= FEWEST * unit:
            rate = (got - before[1]) / (span_s - before[0])
            if 0 < rate < most:
                return most, PROVED * max(rate, SLOWER * most)
        return most, math.inf
