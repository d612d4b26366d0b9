"""Tells random refusals, which come at any load, from those of a limit, whatever the answers call them.

A limit refuses nearly everything of a search that runs into it, and of a few requests that are sent at once just after
it has refused one: there is no room yet. Random refusals (from a busy pool behind the API, say) keep their share. So a
search goes on while most requests are still admitted; and where a load falls again and again while few are refused, a
burst decides. From then on only refusals beyond the random share are taken for those of a limit. Pure arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

SMALLEST_SAMPLE = 3
"""With so many requests out after the first refusal of a search, it can be judged by them."""
EARLY, EARLY_UNNAMED, MORE, FIRST = 12, 30, 6, 8
"""With fewer out, `MORE` are sent once to judge by, if the refusal came among the run's first `EARLY` requests
(`EARLY_UNNAMED` if the answer named no limit). Later it would not pay: if it is a limit, they are refused too. Among
the `FIRST` half of them decide, as a limit refuses them all, and at two of four the run crawled ("15 %, 1 s")."""
FALLS, LEAST_ASKED, KEPT = 3, 20, 0.8
"""So many cuts, each to below the one before, over at least so many requests, suggest random refusals ("600 RPM, after
ten, not prolonged": with fewer a limit of one's own is suspected too); after each burst that a limit refused, twice as
many are needed. Above `KEPT` of the first load they are counted anew."""
MOST = 0.35
"""Greatest share that is taken for random: a limit that halves the pace refuses more."""
SUM = 4.0
"""How far refusals may run ahead of their share before a limit is taken for the cause."""
LEEWAY, PROVED_LEEWAY = 0.02, 0.04
"""Tolerance besides the share: so large a share of a limit's refusals goes unnoticed. The second after a burst."""
MEAN_OVER, PROVED = 400.0, 150.0
"""Requests over which the share is averaged; the second value is that after a burst."""
LEAST = 0.002
"""A smaller share counts as none."""


BURSTS = 2
"""So many bursts in a row, each at a cut and larger than the one before, have to be admitted: other jobs at a limit
leave room for a few requests now and then ("4 at 1,200 RPM")."""


class Load(Protocol):
    """What refusals lower: a pace or a number in flight."""

    @property
    def load(self) -> float:
        """The pace, or the most in flight."""


class RandomRefusals:
    """The share of requests that is refused at random, 0 until found. Requests are identified by their number."""

    __slots__ = (
        "_admitted", "_before", "_cut", "_excess", "_falls", "_first", "_known_since", "_may_wait", "_met",
        "_most", "_needed", "_proved", "_refused", "_seen", "_since", "_top", "_weight", "_what", "burst", "bursts",
        "last", "overloaded", "share", "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.share = self._most = 0.0
        self._weight = 0.0  # requests that it was learned from
        self._proved = False  # by a burst; else it is one of a search, whose load is never steady
        self._excess, self._seen = 0.0, 0  # the running sum of `expects`, and the requests already counted in it
        self._met, self._known_since = 0, 0  # refusals since the burst that proved the share, and its last request
        # The sample: its first and last request, none while 0; what became of them; requests and refusals before it.
        self._first = self.last = 0
        self._admitted = self._refused = 0
        self._before = (0, 0)
        self.waits = False  # the pace is not lowered while the sample is open
        self._may_wait = True  # once
        self.burst = 0  # the size of a sample that is sent at once after a cut; 0 if the open one is none
        self.bursts = 1  # in a row, with the next one
        self.overloaded = False  # the last refusal said so, not that a limit was met
        # Falls in a row of what was measured: of which load, from which height, after which request and refusals.
        self._falls, self._needed = 0, FALLS
        self._what: Load | None = None
        self._top = math.inf
        self._cut = self._since = (0, 0)

    # ---- a known share

    def expects(self, number: int, last: int, safe: bool) -> bool:
        """Whether a refusal is no more than was to be expected; `last` requests were sent so far.

        Each refusal counts one and each request takes a little more than the share off; the sum stays small while the
        share is as it was. `safe`: the load is as it was measured.
        """
        if not self.share:
            return False
        spread = self.share * (1 - self.share)
        leeway = PROVED_LEEWAY if self._proved else LEEWAY + math.sqrt(spread / self._weight)
        ahead = self._excess - (1.25 * self.share + leeway) * (last - self._seen)
        self._excess, self._seen = max(0.0, ahead) + 1.0, last
        self._met += 1
        if self._excess <= SUM + 20 * spread:
            if safe:
                self.saw(refused=True)
            return True
        self._excess = 0.0
        if not self._proved:
            self.share = 0.0
        elif self._met > MOST * max(PROVED, last - self._known_since):  # the burst was wrong
            self.share = 0.0
            self._needed *= 2
        return False

    def saw(self, *, refused: bool) -> None:
        """Count a request that was sent at a load as it was measured."""
        if self.share:
            self._weight = min(MEAN_OVER, self._weight + 1)
            self.share = min(self._most, self.share + (refused - self.share) / self._weight)
            if self.share < LEAST:
                self.share = 0.0

    # ---- a sample

    @property
    def is_open(self) -> bool:
        """Whether a sample is being taken."""
        return self.last > 0

    def is_sampled(self, number: int) -> bool:
        """Whether a request belongs to the sample."""
        return self._first < number <= self.last

    def open(self, number: int, last: int, refused: int, after: Iterable[bool], *, named: bool = True) -> bool | None:
        """The search was refused at `number`, with requests up to `last` out: how many of them are refused too?

        Return the verdict as `count_sample` does: those that are decided already may be enough. `refused` counts the
        run's refusals, `after` are those already decided, True if admitted; `named`: the answer said which limit it
        was. The share is one of all that was asked, before the first refusal too: of the few after it, a limit may have
        let most pass.
        """
        known = list(after)
        self._first, self.last = number, last
        self._admitted = sum(known)
        self._refused = len(known) - self._admitted
        self._before = (number, refused - self._refused)
        self.waits = False
        if last - number < SMALLEST_SAMPLE:
            self.waits = self._may_wait and last <= (EARLY if named else EARLY_UNNAMED)
            self._may_wait = False
            self.last = last + MORE if self.waits else 0
        return self._verdict() if self.is_open else None

    def open_burst(self, last: int, size: int) -> None:
        """Of the next `size` requests, which go out at once after a cut, how many are refused?

        The share is one of all since the falls began: random refusals may have come late in the run.
        """
        self._first, self.last, self.burst = last, last + size, size
        self._admitted = self._refused = 0
        self._before = (self._cut[0] - self._since[0], self._cut[1] - self._since[1])

    def count_sample(self, *, refused: bool) -> bool | None:
        """Count a request of the sample: True if refusals are random, False if a limit's, None while undecided."""
        self._refused += refused
        self._admitted += not refused
        return self._verdict()

    def _verdict(self) -> bool | None:
        out = self.last - self._first
        early = not self.burst and self.last <= FIRST
        if 5 * self._admitted >= 3 * out or (early and 2 * self._admitted >= out):
            if self.burst and self.bursts < BURSTS:
                self.bursts += 1
                self._first = self.last = self.burst = 0
                return False
            asked, met = self._before
            self._found(met + self._refused, asked + self._admitted + self._refused)
            return True
        if 5 * self._refused > 2 * out and (not early or 2 * self._refused > out):
            if self.burst:
                self._needed, self.bursts = 2 * self._needed, 1
            self.close()
            return False
        return None

    def _found(self, refused: int, asked: int) -> None:
        self.share = min(MOST, refused / asked)
        self._most = min(MOST, self.share + math.sqrt(self.share * (1 - self.share) / asked))
        self._proved = self.burst > 0
        self._weight = PROVED if self._proved else min(float(asked), MEAN_OVER / 2)
        if self._proved:
            self._excess, self._seen = 0.0, self.last
            self._met, self._known_since = 0, self.last
        self.close()

    def close(self) -> None:
        """End the sample without a verdict, and forget the falls."""
        self._first = self.last = self._falls = self.burst = 0

    # ---- what was measured falls again and again

    def fell(self, number: int, refused: int, what: Load, load: float, *, fell: bool) -> bool:
        """Record a cut of `what` from `load`; return True if a burst should tell whether refusals come at random.

        `fell`: to below the cut before; `refused` counts the run's refusals up to request `number`.
        """
        if what is not self._what or (not fell and load > KEPT * self._top):
            self._what, self._falls = what, 0
        if fell:
            if not self._falls:
                self._since, self._top = self._cut, load
            self._falls += 1
        self._cut = (number, refused)
        asked, met = number - self._since[0], refused - self._since[1]
        falls = self._falls >= self._needed and asked >= LEAST_ASKED and met <= MOST * asked
        return falls and not self.share and not self.is_open
