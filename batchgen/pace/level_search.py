"""How many requests in flight are of use, where the job does not say: found by the answers per second. Pure arithmetic.

The number in flight begins at `FIRST_LEVEL` and rises while the rate of answers grows with it. Where it does not,
more requests would only wait in the server's queue: the level goes back, a smaller step is tried, and at last the level
rests for a while. What is measured counts only while the level is what delays requests: where a rate limit binds, there
is nothing to search.
"""

from __future__ import annotations

import math

from batchgen.pace.values import LEVEL, Ticket

FIRST_LEVEL = 64
"""Requests in flight to begin with: as many as any server of one's own has to bear by default."""
FIRST_STEP, LAST_STEP = 4.0, 1.4
"""Factors by which the level is raised: the first one, and the smallest; a step that brings nothing is followed by its
square root."""
SHARE = 0.15
"""Share of the growth of the level that the rate of answers must follow with, else the level is too high."""
FEWEST = 64
"""Fewest answers that measure a rate."""
HOLD_S, LONGEST_HOLD_S = 60.0, 600.0
"""Seconds until a level that brought nothing is tried again; doubled each time, up to the second."""


class LevelSearch:
    """`limit` is the level in force, infinite where the job bounds the requests in flight itself (`search` False)."""

    __slots__ = ("_answers", "_before", "_bound", "_first_s", "_from", "_hold_s", "_most", "_step", "_until_s", "limit")

    def __init__(self, *, search: bool, most: int) -> None:
        self._most = most
        self.limit: float = min(FIRST_LEVEL, most) if search else math.inf
        self._from = 0  # answers to requests up to this number were sent at another level
        self._answers = self._bound = 0
        self._first_s = 0.0
        self._before: tuple[float, float] | None = None  # the level below and its rate of answers
        self._step = FIRST_STEP
        self._hold_s, self._until_s = HOLD_S, -math.inf

    def change(self, *, search: bool, most: int) -> None:
        """Go on with another bound of the job, or without one: then the level is searched from the first one."""
        self._most = most
        if not search:
            self.limit = math.inf
        elif math.isinf(self.limit):
            self.limit = min(FIRST_LEVEL, most)
        else:
            self.limit = min(self.limit, most)

    def answered(self, now_s: float, ticket: Ticket, last: int) -> None:
        """Count an answer; `last` is the number of the last request sent."""
        if self.limit >= self._most or ticket.number <= self._from:
            return
        self._answers += 1
        if self._answers == 1:
            self._first_s = now_s
            return
        self._bound += bool(ticket.bound & LEVEL)
        # A window as long as an answer takes: the slots of a server end their work in step.
        if self._answers > FEWEST and now_s - self._first_s >= now_s - ticket.sent_s and now_s > self._first_s:
            if 2 * self._bound > self._answers and now_s >= self._until_s:
                self._judge(now_s, (self._answers - 1) / (now_s - self._first_s))
            self.restart(last)

    def _judge(self, now_s: float, rate: float) -> None:
        """Raise the level if the rate of answers has followed it so far, else go back."""
        if self._before is not None:
            level, before = self._before
            if rate < before * (1 + SHARE * (self.limit / level - 1)):
                self.limit, self._before = level, None
                self._step = math.sqrt(self._step)
                if self._step < LAST_STEP:
                    self._step = LAST_STEP
                    self._until_s = now_s + self._hold_s
                    self._hold_s = min(LONGEST_HOLD_S, 2 * self._hold_s)
                return
            self._hold_s = HOLD_S
            self._step = min(FIRST_STEP, max(LAST_STEP, rate / before))  # as far as the last step has carried
        self._before = (self.limit, rate)
        self.limit = min(int(self._step * self.limit), self._most)

    def restart(self, last: int) -> None:
        """Measure anew, from the requests after `last` on: a refusal, say, has lowered the pace meanwhile."""
        self._from, self._answers, self._bound = last, 0, 0
