"""One prompt → one outcome: the sole meeting of provider, transport, limiter, retry and budget.

A permit is held round one attempt only; a row that waits holds none. Nothing here knows journal or Parquet.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from batchgen.engine.provider_health import Watch
from batchgen.engine.request_memory import RequestMemory
from batchgen.engine.work import RowInProgress
from batchgen.errors import ProviderStop, ResourceStop
from batchgen.money.ledger import Charges, charges_on, with_charges
from batchgen.money.prices import ModelPrice
from batchgen.money.reservation import Reservations
from batchgen.pace.limiter import Limiter
from batchgen.pace.retry import LAST_PATIENCE_S, RetryPolicy, is_retryable
from batchgen.pace.values import Ticket
from batchgen.providers.protocol import Provider
from batchgen.secret import Secret
from batchgen.tokens.count import rough_tokens
from batchgen.transport.protocol import Transport
from batchgen.values import (
    Completion,
    Cost,
    Failure,
    FailureKind,
    Outcome,
    Prompt,
    Request,
    Result,
    Status,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    pass

MESSAGE_CAP = 2_000
"""Most characters kept of a vendor's error message."""

_FREE = Cost(Decimal(0), Decimal(0))

WORDS_KEPT = 100
"""Models and finish reasons remembered with their masked form."""

FILES_KEPT = 8
"""Connections given up when no file descriptor is left: a part takes two, and the input and its thread some more."""


class Completer:
    """Sends prompts and reads answers.

    `price_of` finds a model's price; `note` takes a sentence for the user; `wall_us` gives the time of results
    (microseconds, UTC).
    """

    def __init__(
        self,
        *,
        provider: Provider,
        model: str,
        transport: Transport,
        limiter: Limiter,
        retry: RetryPolicy,
        reserve: Reservations,
        watch: Watch,
        price_of: Callable[[str], ModelPrice | None],
        stream: bool,
        key: Secret | None,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._provider = provider
        self._model = model
        self._transport = transport
        self._limiter = limiter
        self._retry = retry
        self._reserve = reserve
        self._watch = watch
        self._price_of = price_of
        self._stream = stream
        self._key = key
        self._note = note
        self._short_of_files = False
        self.room = RequestMemory()
        self._clock = clock
        self._wall_us = wall_us
        self._streamed_models: dict[str, bool] = {}
        self._words: dict[str, str] = {}
        self.refused = 0
        self.retried = 0

    async def attempt(self, work: RowInProgress, *, retry: bool = False) -> Outcome:
        """Send one request for the row and read its answer.

        Raises `LimiterClosed` when the run stops before the request could go out, `BudgetStop` when it could pass the
        budget, `ProviderStop` when the server asks for a longer wait than a row's patience.
        """
        request = work.request
        if request is None:
            request = work.request = self._provider.build_request(work.prompt, stream=self._streams(work.prompt))
            self.room.weigh(work, len(request.body))
        held, ticket = None, None
        if not self._reserve.capped:
            ticket = self._limiter.try_acquire(rough_tokens(len(request.body)), retry=retry)
        waited = ticket is None
        if ticket is None:
            held, ticket = await self._admit(request, work.prompt, retry=retry)
        else:
            self._reserve.pass_unheld()
        outcome: Outcome | None = None
        short = False
        try:
            if waited and not request.streamed and self._streams(work.prompt):  # learnt meanwhile
                request = work.request = self._provider.build_request(work.prompt, stream=True)
            if work.refused_at_s is not None:
                work.tally.refused_s += self._clock() - work.refused_at_s
                work.refused_at_s = None
            work.tally.requests += 1
            started_s = self._clock()
            if work.failed_at_s is not None:
                work.tally.waited_s = started_s - work.failed_at_s
                work.failed_at_s = None
            response = await self._transport.send(request, timeout_s=self._limiter.pacer.deadline_s)
            answered_s = self._clock()
            work.latency_ms = (answered_s - started_s) * 1000
            if isinstance(response, Failure):
                outcome = response
                short = outcome.verdict is Verdict.WAIT
            else:
                outcome = self._provider.read_response(request, response)
        finally:
            work.tally.asked_s = self._limiter.settle(ticket, None if short else outcome)
            usage = None if outcome is None else outcome.usage
            cost = None if usage is None else self._cost(work, usage)
            self._reserve.settle(held, request, work.prompt, outcome, cost)
        if isinstance(outcome, Failure):
            if short:
                self._await_files(work, outcome)
                return outcome
            self._count(work, outcome)
        reason = self._watch.observe(outcome, started_s, answered_s, first=work.tally.requests == 1)
        if reason is not None:
            raise ProviderStop(self._shown(reason))
        return outcome

    async def _admit(self, request: Request, prompt: Prompt, *, retry: bool) -> tuple[Decimal | None, Ticket]:
        """Wait until the budget and the limiter let a request go out; return what is reserved for it, and its permit.

        A budget may be set while one waits for its permit: what fits at once goes, else it gives the permit back.
        """
        tokens = rough_tokens(len(request.body))
        while not self._reserve.capped:
            ticket = await self._limiter.acquire(tokens, retry=retry)
            if not self._reserve.capped:
                self._reserve.pass_unheld()
                return None, ticket
            held = self._reserve.try_hold(request, prompt)
            if held is not None:
                return held, ticket
            self._limiter.settle(ticket, None)
        held = await self._reserve.hold(request, prompt)
        permit: Ticket | None = None
        try:
            permit = await self._limiter.acquire(tokens, retry=retry)
        finally:
            if permit is None:
                self._reserve.release(held)
        return held, permit

    def _await_files(self, work: RowInProgress, failure: Failure) -> None:
        """Take back a request that could not go out for want of a file descriptor, and send fewer at once from now on.

        The others in flight have their connections; some of these are given up so that parts can be written. No row
        fails for it: if one still finds none after two minutes, the run stops.
        """
        tally = work.tally
        tally.requests -= 1
        tally.asked_s = max(1.0, tally.refused_s / 2)
        work.refused_at_s = self._clock()
        if tally.refused_s >= min(self._retry.settings.rate_limit_patience_s, LAST_PATIENCE_S):
            raise ResourceStop(f"For {tally.refused_s:,.0f} s {self._shown(failure.message)}.")
        pacer = self._limiter.pacer
        connected = pacer.in_flight
        fit = max(1, connected - min(FILES_KEPT, connected // 2))
        if fit < pacer.limits.concurrency:
            pacer.change(msgspec.structs.replace(pacer.limits, concurrency=fit))
        if not self._short_of_files:
            self._short_of_files = True
            self._note(
                "No file descriptor is left for another connection: fewer requests are sent at once from now on. "
                "Raise the limit on open files (`ulimit -n`) for more."
            )

    def _count(self, work: RowInProgress, failure: Failure) -> None:
        """Charge a failed attempt to the budget it draws on.

        During an outage (the limiter's breaker is open) a failure costs patience like a refusal: the few rows that
        serve as probes must not use up their attempts on an outage that all rows share. A connection that could not be
        had costs patience too: nothing was sent.
        """
        if failure.verdict is Verdict.WAIT:
            self.refused += 1
            work.refused_at_s = self._clock()
            wish_s = failure.retry_after_s
            if wish_s is not None and wish_s > self._retry.settings.rate_limit_patience_s:
                raise ProviderStop(
                    f"The provider asks for a wait of {wish_s:,.0f} s, more than retry.rate_limit_patience_s "
                    f"({self._retry.settings.rate_limit_patience_s:,.0f} s): {self._shown(failure.message)}"
                )
        elif failure.verdict is Verdict.RETRY:
            self.retried += 1
            work.failed_at_s = self._clock()
            if failure.needs_stream:
                self._streamed_models[work.prompt.model or self._model] = True
                work.request = None
            work.tally.shared = self._limiter.pacer.is_down
            if work.tally.shared or failure.unsent:
                work.tally.last = not self._limiter.fresh_waiting
                work.refused_at_s = self._clock()
            else:
                work.tally.attempts += 1
        if failure.usage is not None and is_retryable(failure):
            self._bill(work, failure.usage)

    def _bill(self, work: RowInProgress, usage: Usage) -> None:
        """Charge the row for an attempt that does not settle it."""
        cost = self._cost(work, usage)
        item = Charges(
            work.row,
            0,
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            None if cost is None else cost.input,
            None if cost is None else cost.output,
        )
        work.billed = item if work.billed is None else charges_on(work.row, work.billed, item)

    async def again(self, work: RowInProgress, failure: Failure, sleep: Callable[[float], Awaitable[None]]) -> Outcome:
        """Go on with a row whose attempt failed in a way that another try can mend; return its final outcome.

        `sleep` waits out the row's own backoff and may raise to end it.
        """

        async def attempt() -> Outcome:
            return await self.attempt(work, retry=True)

        return await self._retry.run(failure, attempt, work.tally, sleep)

    def _streams(self, prompt: Prompt) -> bool:
        if self._stream:
            return True
        model = prompt.model or self._model
        known = self._streamed_models.get(model)
        if known is None:
            known = self._streamed_models[model] = self._provider.must_stream(model)
        return known

    def _cost(self, work: RowInProgress, usage: Usage) -> Cost | None:
        if work.priced is None or work.priced[0] is not usage:
            price = self._price_of(work.prompt.model or self._model)
            work.priced = usage, None if price is None else price.cost(usage)
        return work.priced[1]

    def stop_reason(self, failure: Failure) -> ProviderStop:
        """The exception for an answer that no row can survive, in the vendor's own words."""
        status = f"HTTP {failure.http_status}" if failure.http_status is not None else "no answer"
        code = f", {failure.code}" if failure.code else ""
        return ProviderStop(
            f"The provider refused for good ({self._shown(status + code)}): {self._shown(failure.message)}"
        )

    def _masked(self, text: str | None) -> str | None:
        """A vendor's word as it may be kept: some quote the key in whatever field they have."""
        return text if text is None or self._key is None else self._key.mask(text)

    def _word(self, text: str | None) -> str | None:
        """The same for words that come again and again: looked at once."""
        if text is None:
            return None
        known = self._words.get(text)
        if known is None:
            known = self._masked(text) or ""
            if len(self._words) < WORDS_KEPT:
                self._words[text] = known
        return known

    def _keyless(self, text: str | None) -> str | None:
        """An answer's text as it may be kept: a server that repeats its request's headers quotes the key in it."""
        return text if text is None or self._key is None else self._key.mask_literal(text)

    def _shown(self, text: str) -> str:
        text = self._key.mask(text) if self._key is not None else text
        return text[:MESSAGE_CAP]

    def result(self, work: RowInProgress, outcome: Outcome) -> Result:
        """What is recorded for the row: the final outcome with the sums over all its attempts."""
        result = self._last(work, outcome)
        return result if work.billed is None else with_charges(result, work.billed)

    def _last(self, work: RowInProgress, outcome: Outcome) -> Result:
        """The outcome as a result, with the usage and cost of the last attempt alone."""
        usage = outcome.usage
        if usage is not None and is_retryable(outcome):
            usage = None  # it was billed when it was counted
        cost = self._cost(work, usage) if usage is not None else None
        if cost is None and isinstance(outcome, Failure) and self._price_of(work.prompt.model or self._model):
            cost = _FREE
        attempts = work.tally.requests
        if isinstance(outcome, Completion):
            assert usage is not None
            return Result(  # in the order of its fields: names would cost 0.9 µs a row
                work.row,
                Status.SUCCEEDED,
                attempts,
                self._wall_us(),
                self._keyless(outcome.text if outcome.text is not None else outcome.refusal),
                self._keyless(outcome.reasoning),
                self._keyless(outcome.tool_calls),
                self._word(outcome.finish_reason),
                usage.input_tokens,
                usage.output_tokens,
                usage.total_tokens,
                usage.cached_tokens,
                usage.reasoning_tokens,
                cost.input if cost else None,
                cost.output if cost else None,
                self._word(outcome.model),
                self._masked(outcome.request_id),
                work.latency_ms,
                outcome.http_status,
            )
        return Result(
            row=work.row,
            status=Status.FAILED,
            attempts=attempts,
            finished_at_us=self._wall_us(),
            finish_reason=self._masked(outcome.finish_reason),
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            total_tokens=usage.total_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            reasoning_tokens=usage.reasoning_tokens if usage else None,
            input_cost=cost.input if cost else None,
            output_cost=cost.output if cost else None,
            model=self._masked(outcome.model),
            request_id=self._masked(outcome.request_id),
            latency_ms=work.latency_ms if outcome.kind is not FailureKind.PROMPT else None,
            http_status=outcome.http_status,
            error_kind=outcome.kind,
            error_code=self._masked(outcome.code),
            error_message=self._shown(outcome.message),
        )
