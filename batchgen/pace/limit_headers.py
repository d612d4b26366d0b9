"""Limits named in response headers: they are ceilings, used at once; a low remaining quota only slows down."""

from __future__ import annotations

from batchgen.pace.rate_limit import RateLimit, lesser_per_s
from batchgen.pace.values import Limits
from batchgen.values import RateLimits


class LimitHeaders:
    """Applies what the headers say to the two rate limits."""

    __slots__ = ("_requests", "_tokens", "_told")

    def __init__(self, requests: RateLimit, tokens: RateLimit) -> None:
        self._requests, self._tokens = requests, tokens
        self._told: tuple[int | None, int | None] = (None, None)

    def read(self, named: RateLimits, given: Limits) -> None:
        """Apply named limits where they changed; those given by the job stay ceilings."""
        told = (named.limit_requests, named.limit_tokens)
        if told != self._told:
            if told[0] and told[0] != self._told[0]:
                self._requests.limit(lesser_per_s(told[0], given.requests_per_minute))
            if told[1] and told[1] != self._told[1]:
                self._tokens.limit(lesser_per_s(told[1], given.tokens_per_minute))
            self._told = told
        for rate, limit, remaining in (
            (self._requests, named.limit_requests, named.remaining_requests),
            (self._tokens, named.limit_tokens, named.remaining_tokens),
        ):
            if limit and remaining is not None:
                rate.remains(remaining / limit)
