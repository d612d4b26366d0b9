"""How many requests in flight are of use, found by how long answers take at each level. Pure arithmetic.

By Little's law a server that holds n requests and answers each after t seconds gives n / t answers a second. So a level
that is known to be good is tried a little above: some requests more are sent, once. If they are answered in time, the
level rises; if the server holds them back, it stays, and no more of them are sent until they are back. So a server that
breaks down above some level gets only a few requests above it.

Up to `BEARABLE` requests the level rises by each answer that was in time, and falls if the server gives far fewer
answers a second than it did before. Above, the answers per second have to grow with the level. Until the first answer
has come, `FIRST_LEVEL` requests are sent at once, and then ever faster the others up to `BEARABLE`: answers of a minute
must not make a job wait for long.
"""

from __future__ import annotations

import math
from collections import deque

from batchgen.pace.values import TRIED, Ticket

BEARABLE = 64
"""Requests in flight that hosted services bear; a job that allows more by name is believed ("600 RPM, strict")."""
LEAST_LEVEL, FIRST_LEVEL, FIRST_S = 8, 32, 16.0
"""The level to begin with, the requests in flight that are tried at once above it, and the seconds after which
`BEARABLE` are out, where no answer comes ("thrashes above 48" answers after 11 s)."""
MORE, QUICK_S = 0.2, 1.0
"""Share of the level, up to `BEARABLE`, that is tried above it, since they may be held until their deadline; as many as
the level where answers take no more than the second ("5 %, 0.5 s")."""
SLOWER = 1.25
"""An answer is in time up to so many times as long as the slowest of recent answers took."""
FEW, RECENT, FEWEST = 4, 32, 48
"""Answers that tell first how long one takes, those that tell it later, and the fewest before a step above `BEARABLE`
("remaining, 3,000 RPM, full minute": the first answers are the quickest)."""
LEAST_RATE, ENOUGH = 0.5, 24
"""At less than this share of the best answers per second, judged by so many answers, the level goes back to where they
were best ("thrashes above 20", with latencies that differ)."""
FIRST_STEP, LAST_STEP = 4.0, 1.4
"""Factors of the steps above `BEARABLE`: the first one, and the smallest; a step that brings nothing is followed by its
square root ("10,000 RPM")."""
SHARE = 0.15
"""Share of the growth of the level that the answers per second must follow with there ("100 slots of 5 s")."""
HOLD, LONGEST_HOLD_S = 4.0, 600.0
"""After a step that brought nothing the level rests for so many times as long as its requests were out, above
`BEARABLE` twice as long each time, up to the second."""


class LevelSearch:
    """`limit` is the level: infinite where nothing is sought, or where all that the job allows (`most`) is good."""

    __slots__ = (
        "_all_sent_s", "_answers", "_began_s", "_best", "_due", "_first", "_highest", "_hold", "_judged",
        "_longest_s", "_most", "_next_s", "_risen", "_slowest_s", "_step", "_times_s", "_took_s", "_top",
        "_tried", "_until_s", "_usual_s", "limit",
    )  # fmt: skip

    def __init__(self, *, search: bool, most: int) -> None:
        # What recent answers took at the level, their median and the slowest; their count: now, at the next look, and
        # at the last rise.
        self._times_s: deque[float] = deque(maxlen=RECENT)
        self._usual_s = self._slowest_s = math.inf
        self._answers, self._due, self._risen = 0, FEW, 0
        self._best = (0.0, 0)  # most answers a second, and the level at which they came
        self._highest = self._top = 0  # numbers in flight above the level: the highest answered, and sent
        self._began_s = math.inf  # when the first request above the level could go
        self._next_s = self._until_s = -math.inf
        self._step, self._hold = FIRST_STEP, HOLD
        self.limit: float = math.inf
        self.change(search=search, most=most)

    def change(self, *, search: bool, most: int) -> None:
        """Go on with another bound of the job, or without one: then the level is searched from the first one."""
        self._most = most
        self._first = False  # no answer has told yet how long one takes
        if not search and most > BEARABLE:
            self.limit = math.inf
        elif math.isinf(self.limit):
            self.limit, self._first = LEAST_LEVEL, True
        self._end()
        self._rise(0)

    def guarded(self) -> None:
        """The provider has limits of its own, so that it is no server that breaks down: go to `BEARABLE` at once."""
        if self.limit < BEARABLE:
            self._due = max(self._answers, FEWEST)
            self._first = False
            self._confirm(BEARABLE)

    def full(self, now_s: float, in_flight: int) -> float:
        """The level is reached: return the seconds until one more may go, 0 if it goes to try a higher level."""
        if self.limit >= BEARABLE:
            if self._judged and all(ticket.closed for ticket in self._tried):
                self._until_s = now_s + min(LONGEST_HOLD_S, self._hold * (now_s - self._all_sent_s))
                self._hold *= 2
                self._end()
            rests = now_s < self._until_s or now_s >= self._all_sent_s or self._answers < FEWEST
            return math.inf if rests else max(0.0, self._next_s - now_s)
        bearable = min(BEARABLE, self._most)
        if self._first:
            if self._answers or in_flight >= bearable:
                return math.inf
            self._began_s = min(self._began_s, now_s)
            share = max(0, in_flight + 1 - FIRST_LEVEL) / (BEARABLE - FIRST_LEVEL)
            return max(0.0, self._began_s + FIRST_S * math.cbrt(share) - now_s)
        more = math.ceil(self.limit * (MORE if self._usual_s > QUICK_S else 1))
        if self._until_s == -math.inf:  # never too slow yet
            more = max(more, int(FIRST_LEVEL - self.limit))
        out = [ticket for ticket in self._tried if ticket.in_flight > self.limit and not ticket.closed]
        if 4 * len(out) <= more:
            if len(self._tried) >= more:
                self._end()
        elif self._answers >= ENOUGH and now_s - out[len(out) // 2].sent_s > SLOWER * self._slowest_s:
            self._until_s = now_s + HOLD * (now_s - out[0].sent_s)
        elif len(self._tried) >= more:
            return math.inf
        return 0.0 if now_s >= self._until_s and in_flight < min(bearable, self.limit + more) else math.inf

    def sent(self, now_s: float, ticket: Ticket) -> None:
        """Count a request above the level."""
        ticket.bound |= TRIED
        self._tried.append(ticket)
        self._top = max(self._top, ticket.in_flight)
        if self.limit >= BEARABLE:
            growth = min(self._step, self._most / self.limit)
            more = self.limit * (growth - 1)
            self._next_s = now_s + 0.3 * self._usual_s / more  # in a bunch they would meet a rate limit
            if len(self._tried) >= more:
                self._all_sent_s = now_s
                self._longest_s = self._usual_s * growth / (1 + SHARE * (growth - 1))

    def answered(self, now_s: float, ticket: Ticket) -> None:
        """Count an answer."""
        took_s, tried = now_s - ticket.sent_s, self._tried
        if not ticket.bound & TRIED:
            self._times_s.append(took_s)
            self._answers += 1
            if self._answers >= self._due:
                self._look(now_s)
        elif tried and ticket.number >= tried[0].number:
            self._took_s.append(took_s)
            self._highest = max(self._highest, ticket.in_flight)
            if self.limit < BEARABLE and took_s <= SLOWER * self._slowest_s:
                self._confirm(ticket.in_flight)
        if now_s > self._all_sent_s and not self._judged:
            enough = 2 * len(self._took_s) >= len(tried) and self._highest >= 0.9 * self._top
            if enough or now_s - self._all_sent_s > self._longest_s:
                self._judge()

    def restart(self) -> None:
        """A rate limit has refused a request: what was tried says nothing, as the level is not what delays requests."""
        if self.limit >= BEARABLE and self._tried and not self._judged:
            self._rise(self.limit + len(self._tried))
            self._end()

    def _look(self, now_s: float) -> None:
        """Learn how long answers take; go back to the best level if the server answers far less than it did there."""
        self._first = False
        times_s = sorted(self._times_s)
        self._usual_s, self._slowest_s = times_s[len(times_s) // 2], times_s[-1]
        self._due = self._answers + (FEW if self.limit < BEARABLE else int(self.limit))
        if self._answers - self._risen < ENOUGH:  # most of these answers are to requests of before
            return
        rate = self.limit / max(1e-6, self._usual_s)
        if rate >= self._best[0]:
            self._best = rate, int(self.limit)
        elif rate < LEAST_RATE * self._best[0] and self.limit > self._best[1]:
            self.limit, self._best = self._best[1], (0.0, 0)
            self._until_s = now_s + HOLD * self._slowest_s
            self._times_s.clear()
            self._end()

    def _confirm(self, in_flight: int) -> None:
        """Raise the level to a number in flight that was answered in time."""
        bearable = min(BEARABLE, self._most)
        self._rise(in_flight if in_flight < 0.95 * bearable else bearable)
        if self.limit >= BEARABLE:
            self._end()

    def _judge(self) -> None:
        """Raise the level to the highest number in flight that was answered, if the median took no longer than allowed.

        If the topmost are still out, the server holds them back: they are waited for before the next step.
        """
        self._judged = True
        took_s, lost = sorted(self._took_s), sum(ticket.closed for ticket in self._tried) - len(self._took_s)
        middle = (len(self._tried) - lost - 1) // 2
        if middle >= len(took_s) or took_s[middle] > self._longest_s:
            self._step = max(LAST_STEP, math.sqrt(self._step))
            return
        self._step = min(FIRST_STEP, max(LAST_STEP, self._step * self._usual_s / took_s[middle]))
        self._hold = HOLD
        self._usual_s, self._due = took_s[middle], self._answers + self._highest
        self._rise(self._highest)
        if self._highest >= 0.9 * self._top:
            self._end()

    def _rise(self, level: float) -> None:
        if level > self.limit:
            self.limit, self._risen = level, self._answers
        if self.limit >= self._most:
            self.limit = math.inf

    def _end(self) -> None:
        """End a try; what is still out of it is not counted any more."""
        self._all_sent_s, self._judged, self._longest_s = math.inf, False, math.inf
        self._highest = self._top = 0
        self._tried: list[Ticket] = []
        self._took_s: list[float] = []
