"""When a row is tried again: two budgets, attempts and patience, carried out by tenacity.

Waiting out a rate limit is not an attempt: nothing was billed and the limiter, not the row, decides when to go on.
Nor is a connection that could not be had. Attempts count what may have been billed: server errors, connections lost,
timeouts, unreadable replies.
Tenacity is entered only after a row's first failure, because entering it costs 30 µs and most rows never fail.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Annotated

from msgspec import Meta, Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_result  # where no file can be opened, a row fails first

from batchgen.values import Failure, FailureKind, Outcome, Throttle, Verdict

BACKOFF_CAP_S = 30.0
"""Longest wait of one row between two attempts; below it the bound doubles from one second."""

LONGEST_RETRY_AFTER_S = 120.0
"""Longest `Retry-After` that a row waits for: values of days have been seen."""

LAST_PATIENCE_S = 120.0
"""How many seconds the last rows of a run wait out what looks like an outage: no row may fail within a minute."""


class RetrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retry]`: `max_attempts` per row, and the seconds one row may spend waiting out refusals."""

    max_attempts: Annotated[int, Meta(ge=1)] = 6
    rate_limit_patience_s: Annotated[float, Meta(ge=0)] = 900.0


class AttemptCounts(Struct, gc=False):
    """What one row has used up so far: requests sent, those that count as attempts, seconds spent refused.

    `stale`: its one immediate retry on a new connection has been had. `shared`: the last failure was an outage that
    everybody waits out together, so it draws on patience like a refusal. `last`: no fresh rows were waiting behind it,
    so what looks like an outage may just be the bad rows at the end. `timeouts`: attempts that had no answer in time.
    `all_refused`: no row was answered for as long as its patience, so that the run stops and this row stays pending.
    `disproved`: how often the row was tried again after a refusal that answers to others spoke against.
    `asked_s`: what the limiter wants this row to wait, besides waiting for its permit. `waited_s`: how long it really
    waited between its last two attempts.
    """

    requests: int = 0
    attempts: int = 0
    refused_s: float = 0.0
    stale: bool = False
    shared: bool = False
    last: bool = False
    asked_s: float = 0.0
    waited_s: float = 0.0
    timeouts: int = 0
    all_refused: bool = False
    disproved: int = 0


def is_retryable(outcome: Outcome) -> bool:
    """Whether another try could end differently."""
    return isinstance(outcome, Failure) and outcome.verdict in (Verdict.RETRY, Verdict.WAIT)


class RetryPolicy:
    """Decides whether and when a failed attempt is followed by another. `rng` gives the jitter."""

    def __init__(self, settings: RetrySettings, rng: random.Random) -> None:
        self.settings = settings
        self._rng = rng

    def exhausted(self, tally: AttemptCounts, failure: Failure) -> bool:
        """Whether the budget that this failure draws on is used up."""
        patience_s = self.settings.rate_limit_patience_s
        unsaid = failure.kind is FailureKind.SERVER_ERROR and failure.throttle is Throttle.UNKNOWN  # a bare 503
        if failure.verdict is Verdict.WAIT and not unsaid:
            return tally.refused_s >= patience_s and not tally.all_refused
        if tally.shared or unsaid:
            return tally.refused_s >= (min(patience_s, LAST_PATIENCE_S) if tally.last else patience_s)
        if failure.unsent:
            return tally.refused_s >= patience_s
        return tally.attempts >= self.settings.max_attempts

    def wait_s(self, tally: AttemptCounts, failure: Failure) -> float:
        """Seconds this row waits before it asks the limiter again.

        After a rate-limited answer, or in an outage, the limiter decides; but this row waits at least as long as its
        `Retry-After` says. A connection that had gone stale is worth one
        immediate retry. Anything else waits between half a bound and the bound, which doubles with each attempt, and
        a quarter longer than the last time, queue included: waits must grow, and those from 0 up to the bound ("full
        jitter") often do not.
        """
        if failure.verdict is Verdict.WAIT or tally.shared:
            return max(tally.asked_s, min(failure.retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))
        if failure.stale and not tally.stale:
            tally.stale = True
            return 0.0
        backoff_s = self._rng.uniform(0.5, 1.0) * min(BACKOFF_CAP_S, 2.0 ** min(max(0, tally.attempts - 1), 10))
        return max(
            backoff_s,
            min(BACKOFF_CAP_S, 1.25 * tally.waited_s),
            min(failure.retry_after_s or 0.0, self.settings.rate_limit_patience_s),
        )

    async def run(
        self,
        first: Failure,
        attempt: Callable[[], Awaitable[Outcome]],
        tally: AttemptCounts,
        sleep: Callable[[float], Awaitable[None]],
    ) -> Outcome:
        """Go on after the failed attempt `first` until an outcome is final or a budget is used up; return the last."""

        def last(state: RetryCallState) -> Outcome:
            assert state.outcome is not None
            outcome: Outcome = state.outcome.result()
            return outcome

        def failed(state: RetryCallState) -> Failure:
            outcome = last(state)
            assert isinstance(outcome, Failure)
            return outcome

        known: list[Outcome] = [first]

        async def once() -> Outcome:
            return known.pop() if known else await attempt()

        retrying = AsyncRetrying(
            retry=retry_if_result(is_retryable),
            stop=lambda state: self.exhausted(tally, failed(state)),
            wait=lambda state: self.wait_s(tally, failed(state)),
            retry_error_callback=last,
            sleep=sleep,
        )
        outcome: Outcome = await retrying(once)
        return outcome
