"""Refusals that no load prevents, told from those of a limit, whatever they are called. Pure arithmetic.

A limit that refuses a third of the requests refuses none at half the load; and a search that has run into a limit is
refused nearly throughout. Refusals that come by chance (a busy pool behind the API, say) keep their share at any load,
be the load a pace or a number of requests in flight. Once known, that share is tolerated: slowing down would not lessen
it. A share that was found wrongly is forgotten at the first steady load, where nothing is refused.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from enum import Enum

LEAST_IN_SEARCH = 3
"""Requests out after the first refusal of a search from which it can be judged."""
EARLY, MORE_IN_SEARCH = 12, 6
"""With fewer, among so many of the run's first requests, as many more are sent once to judge by."""
ENOUGH = 10
"""Requests since the last cut from which the load is believed to be steady."""
SURPRISES = 3
"""Refusals, each at a load found safe and that many requests after a cut, that raise a doubt. Twice as many for tokens,
and below one a second, where a trial takes minutes."""
LEAST_FALL = 15
"""Requests within which cuts must have halved the load, at least, to raise one."""
MOST_SURPRISES = 6
"""As many once a trial was in vain."""
LEAST_IN_TRIAL, ENOUGH_REFUSED = 40, 5
"""Requests that a trial takes at least, or half of them if so many are refused."""
ABOVE, ABOVE_REFUSED, ABOVE_ADMITTED = 3.0, 4, 16
"""A pace that nobody named is first tried at this multiple, once, where a limit refuses two thirds: so many refused, or
admitted, decide. That takes seconds where a trial below a low pace takes minutes."""
MOST = 0.35
"""Greatest share at a pace that is believed to be chance; beyond, a limit may refuse at half the pace too."""
SUM = 4.0
"""How far refusals may run ahead of their share before a limit is blamed."""
FEW = 2.0
"""The same at a pace that somebody named, while no share is known."""
LEEWAY = 0.02
"""What is paid off besides the share: so much of a limit's refusals goes unnoticed."""
LOT, LONG = 50, 400
"""Requests after which the share is brought up to date, and those that it is a mean over."""
LEAST = 0.002
"""A smaller share is none."""


class Finding(Enum):
    """What a doubt came to."""

    LIMIT = "limit"
    NOISE = "noise"
    UNSURE = "unsure"  # one more trial is due


class Noise:
    """The share of requests that is refused by chance, 0 until found; requests are known by their number."""

    __slots__ = (
        "_admitted", "_asked", "_before", "_cuts", "_early", "_excess", "_first", "_highest", "_known", "_last",
        "_lot", "_lot_refused", "_met", "_most", "_patience", "_refused", "_rise", "_seen", "_since", "_steady", "_sum",
        "_surprises", "_tried", "above", "in_search", "in_trial", "may_rise", "share", "top", "trial",
    )  # fmt: skip

    def __init__(self) -> None:
        self.share = 0.0
        self._known = 0.0  # requests that the share was learnt from
        self._most = 0.0  # what it may be at most, by the requests that it was found from
        self.in_search = self.in_trial = False  # a doubt is open
        self.above = False  # and its trial is above the load
        self.may_rise = True  # none was so far
        self.trial = 0.0  # load of the trial
        self._steady = False  # the surprises came at one load, more or less
        self.top = 0.0  # load at the first surprise: a pace, or a number of requests in flight
        self._first = self._last = 0  # requests that the doubt is about
        self._refused = self._admitted = 0
        self._before = 0  # refusals of the run before those, up to that of the search
        self._surprises = 0
        self._since = (0, 0)  # the cut before the first surprise: its request, refusals until then
        self._asked = self._met = 0  # requests since then, and refusals
        self._cuts: deque[tuple[int, int]] = deque(maxlen=SURPRISES + 1)
        self._highest = 0.0  # safe load at a cut, since the last finding
        self._patience = SURPRISES
        self._sum, self._seen = 0.0, 0
        self._lot = self._lot_refused = 0
        self._early = EARLY  # once
        self._tried = False  # the share was found by a trial
        self._rise = (0, 0)  # the request at which the sum began to rise, refusals since then
        self._excess = False  # more was refused at a load that somebody named than `tolerates` passes over

    # ---- a known share

    @property
    def proven(self) -> float:
        """The share if it was seen long enough below any limit, else 0."""
        return self.share if self._known >= LONG else 0.0

    def saw(self, *, refused: bool) -> None:
        """Count a request that met no limit for sure, so that the share stays true and is forgotten in the end."""
        self._lot += 1
        self._lot_refused += refused
        if self._lot < LOT:
            return
        self._known = min(LONG, self._known + LOT)
        self.share += (self._lot_refused / LOT - self.share) * LOT / self._known
        self.share = min(self._most, self.share) if self.share >= LEAST else 0.0
        self._lot = self._lot_refused = 0

    def tolerates(self, last: int, *, named: bool) -> bool:
        """Whether a refusal is no more than was to be expected; then it says nothing about a limit.

        `last` requests were sent so far. Each refusal counts one and each request takes a little more than the share
        off; the sum stays small while the share is as it was. Without a known share a few are passed over at a load
        that somebody `named`. A share found in the search alone is forgotten when there are more.
        """
        if not self.share and not named:
            return False
        spread = self.share * (1 - self.share)
        paid = 1.25 * self.share + LEEWAY + (math.sqrt(spread / self._known) if spread else 0.0)
        self._sum, self._seen = max(0.0, self._sum - paid * (last - self._seen)) + 1.0, last
        self._rise = (self._rise[0], self._rise[1] + 1) if self._sum > 1.0 else (last, 1)
        if self._sum <= (SUM + 20 * spread if spread else FEW):
            return True
        self._sum = 0.0
        self._excess = named and not self.share
        if not self._tried:
            self.share = 0.0
        return False

    def _found(self, refused: int, asked: int, number: int) -> Finding:
        self.share, self._known = refused / asked, float(asked)
        self._most = min(MOST, self.share + math.sqrt(self.share * (1 - self.share) / asked))
        self._sum, self._seen = 0.0, number
        self._lot = self._lot_refused = 0
        self._tried = self.in_trial and not self.above  # a few seconds do not prove it
        self._highest, self._patience = 0.0, SURPRISES
        self.calm()
        return Finding.NOISE

    # ---- a doubt, in the search or at a load

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

    def search_refused(self, number: int, refused: int, last: int, after: Iterable[bool]) -> bool:
        """The search was refused at `number`, with requests up to `last` out: how many of them are refused too?

        `refused` counts the run's refusals, `after` are those already decided, True if admitted. True if it is too
        early to cut: the search goes on, and the next ones are counted as well. The share is one of all that was asked,
        before the first refusal too: of the few after it, a limit may have let most pass.
        """
        self.calm()
        self.share, self.top, self.in_search = 0.0, math.inf, last - number >= LEAST_IN_SEARCH
        known = list(after)
        self._admitted = sum(known)
        self._first, self._last, self._refused = number, last, len(known) - self._admitted
        self._before = refused - self._refused
        self._cuts.append((number, refused))
        if self.in_search or last > self._early:
            return False
        self._early, self._last, self.in_search = 0, last + MORE_IN_SEARCH, True
        return True

    def _judge_search(self) -> Finding | None:
        out = self._last - self._first
        if 5 * self._admitted >= 3 * out:
            return self._found(self._refused + self._before, self._refused + self._admitted + self._first, self._last)
        if 5 * self._refused > 2 * out:
            self.in_search = False
        return None

    def surprised(self, number: int, refused: int, load: float, *, safe: bool, rough: bool) -> bool:
        """Take note of a refusal at `load`, found `safe` before or not; True if a trial is due.

        It surprises if the load was safe and enough was asked since the last cut: what follows a cut at once may be
        paying for the load before. Any is a reason to try that comes when the cuts have halved the load; and so is one
        at a load that somebody named, once `tolerates` has passed over a few. But of all requests meanwhile, no more
        than `MOST` may have been refused (`refused` in the run so far). `rough`: the load is a pace of tokens, known
        less exactly.
        """
        cuts = self._cuts
        cuts.append((number, refused))
        if self._excess:
            self._excess, self._steady, self.top = False, True, load
            self._asked, self._met = self._seen - self._rise[0] + 1, self._rise[1]
            return self._met <= MOST * self._asked
        if safe:
            self._highest = max(self._highest, load)
        if len(cuts) < 2:
            return False
        halved = len(cuts) > SURPRISES and load <= (0.25 if rough else 0.5) * self._highest
        if halved and number - cuts[0][0] >= LEAST_FALL:
            self._surprises, self._since, self.top, self._steady = SURPRISES, cuts[0], self._highest, False
        elif not safe:
            self._surprises = 0
            return False
        elif number - cuts[-2][0] < ENOUGH:
            return False
        else:
            if not self._surprises:
                self._since, self.top, self._steady = cuts[-2], load, True
            self._surprises += 1
            if self._surprises < self._patience * (2 if rough or load < 1.0 else 1):
                return False
        since, refused_before = self._since
        self._asked, self._met = number - since, refused - refused_before
        return self._met <= MOST * self._asked

    def begin_trial_above(self, last: int, load: float) -> None:
        """Begin a trial with the request after `last` at a multiple of the load, which no limit lets pass."""
        self.in_search, self.in_trial, self.above, self.may_rise = False, True, True, False
        self.trial = ABOVE * load
        self._first = last
        self._refused = self._admitted = 0

    def begin_trial(self, last: int, load: float) -> None:
        """Begin a trial with the request after `last`, for as many as the surprises took.

        A limit that refused so many requests at this load would refuse none of them a fifth below what it admitted.
        If the load had not been steady, a first trial only finds out how many that are.
        """
        self.in_search, self.in_trial = False, True
        self.trial = 0.8 * (1 - self._met / self._asked) * load if self._steady else min(0.75 * load, 0.5 * self.top)
        self._try_after(last)

    def try_again(self, last: int) -> None:
        """Begin the second trial with the request after `last`: at half of what a limit admitted in the first."""
        self._steady, self._asked, self._met = True, self._refused + self._admitted, self._refused
        self.trial *= 0.5 * (1 - self._met / self._asked)
        self._try_after(last)

    def _try_after(self, last: int) -> None:
        asked = ENOUGH_REFUSED * self._asked // max(1, self._met)
        self._first, self._last = last, max(LEAST_IN_TRIAL, asked)  # the second is how many
        self._refused = self._admitted = 0

    def _judge_trial(self, number: int) -> Finding | None:
        tried = self._refused + self._admitted
        if self.above:
            if self._admitted >= ABOVE_ADMITTED:
                self.top = self.trial
                return self._found(self._refused + self._met, tried + self._asked, number)
            return self._is_limit() if self._refused >= ABOVE_REFUSED else None
        enough = self._refused >= ENOUGH_REFUSED and (tried >= LEAST_IN_TRIAL // 2 or 2 * self._refused > tried)
        if tried < self._last and not enough:
            return None
        if 2 <= self._refused <= MOST * tried:
            if not self._steady:
                return Finding.UNSURE
            return self._found(self._refused + self._met, tried + self._asked, number)
        return self._is_limit()

    def _is_limit(self) -> Finding:
        self._highest = 0.0
        self._patience = min(MOST_SURPRISES, 2 * self._patience)
        self.calm()
        return Finding.LIMIT

    def start_over(self) -> None:
        """Something else is refused from now on."""
        self.calm()
        self._highest = 0.0

    def calm(self) -> None:
        """Forget what was in doubt."""
        self._surprises, self.in_search, self.in_trial, self.above, self._excess = 0, False, False, False, False
        self._cuts.clear()
