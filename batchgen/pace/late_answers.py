"""How many requests a slow server answers in time: a bound on what is in flight, found by time-outs. Pure arithmetic.

A server with one slot, or one GPU, queues what it is sent: with 64 in flight and 20 s an answer, most requests time out
in its queue, are paid for with work, and are sent again. By Little's law a queue that is answered in time holds no more
than the answers per second times the deadline. So when many of the last attempts were too late, and the typical one
took more than half the deadline, no more are in flight than the best rate of answers seen times half the deadline.
Latency alone is no such sign: honest slow models would be driven down to one request at a time.
"""

from __future__ import annotations

import math
from collections import deque

RECENT = 64
"""Attempts that are looked at."""
LATE_SHARE = 0.1
"""More than this share of them too late: the server does not keep up, it is no single hung call."""
RATE_ANSWERS, FEWEST_ANSWERS = 20, 4
"""Answers over which their rate is measured, and the fewest that measure it."""
GROWN = 1.05
"""The bound is raised only while the rate of answers grows with it, by this factor at least."""
BACK = 0.7
"""Share of what was in flight that is tried next where the rate of answers promised more."""
STEP = 1.25
"""One step of the bound."""


class LateAnswers:
    """Bounds what is in flight while a server answers too late. `limit` is infinite until then."""

    __slots__ = ("_answered_s", "_best_per_s", "_rate_then", "_set_at", "_since", "_took_s", "limit")

    def __init__(self) -> None:
        self.limit = math.inf
        self._took_s: deque[float] = deque(maxlen=RECENT)  # of recent attempts; too late counts as infinite
        self._answered_s: deque[float] = deque(maxlen=RATE_ANSWERS)
        self._best_per_s = 0.0
        self._set_at = 0  # number of the last request sent before the bound was set: time-outs up to it are old news
        self._since = 0  # answers at the bound since it was set
        self._rate_then = 0.0  # answers per second when it was set

    def answered(self, now_s: float, took_s: float, in_flight: int, last: int) -> None:
        """Count an answer to a request that was one of `in_flight`; `last` is the number of the last request sent."""
        self._took_s.append(took_s)
        times = self._answered_s
        times.append(now_s)
        if self.limit == math.inf:
            return
        rate = self._rate_per_s()
        self._best_per_s = max(self._best_per_s, rate)
        if in_flight < self.limit:
            return
        self._since += 1
        if self._since >= 2 * self.limit:
            self._since = 0
            if rate >= GROWN * self._rate_then:
                self.limit, self._rate_then, self._set_at = math.ceil(STEP * self.limit), rate, last

    def late(self, number: int, last: int, in_flight: int, deadline_s: float) -> None:
        """Count a request, one of `in_flight`, that got no answer in `deadline_s` seconds.

        If the server does not keep up, what is in flight is bounded from now on.
        """
        took_s = self._took_s
        took_s.append(math.inf)
        if number <= self._set_at:
            return
        late = sum(map(math.isinf, took_s))
        if late <= max(2.0, LATE_SHARE * len(took_s)) or sorted(took_s)[len(took_s) // 2] <= deadline_s / 2:
            return
        self._best_per_s = max(self._best_per_s, self._rate_per_s())
        # Where so many should be answered in time and are not, more in flight make the server slower.
        self.limit = max(1, int(min(self._best_per_s * deadline_s / 2, BACK * in_flight)))
        self._set_at, self._since, self._rate_then = last, 0, self._best_per_s

    def _rate_per_s(self) -> float:
        """Answers per second lately, 0 while too few are known."""
        times = self._answered_s
        if len(times) < FEWEST_ANSWERS or times[-1] <= times[0]:
            return 0.0
        return (len(times) - 1) / (times[-1] - times[0])
