"""Tells random refusals, which come at any load, from those of a limit, whatever the answers call them.

A limit refuses nearly everything of a search that runs into it. Random refusals (from a busy pool behind the API, say)
keep their share at any load. So a search goes on while most requests are still admitted, and where a load falls again
and again while few are refused, a trial decides. From then on only refusals beyond the random share are taken for those
of a limit. Pure arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

from batchgen.pace.trial import Trial

SMALLEST_SAMPLE = 3
"""With so many requests out after the first refusal of a search, it can be judged by them."""
EARLY, EARLY_UNNAMED, MORE = 12, 30, 6
"""With fewer out, `MORE` are sent once to judge by, if the refusal came among the run's first `EARLY` requests
(`EARLY_UNNAMED` if the answer named no limit). Later it would not pay: if it is a limit, they are refused too."""
FALLS, MORE_FALLS, LEAST_ASKED, KEPT = 4, 4, 60, 0.8
"""So many cuts, each to below the one before, over at least so many requests, suggest random refusals; after each trial
that failed, `MORE_FALLS` more are needed. Above `KEPT` of the first load they are counted anew."""
FELL_TO = 0.5
"""The load must have fallen so far: jobs that share a limit come down to their shares like this, too, but seldom."""
MOST, LEAST_SUSPECT, LONG, LEAST_LONG = 0.35, 0.045, 400, 0.015
"""Greatest share that is taken for random: a limit that halves the pace refuses more. The least share that is worth a
trial, as jobs that share a limit have up to 4 % refused; after `LONG` requests the last value ("3 % at 600")."""
STUCK = 120
"""Requests at a pace that is slow already, after which their share alone suggests random refusals ("15 %, 1 s")."""
SUM = 4.0
"""How far refusals may run ahead of their share before a limit is taken for the cause."""
LEEWAY, PROVED_LEEWAY = 0.02, 0.04
"""Tolerance besides the share: so large a share of a limit's refusals goes unnoticed. The second after a trial."""
ROUNDS = 2
"""So many times a trial raises and lowers the load ("8 at 1,200 RPM")."""
DOUBTS = 2
"""So many times a share that a trial has confirmed is tried again when it is exceeded: whoever has a large part of a
limit sees best whether others make room for him."""
HELD = 10
"""Requests at a load that a trial has confirmed before it rises."""
MEAN_OVER, DOUBTED, PROVED = 400.0, 100.0, 150.0
"""Requests over which the share is averaged; the second value once a limit was met, which may have caused them; the
third after a trial."""
LEAST = 0.002
"""A smaller share counts as none."""


class Load(Protocol):
    """What refusals lower: a pace or a number in flight."""

    @property
    def load(self) -> float:
        """The pace, or the most in flight."""

    @property
    def given(self) -> bool:
        """Whether the job names the limit."""

    @property
    def shared(self) -> bool:
        """Whether others seem to use the limit."""

    @property
    def small(self) -> bool:
        """Whether it is so low that others hardly notice a trial, which must be repeated then."""

    @property
    def slow(self) -> bool:
        """Whether it is so low that a trial costs nobody anything."""

    def restore(self, now_s: float, top: float, held: float, /, *, shared: bool) -> None:
        """Go to this load, and rise again after `held` requests."""


class RandomRefusals:
    """The share of requests that is refused at random, 0 until found. Requests are identified by their number."""

    __slots__ = (
        "_admitted", "_before", "_cut", "_doubts", "_excess", "_falls", "_first", "_last", "_may_wait", "_most",
        "_needed", "_proved", "_refused", "_seen", "_since", "_slow_since", "_top", "_weight", "burst", "overloaded", "share",
        "trial", "waits", "what",
    )  # fmt: skip

    def __init__(self) -> None:
        self.share = self._most = 0.0
        self._weight = 0.0  # requests that it was learned from
        self._proved = False  # by a trial; else it is one of a search, whose load is never steady
        self._doubts = 0
        self._excess, self._seen = 0.0, 0  # the running sum of `expects`, and the requests already counted in it
        # The sample: its first and last request, none while 0; what became of them; the refusals before it.
        self._first = self._last = 0
        self._admitted = self._refused = self._before = 0
        self.waits = False  # the pace is not lowered while the sample is open
        self._may_wait = True  # once
        self.burst = 0  # requests of a sample that is sent at once after a cut, whatever the pace; 0: it is none
        # Falls in a row of what was measured: of which load, from which height, after which request and refusals.
        self.trial = Trial()
        self.overloaded = False  # the last refusal said so, not that a limit was met
        self._falls, self._needed = 0, 2
        self.what: Load | None = None
        self._top = math.inf
        self._cut = self._since = self._slow_since = (0, 0)

    # ---- a known share

    def expects(self, number: int, last: int, safe: bool) -> bool:
        """Whether a refusal is no more than was to be expected; `last` requests were sent so far.

        Each refusal counts one and each request takes a little more than the share off; the sum stays small while the
        share is as it was. `safe`: the load is as it was measured.
        """
        if not self.share:
            return False
        if self.trial.is_on:
            self._try(number, refused=True)
            return True
        spread = self.share * (1 - self.share)
        leeway = PROVED_LEEWAY if self._proved else LEEWAY + math.sqrt(spread / self._weight)
        ahead = self._excess - (1.25 * self.share + leeway) * (last - self._seen)
        self._excess, self._seen = max(0.0, ahead) + 1.0, last
        if self._excess <= SUM + 20 * spread:
            if safe:
                self.saw(number, refused=True)
            return True
        self._excess = 0.0
        if not self._proved:
            self.share = 0.0
        self._weight = min(self._weight, DOUBTED)
        return False

    def saw(self, number: int, *, refused: bool) -> None:
        """Count a request that was sent at a load as it was measured."""
        if self.trial.is_on:
            self._try(number, refused=refused)
        elif self.share:
            self._weight = min(MEAN_OVER, self._weight + 1)
            self.share = min(self._most, self.share + (refused - self.share) / self._weight)
            if self.share < LEAST:
                self.share = 0.0

    def _try(self, number: int, *, refused: bool) -> None:
        passed = self.trial.count(number, refused=refused)
        if passed:
            self._excess, self._proved, self._weight = 0.0, True, PROVED
        elif passed is not None:
            self._needed += MORE_FALLS
            self.share = 0.0

    def follow_trial(self, now_s: float, last: int) -> None:
        """Go to the load that the trial asks for, if it asks for one; it holds for the requests after `last`."""
        load = self.trial.load
        if load is None or self.what is None:
            return
        # Where a trial has failed, the refusals went away with the load: others use the limit too.
        self.what.restore(now_s, load, math.inf if self.trial.is_on else HELD, shared=not self.share)
        self.trial.moved(last)
        self._seen = last

    def _found(self, refused: int, asked: int) -> None:
        self.share = min(MOST, refused / asked)
        self._most = min(MOST, self.share + math.sqrt(self.share * (1 - self.share) / asked))
        self._weight, self._proved = min(float(asked), MEAN_OVER / 2), False
        self.close()

    # ---- a search judged by a sample

    @property
    def is_open(self) -> bool:
        """Whether a sample is being taken."""
        return self._last > 0

    def is_sampled(self, number: int) -> bool:
        """Whether a request belongs to the sample."""
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
        if last - number < SMALLEST_SAMPLE:
            self.waits = self._may_wait and last <= (EARLY if named else EARLY_UNNAMED)
            self._may_wait = False
            self._last = last + MORE if self.waits else 0

    def open_burst(self, last: int, refused: int, size: int) -> None:
        """Take a sample of `size` requests that are sent at once: a limit that has just refused one refuses most."""
        self._first, self._last = last, last + size
        self._admitted = self._refused = 0
        self._before, self.burst = refused, size

    def count_sample(self, *, refused: bool) -> bool | None:
        """Count a request of the sample: True if refusals are random, False if a limit's, None while undecided."""
        self._refused += refused
        self._admitted += not refused
        out = self._last - self._first
        if 5 * self._admitted >= 3 * out:
            proved = self.burst > 0
            self._found(self._before + self._refused, self._admitted + self._refused + self._first)
            if proved:
                self._proved, self._weight, self._excess = True, PROVED, 0.0
                self._seen = self._first
            return True
        if 5 * self._refused > 2 * out:
            if self.burst:
                self._needed *= 2
            self.close()
            return False
        return None

    def close(self) -> None:
        """End the sample without a verdict, and forget the falls."""
        self._first = self._last = self._falls = self.burst = 0

    # ---- what was measured falls again and again

    def fell(self, number: int, refused: int, what: Load, load: float, *, fell: bool) -> bool:
        """Record a cut of `what` from `load`; return True if a trial begins of whether refusals come at random.

        `fell`: to below the cut before; `refused` counts the run's refusals up to request `number`.
        """
        if what is not self.what or (not fell and load > KEPT * self._top):
            self.what, self._falls = what, 0
        if fell:
            if not self._falls:
                self._since, self._top = self._cut, load
            self._falls += 1
        self._cut = (number, refused)
        if self.share:
            self._slow_since = self._cut
            return False
        share = self._suspect(number, refused, what)
        if not share:
            return False
        now, top = what.load, self._top
        if what.given and not what.shared:  # hardly lowered yet
            self._found(*share)
            self._doubts = 0
            self.trial.begin(self.share, raised=1.1 * top, lowered=top / 2, passed=1.1 * top, failed=top / 2)
        return True

    def _suspect(self, number: int, refused: int, what: Load) -> tuple[int, int] | None:
        """Return refusals and requests that look like random ones, None if they do not."""
        asked, met = number - self._since[0], refused - self._since[1]
        given = what.given and not what.shared
        if self._falls < (FALLS if given else self._needed) or met > MOST * asked or (given and asked < LEAST_ASKED):
            return None
        return met, asked
