"""Whether refused requests use up quota: with some vendors they do, with others they do not. Pure arithmetic."""

from __future__ import annotations

import math

EATEN = 0.5
"""Share of refused requests that counts as admitted where a rate is measured, as it is not known which it is."""


class RefusedQuota:
    """Sees every refusal: if they cost nothing, there is room for the next request at a pace that was measured.

    `admitted` arguments are running totals, in the same units as `unit`, the mean size of a request.
    """

    __slots__ = ("_admitted", "_refused_s", "_used")

    def __init__(self) -> None:
        self._used, self._refused_s, self._admitted = False, -math.inf, -math.inf

    def refused(self, now_s: float, sent_s: float, admitted: float, unit: float, *, at_measured: bool) -> bool:
        """Note a refusal of a request sent at `sent_s`; return whether it costs a slot.

        It does if the next request after a refusal, sent at a measured pace (`at_measured`), is refused too.
        """
        again = sent_s > self._refused_s and admitted - self._admitted < unit
        if again and at_measured:
            self._used = True
        if sent_s > self._refused_s:
            self._refused_s, self._admitted = now_s, admitted
        return again or self._used
