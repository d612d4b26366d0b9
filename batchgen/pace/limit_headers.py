"""Limits named in response headers: they are ceilings, used at once; a low remaining quota only slows down."""

from __future__ import annotations

import math

from batchgen.pace.rate_limit import RateLimit
from batchgen.pace.values import Limits, per_s
from batchgen.values import RateLimits


class LimitHeaders:
    """Applies what the headers say to the two rate limits."""

    __slots__ = ("_requests", "_tokens", "_told")

    def __init__(self, requests: RateLimit, tokens: RateLimit) -> None:
        self._requests, self._tokens = requests, tokens
        self._told: tuple[int | None, int | None] = (None, None)

    def read(self, now_s: float, named: RateLimits, given: Limits, in_flight: int) -> None:
        """Apply named limits where they changed; those given by the job stay ceilings."""
        told = (named.limit_requests, named.limit_tokens)
        if told != self._told:
            if told[0] and told[0] != self._told[0]:
                self._name(now_s, self._requests, told[0], given.requests_per_minute)
            if told[1] and told[1] != self._told[1]:
                self._name(now_s, self._tokens, told[1], given.tokens_per_minute)
            self._told = told
        # What is in flight may not be counted yet, and of tokens nobody knows how many it will use.
        if told[0] and named.remaining_requests is not None:
            self._requests.remains(now_s, max(0, named.remaining_requests - in_flight), told[0])
        if told[1] and named.remaining_tokens is not None:
            self._tokens.remains(now_s, named.remaining_tokens, told[1])

    def _name(self, now_s: float, rate: RateLimit, named: float, given: float | None) -> None:
        if given is not None and given <= named:
            rate.limit(per_s(given))
        else:
            rate.limit(per_s(named), most_per_s=math.inf if given is None else given / 60)
            rate.cut_s = now_s  # what was refused until now was sent at another pace
