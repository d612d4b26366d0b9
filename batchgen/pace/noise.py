"""Refusals that no pace prevents, told from those of a limit. Pure arithmetic.

A rate limit that refuses a third of the requests refuses none at half the pace; and a search that has run into a
limit is refused nearly throughout. Refusals that come by chance (a busy pool behind the API, say) keep their share
at any pace. Once known, that share is tolerated: slowing down would not lessen it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from enum import Enum

LEAST_IN_SEARCH = 3
"""Requests out at the first refusal of a search from which it can be judged."""
SURPRISES = 3
"""Refusals in a row, each at a pace measured as safe or fewer than ten requests after a cut, that raise a doubt.
Twice as many for tokens, and below one a second, where a trial takes minutes."""
MOST_SURPRISES = 6
"""As many once a trial was in vain."""
LEAST_IN_TRIAL = 20
"""Requests at half the pace from which a doubt at a pace is judged."""
MOST = 0.35
"""Greatest share at a pace that is believed to be chance; beyond, a limit may refuse at half the pace too."""
SUM = 4.0
"""How far refusals may run ahead of twice their share before a limit is blamed."""
LOT = 300
"""Requests after which the share is brought up to date."""


class Finding(Enum):
    """What a doubt came to."""

    LIMIT = "limit"
    NOISE = "noise"


class Noise:
    """The share of requests that is refused by chance, 0 until found; requests are known by their number."""

    __slots__ = (
        "_admitted", "_cuts", "_first", "_highest", "_last", "_lot_from", "_lot_refused", "_patience", "_refused",
        "_seen", "_since", "_sum", "_surprises", "in_search", "in_trial", "share", "top_pace",
    )  # fmt: skip

    def __init__(self) -> None:
        self.share = 0.0
        self.in_search = self.in_trial = False  # a doubt is open
        self.top_pace = 0.0  # pace at the first surprise
        self._first = self._last = 0  # requests that the doubt is about
        self._refused = self._admitted = 0
        self._since = self._surprises = 0  # the cut before the first surprise; how many
        self._cuts: deque[int] = deque(maxlen=SURPRISES + 1)
        self._highest = 0.0  # safe pace at a cut, since the last finding
        self._patience = SURPRISES
        self._sum, self._seen = 0.0, 0
        self._lot_from = self._lot_refused = 0

    # ---- a known share

    def tolerates(self, number: int) -> bool:
        """Whether this refusal is no more than was to be expected; then it says nothing about a limit.

        Each refusal counts one and each request takes twice the share off; the sum stays small while the share is as
        it was. The share follows downwards, so that it is forgotten when the refusals are.
        """
        if not self.share:
            return False
        if number - self._lot_from >= LOT:
            seen = self._lot_refused / (number - self._lot_from)
            self.share = min(self.share, 0.5 * (self.share + seen))
            self._lot_from, self._lot_refused = number, 0
            if self.share < 0.002:
                self.share = 0.0
        self._lot_refused += 1
        paid = min(0.4, 2 * self.share + 0.02) * max(0, number - self._seen)
        self._sum, self._seen = max(0.0, self._sum - paid) + 1.0, max(self._seen, number)
        if self._sum <= SUM:
            return True
        self._sum, self.share = 0.0, 0.5 * self.share
        return False

    def _found(self, share: float, number: int) -> Finding:
        self.share, self._sum, self._seen = share, 0.0, number
        self._lot_from, self._lot_refused = number, 0
        self._highest, self._patience = 0.0, SURPRISES
        self.calm()
        return Finding.NOISE

    # ---- a doubt, in the search or at a pace

    @property
    def in_doubt(self) -> bool:
        """Whether outcomes are being counted."""
        return self.in_search or self.in_trial

    def decided(self, number: int, *, refused: bool) -> Finding | None:
        """Count a request, admitted or refused; returns what the open doubt came to, if it did."""
        if number <= self._first or (self.in_search and number > self._last):
            return None
        if refused:
            self._refused += 1
        else:
            self._admitted += 1
        return self._judge_search() if self.in_search else self._judge_trial(number)

    def search_refused(self, number: int, last: int, after: Iterable[bool], *, tells: bool) -> None:
        """The search was refused at `number`, with requests up to `last` out: how many of them are refused too?

        `after` are those already decided, True if admitted; `tells` is False for tokens, which are charged too late.
        """
        self.calm()
        self.share, self.top_pace = 0.0, math.inf
        self.in_search = tells and last - number >= LEAST_IN_SEARCH
        known = list(after)
        self._admitted = sum(known)
        self._first, self._last, self._refused = number, last, 1 + len(known) - self._admitted
        self._cuts.append(number)

    def _judge_search(self) -> Finding | None:
        out = self._last - self._first + 1
        if 5 * self._admitted >= 3 * out:
            return self._found(self._refused / (self._refused + self._admitted), self._last)
        if 5 * self._refused > 2 * out:
            self.in_search = False
        return None

    def surprised(self, number: int, pace: float, *, safe: bool, rough: bool) -> bool:
        """Take note of a refusal at `pace`, found `safe` before or not; True if a trial is due.

        It surprises if the pace was safe, or hardly any request went since the last cut; and any is a reason to try
        that comes when the cuts have halved the pace. `rough`: the pace is one of
        tokens, which are known less exactly.
        """
        self._cuts.append(number)
        if safe:
            self._highest = max(self._highest, pace)
        if len(self._cuts) < 2:
            return False
        if len(self._cuts) > SURPRISES and pace <= (0.25 if rough else 0.5) * self._highest:
            self._surprises, self._since, self.top_pace = SURPRISES, self._cuts[0], self._highest
            return self._is_rare(number)
        if not (safe or number - self._cuts[-2] < 10):
            self._surprises = 0
            return False
        if not self._surprises:
            self._since, self.top_pace = self._cuts[-2], pace
        self._surprises += 1
        enough = self._patience * (2 if rough or pace < 1.0 else 1)
        return self._surprises >= enough and self._is_rare(number)

    def _is_rare(self, number: int) -> bool:
        return self._surprises <= MOST * (number - self._since)

    def begin_trial(self, number: int, last: int) -> None:
        """From the request after `last` on the pace is half of `top_pace`, for as many as the surprises took."""
        self.in_search, self.in_trial = False, True
        self._first, self._last = last, max(LEAST_IN_TRIAL, 4 * (number - self._since) // 3)  # how many
        self._refused = self._admitted = 0

    def _judge_trial(self, number: int) -> Finding | None:
        tried = self._refused + self._admitted
        if tried < self._last and not (self._refused >= 5 and self._refused > 0.5 * tried):
            return None
        if 2 <= self._refused <= MOST * tried:
            return self._found((self._refused + self._surprises) / (tried + self._last), number)
        self._highest = 0.0
        self._patience = min(MOST_SURPRISES, 2 * self._patience)
        self.calm()
        return Finding.LIMIT

    def start_over(self) -> None:
        """Another pace is refused from now on."""
        self.calm()
        self._highest = 0.0

    def calm(self) -> None:
        """Forget what was in doubt."""
        self._surprises, self.in_search, self.in_trial = 0, False, False
        self._cuts.clear()
