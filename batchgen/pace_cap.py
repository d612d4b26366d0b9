"""The most requests in flight: the job's bound, and the provider's own, found by its refusals. Pure arithmetic."""

from __future__ import annotations

import math


class Cap:
    """A provider's in-flight cap refuses the request that would exceed it, so each refusal names the cap exactly.

    `bound` is the job's `limits.concurrency` and always holds; `limit` ≤ `bound` is what is used.
    """

    __slots__ = ("_clean", "_drop", "_found", "_hold", "_patience", "_set_s", "_step", "bound", "limit")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.limit = bound
        self._set_s = -math.inf  # when the cap was set: what was sent before says nothing about it
        self._clean = 0
        self._found: int | None = None  # the cap as the last refusal named it
        self._patience = self._hold = 2  # clean requests before the next step up: few while the cap is a guess
        self._step = 1
        self._drop = 1

    def rebound(self, bound: int) -> None:
        """Take over another bound from the job."""
        self.limit = bound if self.limit == self.bound else min(self.limit, bound)
        self.bound = bound

    def held(self, now_s: float, sent_s: float) -> None:
        """Count a request that was bound by the cap and was admitted; after enough of them the cap rises."""
        if self.limit >= self.bound or sent_s <= self._set_s:
            return
        self._drop = 1
        self._clean += 1
        if self._clean >= self._hold:
            self.limit = min(self.bound, self.limit + self._step)
            self._step = min(max(1, self.limit // 4), 2 * self._step)
            self._hold = min(self._hold, max(8, self.limit // 2))
            self._clean, self._set_s = 0, now_s

    def suspect(self, in_flight: int) -> bool:
        """Whether a refusal at this level is most likely the cap's: one was found, just below."""
        found = self._found
        return found is not None and in_flight > found and self.limit <= found + max(2, found // 25)

    def refused(self, now_s: float, sent_s: float, in_flight: int) -> None:
        """One less than what was refused; refused again at once, the cap has fallen: twice as many less each time."""
        if sent_s > self._set_s:
            self.limit = max(1, min(self.limit, in_flight - self._drop))
            self._drop *= 2
            self._set_s, self._clean, self._step, self._hold = now_s, 0, 1, self._patience
            self._patience = min(max(200, 2 * self.limit), 10 * self._patience)
        else:
            self.limit = max(1, min(self.limit, in_flight - 1))
        self._found = self.limit

    def overloaded(self, now_s: float, sent_s: float, in_flight: int) -> None:
        """The service is busy, whatever its cap: four fifths of the load, and up again as after any refusal."""
        if sent_s > self._set_s:
            self.limit = max(1, min(self.limit, int(0.8 * in_flight)))
            self._set_s, self._clean, self._step, self._hold = now_s, 0, 1, max(8, self.limit // 2)
