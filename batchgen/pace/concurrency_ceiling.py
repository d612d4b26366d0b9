"""The most requests in flight: the job's bound, and the provider's own limit as its refusals show it."""

from __future__ import annotations

import math
from collections import deque

CUT, ROUNDS, FEWEST, MOST_CLEAN = 0.2, 2, 2, 40
"""Where answers name the limit, others may share it: the share of ours that a refused step up takes, and the rounds of
clean requests, with the fewest and the most of them, before the next. A job with more in flight loses more and wins no
more, so that all come near equal limits ("4 at a cap of 50, told")."""
ALIKE, ALIKE_MANY, MANY = 4, 3, 20
"""Refusals in a row at one level which show that there are no others: so many, fewer from so many in flight on. Where
the answers name no limit, the first suggest one, or `UNTOLD_MANY`: a low rate may refuse three with two in flight."""
UNTOLD_MANY = 2
BURST = 6
"""Requests above the limit, besides a quarter of it, that are sent to see whether refusals are random."""


class ConcurrencyCeiling:
    """A provider with a limit on requests in flight refuses the one that would exceed it: a refusal shows the limit.

    Requests are known by their number in the run; `last` is the number of the last one sent so far.

    `bound` is the job's `limits.concurrency` and always holds; `limit` ≤ `bound` is what is used. `found` is the
    highest number in flight known to be admitted since the limit was first met, None while it was not.
    """

    __slots__ = (
        "_alike", "_before", "_clean", "_drop", "_highest", "_hold", "_level", "_levels", "_patience", "_set_at",
        "_step", "_turned_s", "bound", "found", "limit",
    )  # fmt: skip

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.limit = bound
        self.found: int | None = None
        self._set_at = 0  # number of the last request before the limit was set: what it and earlier ones met is old
        self._clean = 0
        self._patience = 20
        self._hold: float = 20  # clean requests before the next step up
        self._step = 1
        self._drop = 1
        self._level = self._alike = 0  # the last level that was refused by name, and how often in a row
        # For refusals that do not say what refused: levels of the last ones, and the highest level admitted,
        # in this half minute and in the one before.
        self._levels: deque[int] = deque(maxlen=ALIKE)
        self._highest = self._before = 0
        self._turned_s = -math.inf

    def rebound(self, bound: int) -> None:
        """Go on with another bound of the job."""
        self.limit = bound if self.found is None else min(self.limit, bound)
        self.bound = bound

    def admitted(self, now_s: float, number: int, last: int, in_flight: int) -> None:
        """Count an admitted request; after enough of them at the limit, the limit rises."""
        if now_s - self._turned_s > 30.0:
            self._before, self._highest, self._turned_s = self._highest, 0, now_s
        if in_flight > self._highest:  # noqa: PLR1730 - `max` costs three times as much, for every row
            self._highest = in_flight
        if self.found is None or in_flight < self.limit or number <= self._set_at:
            return
        self._drop = 1
        self._clean += 1
        if self._clean >= self._hold and self.limit < self.bound:
            self.found = self.limit
            top = self._level - 1  # stop below what was refused, so that its refusal tells whether it is the same again
            self.limit = min(self.bound, top if self.limit < top < self.limit + self._step else self.limit + self._step)
            self._step = 1 if self.limit == top else min(max(1, self.limit // 4), 2 * self._step)
            self._hold = min(self._hold, max(min(8, 2 * self.limit), self.limit // 2))
            self._clean, self._set_at = 0, last

    def refused(self, number: int, last: int, in_flight: int, *, told: bool = True) -> bool | None:
        """Lower the limit to one below what was refused, and by twice as many each time it is refused again at once.

        `told`: the answer named the limit; then a step up that is refused takes a share, and the limit rises again by
        rounds, since others may have had the places. Return whether it was refused at a number in flight that had been
        admitted before, and not soon after a cut; None if the request was sent before that cut.
        """
        if number <= self._set_at:
            self.limit = self.found = max(1, min(self.limit, in_flight - 1))
            return None
        fell = self.found is not None and in_flight <= self.found and self._drop == 1
        most = (in_flight + 1) // 2 if self.falling else max(1, in_flight // 2 - 1)  # a tiny limit is near
        cut = min(self._drop, most)
        if told and self._may_be_shared(in_flight) and not fell:
            most_clean = self._patience
            if self._drop == 1 and self.found is not None:
                cut, most_clean = max(cut, int(CUT * in_flight)), MOST_CLEAN
            self._hold = min(most_clean, max(FEWEST, ROUNDS * (in_flight - cut)))
        else:
            self._hold = self._patience
            self._patience = 20 if self.falling else min(max(200, 2 * in_flight), 10 * self._patience)
        self.limit = self.found = max(1, min(self.limit, in_flight - cut))
        self._drop *= 2
        self._set_at, self._clean, self._step = last, 0, 1
        return fell

    def _may_be_shared(self, in_flight: int) -> bool:
        """Whether others may share the limit: it was not refused at the same level again and again."""
        same = abs(in_flight - self._level) <= in_flight // 25
        self._alike, self._level = self._alike + 1 if same else 1, in_flight
        return self._alike < (ALIKE_MANY if in_flight >= MANY else ALIKE)

    @property
    def load(self) -> float:
        """The limit; infinite while none was met."""
        return math.inf if self.found is None else self.limit

    @property
    def safe(self) -> bool:
        """Whether the limit is known to be admitted."""
        return self.found is None or self.limit <= self.found

    def release(self, _now_s: float, _took_s: float, times: int = 1) -> int:
        """Let some requests go at once, whatever the limit, and return how many."""
        count = times * (BURST + self.limit // 4)
        self.limit = min(self.bound, self.limit + count)
        return count

    def retract(self, _now_s: float, last: int, _count: int) -> None:
        """Go back to the limit that was found."""
        assert self.found is not None
        self.limit, self._set_at = min(self.limit, self.found), last

    def restore(self, _now_s: float) -> None:
        """The refusals came at random: go back to the job's bound."""
        self.limit, self.found = self.bound, None
        self._hold, self._patience = 8, 20
        self._drop, self._step = 1, max(1, self.limit // 4)

    @property
    def falling(self) -> bool:
        """Whether the provider's limit has fallen far: it refused again and again while ours came down."""
        return self._drop > 8

    # ---- refusals that do not say what refused

    def suggests_ceiling(self, in_flight: int) -> bool:
        """Whether refusals come at one number in flight, above all that was admitted lately, as with a ceiling.

        Small numbers must be the same, for with few in flight all are near each other.
        """
        levels = self._levels
        levels.append(in_flight)
        if in_flight < 2 or in_flight < max(self._highest, self._before):
            levels.clear()
            return False
        apart = max(2 if in_flight >= 10 else 0, in_flight // 25)
        return len(levels) >= (UNTOLD_MANY if in_flight >= MANY else ALIKE) and max(levels) - min(levels) <= apart

    def assume(self, last: int, in_flight: int) -> None:
        """Assume a limit just below this number in flight; a later refusal at or below it disproves it."""
        self.limit = self.found = in_flight - 1
        self._drop, self._step = 1, 1
        self._set_at, self._clean, self._hold, self._patience = last, 0, 20, 200
        self._levels.clear()

    def disproved(self, in_flight: int) -> bool:
        """Whether a refusal at a number in flight that was admitted before disproves the limit; then it is dropped."""
        if self.found is None or in_flight > self.found:
            return False
        self.limit, self.found = self.bound, None
        return True

    def is_outdated(self, number: int) -> bool:
        """Whether a request was sent before the limit was last set."""
        return number <= self._set_at
