"""Refusals that no load prevents, told from those of a limit, whatever they are called. Pure arithmetic.

A limit refuses nearly all of a search that runs into it, and it measures the same again and again. Refusals by chance
(a busy pool behind the API, say) keep their share at any load. So a search of which most is still taken goes on, and a
limit that falls at each measurement while few are refused is none: the load before is restored. From then on only
what exceeds the share is a limit's doing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

BALLOT = 3
"""Requests out after the first refusal of a search from which it can be judged."""
EARLY, EARLY_UNNAMED, MORE = 12, 30, 6
"""With fewer, among so many of the run's first requests (the second: no limit was named), as many more are sent once
to judge by. Later it would not pay: what a limit lets pass meanwhile is refused."""
FALLS, LEAST_ASKED = 4, 60
"""Measurements, each below the one before, and requests meanwhile, that are chance's doing."""
MOST = 0.35
"""Greatest share that is believed to be chance: a limit that halves the pace refuses more."""
SUM = 4.0
"""How far refusals may run ahead of their share before a limit is blamed."""
LEEWAY = 0.02
"""What is paid off besides the share: so much of a limit's refusals goes unnoticed."""
PROOF = 25
"""Requests at the restored load that prove a share; if refusals run ahead of it before, it was found wrongly."""
MEAN_OVER, DOUBTED = 400.0, 100.0
"""Requests that the share is a mean over; the same once a limit was met, which may have been behind it."""
LEAST = 0.002
"""A smaller share is none."""


class Chance:
    """The share of requests that is refused by chance, 0 until found; requests are known by their number."""

    __slots__ = (
        "_admitted", "_before", "_cut", "_excess", "_falls", "_first", "_last", "_may_wait", "_most",
        "_refused", "_seen", "_since", "_unproved", "_weight", "_what", "share", "top", "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.share = self._most = 0.0
        self._weight = 0.0  # requests that it was learnt from
        self._unproved: float = 0
        self._excess, self._seen = 0.0, 0  # the sum of `expects`, and the requests that it has been paid for
        # The ballot: requests that have a vote, none while 0; their votes; refusals of the run before.
        self._first = self._last = 0
        self._admitted = self._refused = self._before = 0
        self.waits = False  # nothing is cut while it is open
        self._may_wait = True  # once
        # Falls in a row of what was measured: of which load, from which height, after which request and refusals.
        self._falls = 0
        self._what: object = None
        self.top = math.inf
        self._cut = self._since = (0, 0)

    # ---- a known share

    def expects(self, last: int, *, safe: bool) -> bool:
        """Whether a refusal is no more than was to be expected; `last` requests were sent so far.

        Each refusal counts one and each request takes a little more than the share off; the sum stays small while the
        share is as it was. `safe`: the load is as it was measured.
        """
        if not self.share:
            return False
        spread = self.share * (1 - self.share)
        paid = 1.25 * self.share + LEEWAY + math.sqrt(spread / self._weight)
        self._excess, self._seen = max(0.0, self._excess - paid * (last - self._seen)) + 1.0, last
        if self._excess <= SUM + 20 * spread:
            if safe:
                self.saw(refused=True)
            return True
        self._excess = 0.0
        if self._unproved > 0:
            self.share = 0.0
        self._weight = min(self._weight, DOUBTED)
        return False

    def saw(self, *, refused: bool) -> None:
        """Keep the share true, by a request at a load that is as it was measured."""
        if self.share:
            self._weight = min(MEAN_OVER, self._weight + 1)
            self._unproved -= 1
            self.share = min(self._most, self.share + (refused - self.share) / self._weight)
            if self.share < LEAST:
                self.share = 0.0

    def _found(self, refused: int, asked: int, proof: float) -> None:
        self.share = min(MOST, refused / asked)
        self._most = min(MOST, self.share + math.sqrt(self.share * (1 - self.share) / asked))
        self._weight, self._unproved = min(float(asked), MEAN_OVER / 2), proof
        self._falls = 0
        self.close()

    # ---- the ballot of a search

    @property
    def is_open(self) -> bool:
        """Whether a ballot is open."""
        return self._last > 0

    def has_vote(self, number: int) -> bool:
        """Whether a request decides."""
        return self._first < number <= self._last

    def open(self, number: int, last: int, refused: int, after: Iterable[bool], *, named: bool = True) -> None:
        """The search was refused at `number`, with requests up to `last` out: how many of them are refused too?

        `refused` counts the run's refusals, `after` are those already decided, True if admitted; `named`: the answer
        said which limit it was. The share is one of all that was asked, before the first refusal too: of the few after
        it, a limit may have let most pass.
        """
        known = list(after)
        self._first, self._last = number, last
        self._admitted = sum(known)
        self._refused = len(known) - self._admitted
        self._before = refused - self._refused
        self.waits = False
        if last - number < BALLOT:
            self.waits = self._may_wait and last <= (EARLY if named else EARLY_UNNAMED)
            self._may_wait = False
            self._last = last + MORE if self.waits else 0

    def vote(self, *, refused: bool) -> bool | None:
        """Count a vote: True if it is chance, False if a limit, None while neither is sure."""
        self._refused += refused
        self._admitted += not refused
        out = self._last - self._first
        if 5 * self._admitted >= 3 * out:
            # The load of a search is never steady, so it proves nothing.
            self._found(self._before + self._refused, self._admitted + self._refused + self._first, math.inf)
            return True
        if 5 * self._refused > 2 * out:
            self.close()
            return False
        return None

    def close(self) -> None:
        """No ballot any more."""
        self._first = self._last = 0

    # ---- what was measured falls again and again

    def fell(self, number: int, refused: int, what: object, load: float, *, fell: bool) -> bool:
        """Take note that `what` was measured below `load`; True if it shows that refusals come by chance.

        `fell`: the measurement is below the one before; `refused` counts the run's refusals up to request `number`.
        """
        if not fell or what is not self._what:
            self._what, self._falls = what, 0
        if fell:
            if not self._falls:
                self._since, self.top = self._cut, load
            self._falls += 1
        self._cut = (number, refused)
        asked, met = number - self._since[0], refused - self._since[1]
        if self._falls < FALLS or asked < LEAST_ASKED or met > MOST * asked:
            return False
        self._found(met, asked, PROOF)
        return True
