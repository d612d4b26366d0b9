"""Tells random refusals, which come at any load, from those of a limit, whatever the answers call them.

A limit refuses nearly everything of a search that runs into it, and each measurement of it gives the same value. Random
refusals (from a busy pool behind the API, say) keep their share at any load. So a search goes on while most requests
are still admitted, and a "limit" that measures lower each time while few are refused is none: the load before is
restored. From then on only refusals beyond the random share are taken for those of a limit. Pure arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

SMALLEST_SAMPLE = 3
"""With so many requests out after the first refusal of a search, it can be judged by them."""
EARLY, EARLY_UNNAMED, MORE = 12, 30, 6
"""With fewer out, `MORE` are sent once to judge by, if the refusal came among the run's first `EARLY` requests
(`EARLY_UNNAMED` if the answer named no limit). Later it would not pay: if it is a limit, they are refused too."""
FALLS, MORE_FALLS, LEAST_ASKED, KEPT = 4, 3, 60, 0.8
"""So many cuts, each to below the one before, over at least so many requests, suggest random refusals; after each time
that this was wrong, `MORE_FALLS` times as many are needed. Above `KEPT` of the first load they are counted anew."""
MOST = 0.35
"""Greatest share that is taken for random: a limit that halves the pace refuses more."""
SUM = 4.0
"""How far refusals may run ahead of their share before a limit is taken for the cause."""
LEEWAY = 0.02
"""Tolerance besides the share: so large a share of a limit's refusals goes unnoticed."""
HELD, PROOF = 40, 150
"""Requests at the restored load before it rises, and those that confirm a share: if refusals run ahead of it earlier,
it was found wrongly. The rise is part of the test: a limit that is shared gives way to whoever only holds his load."""
LOWER = 0.8
"""Share of a load that failed the test that is tried next, without a rise: a limit may be near beside the chance."""
MEAN_OVER, DOUBTED = 400.0, 100.0
"""Requests over which the share is averaged; the second value once a limit was met, which may have caused them."""
LEAST = 0.002
"""A smaller share counts as none."""


class RandomRefusals:
    """The share of requests that is refused at random, 0 until found. Requests are identified by their number."""

    __slots__ = (
        "_admitted",
        "_before",
        "_cut",
        "_excess",
        "_failed_at",
        "_falls",
        "_first",
        "_last",
        "_may_wait",
        "_most",
        "_needed",
        "_refused",
        "_seen",
        "_since",
        "_unproved",
        "_weight",
        "_what",
        "share",
        "top",
        "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.share = self._most = 0.0
        self._weight = 0.0  # requests that it was learned from
        self._unproved: float = 0
        self._excess, self._seen = 0.0, 0  # the running sum of `expects`, and the requests already counted in it
        # The sample: its first and last request, none while 0; what became of them; the refusals before it.
        self._first = self._last = 0
        self._admitted = self._refused = self._before = 0
        self.waits = False  # the pace is not lowered while the sample is open
        self._may_wait = True  # once
        # Falls in a row of what was measured: of which load, from which height, after which request and refusals.
        self._falls, self._needed = 0, FALLS
        self._what: object = None
        self.top = self._failed_at = math.inf
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
            if math.isfinite(self._unproved):
                self._needed *= MORE_FALLS
                self._failed_at = self.top
        self._weight = min(self._weight, DOUBTED)
        return False

    def saw(self, *, refused: bool) -> None:
        """Update the share by a request that was sent at a load as it was measured."""
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

    @property
    def held(self) -> int:
        """Requests admitted at a restored load before it rises."""
        return PROOF if self._needed > FALLS else HELD

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

    def count_sample(self, *, refused: bool) -> bool | None:
        """Count a request of the sample: True if refusals are random, False if a limit's, None while undecided."""
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
        """End the sample without a verdict."""
        self._first = self._last = 0

    # ---- what was measured falls again and again

    def fell(self, number: int, refused: int, what: object, load: float, *, fell: bool) -> bool:
        """Record a measurement of `what` below `load`; return True if it shows that refusals come at random.

        `fell`: the measurement is below the one before; `refused` counts the run's refusals up to request `number`.
        """
        if what is not self._what or (not fell and load > KEPT * self.top):
            self._what, self._falls = what, 0
        if fell:
            if not self._falls:
                self._since, self.top = self._cut, load
                if self._needed > FALLS:
                    self.top = min(load, LOWER * self._failed_at)
            self._falls += 1
        self._cut = (number, refused)
        asked, met = number - self._since[0], refused - self._since[1]
        if self._falls < self._needed or asked < LEAST_ASKED or met > MOST * asked:
            return False
        self._found(met, asked, PROOF)
        return True
