"""A limit of so many requests per window: it admits a burst, then nothing until the window ends. Pure arithmetic.

A window shows itself by closing after the same number of requests twice in a row, at unlike paces: a bucket admits more
at a lower pace. From then on each window is used up at once, at the pace of the burst before (a sliding window
frees its places in the shape in which they were taken), and nothing is sent until the next one is due.
"""

from __future__ import annotations

import math

from batchgen.pace.rate_limit import RateLimit
from batchgen.pace.values import Ticket

SAME, UNLIKE = 0.03, 0.1
"""Windows differ by no more than this share in what they admit, at paces that differ by more than the second: at one
pace a bucket admits the same again, too ("600 RPM, at once")."""
TRUSTED = 4
"""So many windows with a known count, the last one not, are taken to admit no more ("60 a clock minute")."""
SHORT, SLOWER = 0.15, 0.67
"""Share of the time until it opened again in which a first burst was used up, so that it may have been a window; then
the second one is sent at so much of the pace, and as much later as the first one took, since that began slowly ("600 a
sliding minute")."""
FEWEST = 20
"""Requests admitted in a window of which the share above means anything; fewer are sent evenly ("10 RPM")."""
USED = 0.75
"""Greatest share of a window in which it was used up: at a pace that takes longer, little is gained by using it up at
once ("200 a clock 10 s"), and what admits for longer than a window lasts is none ("60 RPM, after five")."""
LENGTHS_S = (10.0, 30.0, 60.0)
"""Lengths that windows have: while one is looked for, each is tried after a burst began ("600 a sliding minute")."""
LATE_S = 0.05
"""So long after a window is due it is tried: clocks and networks jitter."""
GAP = 1 / 30
"""Share of a window by which the time of its end may stay unknown ("600 a clock minute")."""


class Window:
    """`count` requests are admitted per window, 0 while none is known; `end` is the number of the last one to send.

    `admitted` arguments are running totals of requests.
    """

    __slots__ = (
        "_admitted", "_before", "_before_per_s", "_began_s", "_closed_s", "_gap_s", "_length_s", "_more", "_pace",
        "_used", "_used_s", "count", "end",
    )  # fmt: skip

    def __init__(self, now_s: float) -> None:
        self.count = 0
        self.end = math.inf
        self._began_s = self._used_s = now_s  # when this window's first request was sent, and when it was used up
        self._closed_s = now_s  # when the window was seen to admit nothing, the last time
        self._admitted = self._before = 0  # in all when it began, and in the window before
        self._before_per_s = 1.0  # the pace at which the window before was used up
        self._length_s = self._gap_s = self._pace = 0.0  # while no window is known, it is longer than `_length_s`
        self._used = 0  # windows with a known count that were used up
        self._more = 1  # requests to try where it admits more than the one before

    def used_up(self, now_s: float, *, seen: bool = False) -> None:
        """Take this window to be used up; `seen`: requests in a row were refused."""
        self.end = math.inf
        self._used_s = now_s
        if seen:
            self._closed_s = now_s

    def sent_all(self, now_s: float, wait_until_s: float) -> float:
        """As many were sent as the window admits: return when to send the probe, by default `wait_until_s`.

        Early, it shows whether the window admits more; most times it is due when the next window is.
        """
        self._used += 1
        return self._due_s(now_s, wait_until_s) if self.count and self._used % TRUSTED else wait_until_s

    def closed(self, now_s: float, sent_s: float, wait_until_s: float, admitted: int) -> float:
        """A probe sent at `sent_s` was refused: return when to send the next one, by default `wait_until_s`."""
        self._closed_s = max(self._closed_s, sent_s)
        used_up = self._same(admitted - self._admitted)
        if self.count and used_up:
            return self._due_s(now_s, wait_until_s)
        tries = (self._began_s + length_s + LATE_S for length_s in LENGTHS_S if self.count or length_s > self._length_s)
        next_s = next((at_s for at_s in tries if at_s > sent_s), math.inf)
        if used_up and next_s < math.inf:
            return max(now_s, next_s)
        return max(now_s, min(next_s, wait_until_s))

    def _due_s(self, now_s: float, wait_until_s: float) -> float:
        """Return when the next window is due. Where that is not known exactly, the time left is halved, so that each
        window begins a little nearer to it."""
        due_s = self._began_s + self._length_s
        middle_s = (self._closed_s + due_s) / 2
        if due_s - self._closed_s > GAP * self._length_s and middle_s > now_s:
            return middle_s
        return due_s + LATE_S if due_s + LATE_S > now_s else wait_until_s

    def opened(self, now_s: float, probe: Ticket, admitted: int, rate: RateLimit) -> None:
        """Begin a window with the probe that was admitted, and set the pace; `admitted` does not count the probe."""
        sent_s = probe.sent_s
        got, count = admitted - self._admitted, self.count
        burst_s = max(LATE_S, self._used_s - self._began_s)
        if self._closed_s < self._used_s and not count:  # expected to be used up, and was not: no window
            self.end = math.inf
            return
        if count and sent_s < self._began_s + self._length_s / 2:  # it admits more than the one before
            self.end = probe.number + max(self._more, count - got)
            self._more *= 2
            self._began_s += sent_s - self._used_s  # so much later than the burst before, from now on
            rate.go_at(now_s, self._pace, math.inf)
            return
        length_s = sent_s - self._began_s
        window_s = (
            self._length_s if count else max((known for known in LENGTHS_S if known <= length_s), default=length_s)
        )
        pause_s, per_s = 0.0, got / burst_s
        unlike = abs(per_s / self._before_per_s - 1) > UNLIKE
        if self._same(got) and burst_s <= USED * window_s and (count or unlike):
            if not count:
                self._pace, self._length_s, self._used = per_s, window_s, 0
                self._closed_s = max(self._closed_s, self._began_s + self._length_s - self._gap_s)
            self.count = got
            rate.go_at(now_s, self._pace, math.inf)
        elif got >= FEWEST or not count:  # else somebody else has used it up
            self.count = 0
            if count:
                rate.go_at(now_s, count / self._length_s, got)
            elif got >= FEWEST and not self._before and burst_s <= SHORT * length_s:
                rate.go_at(now_s, SLOWER * per_s, got)
                rate.next_s, pause_s = now_s + burst_s, burst_s
                self.end = probe.number + got - 1
        if got >= FEWEST:
            self._before, self._before_per_s = got, per_s
        self._gap_s = sent_s - self._closed_s
        if self.count:
            self._closed_s += self._length_s
            self.end = probe.number + self.count - 1
        else:
            self._length_s = self._closed_s - self._began_s
        self._began_s, self._admitted, self._more = sent_s + pause_s, admitted, 1

    def _same(self, got: int) -> bool:
        return got >= FEWEST and abs(got - self._before) <= SAME * got
