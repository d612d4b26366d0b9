"""The search for a limit while no pace is known: a handful of requests, and two more for each one that is admitted."""

from __future__ import annotations

FIRST_WINDOW = 6
"""Requests sent before anything is known: one round trip of refusals at worst."""
FREE, GROWTH = 400, 0.8
"""After the first, it sends no more per second than the second for each request sent: a limit that admits a full bucket
or window at once refuses all that is sent until the first refusal is back ("600 a clock minute")."""


class Search:
    """`allowance` is how many requests may be sent in all; the next one goes at `next_s`, spread over `spread_s`."""

    __slots__ = ("allowance", "next_s", "spread_s")

    def __init__(self) -> None:
        self.allowance = FIRST_WINDOW
        self.spread_s = self.next_s = 0.0

    def restart(self, sent: int) -> None:
        """Begin again, `sent` requests after the start of the run."""
        self.allowance = sent + FIRST_WINDOW

    def sent(self, now_s: float, sent: int) -> None:
        """Count a request that goes out now."""
        self.next_s = now_s + self.spread_s / self.allowance
        if self.spread_s and sent > FREE:
            self.next_s = max(self.next_s, now_s + 1 / (GROWTH * sent))
