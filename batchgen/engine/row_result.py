"""What is recorded for a row: its final outcome, with the sums over all its attempts."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import msgspec

from batchgen.engine.masking import Masker
from batchgen.engine.work import RowInProgress
from batchgen.job.requests import RequestParts
from batchgen.money.ledger import Charges, charges_on, with_charges
from batchgen.money.prices import ModelPrice
from batchgen.pace.retry import AttemptCounts, is_retryable
from batchgen.providers.lane import BATCH
from batchgen.values import Completion, Cost, Failure, FailureKind, Outcome, Prompt, Result, Status, Usage

_NO_USAGE = Usage()
_SUCCEEDED = Status.SUCCEEDED  # looked up in the enumeration it takes ten times as long
_FREE = Cost(Decimal(0), Decimal(0))


class RowResults:
    """Makes results of outcomes. `model` and `service_tier` are those the job asks for, `price_of` finds a
    model's price.

    `wall_ns` gives the time of results, in nanoseconds since 1970, UTC. `endpoints` is given for a job with
    several, each with its own name, and maybe its own model and prices.
    """

    def __init__(
        self,
        model: str,
        price_of: Callable[[str], ModelPrice | None],
        masker: Masker,
        wall_ns: Callable[[], int] = time.time_ns,
        *,
        service_tier: str | None = None,
        endpoints: RequestParts | None = None,
    ) -> None:
        self._sites = () if endpoints is None else endpoints.sites
        self._keys = None if endpoints is None else endpoints.keys
        self._model = model
        self._price_of = price_of
        self.masker = masker
        self._wall_ns = wall_ns
        self._service_tier = service_tier
        self._batch_prices: dict[tuple[str, str], ModelPrice | None] = {}

    def cost(self, row: RowInProgress, outcome: Outcome) -> Cost | None:
        """Return what an outcome's usage costs, None without usage or a known price. Budget and result both ask for it.

        The model and the class of service that answered decide, where they are not those that were asked for.
        """
        usage = outcome.usage
        if usage is None:
            return None
        if row.priced is None or row.priced[0] is not usage:
            model, price_of, tier = self._model, self._price_of, self._service_tier
            if self._sites:
                site = self._sites[row.endpoint]
                model, price_of, tier = site.model, site.price_of, site.service_tier
            row.priced = usage, self._priced(row.prompt.model or model, tier, price_of, outcome, usage)
        return row.priced[1]

    def has_price(self, outcome: Outcome) -> bool:
        """Whether the model has a price, at least for the ordinary class of service."""
        return self._price_of(outcome.model or self._model) is not None or self._price_of(self._model) is not None

    def _priced(
        self,
        asked: str,
        tier: str | None,
        price_of: Callable[[str], ModelPrice | None],
        outcome: Outcome,
        usage: Usage,
    ) -> Cost | None:
        price = None if outcome.model is None or outcome.model == asked else price_of(outcome.model)
        price = price or price_of(asked)
        if price is None:
            return None
        if outcome.service_tier == BATCH:
            price = self._in_batches(price)
            if price is None:
                return None
        if not isinstance(outcome, Completion):
            return price.cost(usage)
        thinking = True if outcome.reasoning else None
        if outcome.service_tier in (None, BATCH):
            return price.cost(usage, thinking=thinking)
        factor = price.service_factor(tier, outcome.service_tier)
        return None if factor is None else price.cost(usage, thinking=thinking, factor=factor)

    def _in_batches(self, price: ModelPrice) -> ModelPrice | None:
        """Return what is paid inside a batch, worked out once for each model."""
        named = price.model, price.region
        if named not in self._batch_prices:
            self._batch_prices[named] = price.in_lane(BATCH)
        return self._batch_prices[named]

    def bill(self, row: RowInProgress, outcome: Outcome) -> None:
        """Charge the row for an attempt that does not end it; its usage is known."""
        usage, cost = outcome.usage or _NO_USAGE, self.cost(row, outcome)
        item = Charges(
            row.row,
            0,
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            None if cost is None else cost.input,
            None if cost is None else cost.output,
            reported_cost=outcome.reported_cost if isinstance(outcome, Completion) else None,
        )
        row.billed = item if row.billed is None else charges_on(row.row, row.billed, item)

    def unfinished(self, row: RowInProgress) -> Charges | None:
        """Return what is to be put on record for a row that ends without a result, None if nothing was sent for it."""
        if not row.tally.requests:
            return None
        return msgspec.structs.replace(row.billed or Charges(row.row, 0), attempts=row.tally.requests)

    def unasked(self, row: int, failure: Failure) -> Result:
        """Return the result of a row that cannot be asked at all."""
        return self.result(RowInProgress(row, Prompt(), AttemptCounts()), failure)

    def result(self, row: RowInProgress, outcome: Outcome) -> Result:
        """Return what is recorded for the row."""
        result = self._completed(row, outcome) if isinstance(outcome, Completion) else self._failed(row, outcome)
        if self._sites and row.tally.requests:
            result = self._at_endpoint(row, result)
        return result if row.billed is None else with_charges(result, row.billed)

    def _at_endpoint(self, row: RowInProgress, result: Result) -> Result:
        """Return a result with the endpoint that it is from, and the key of the request as it was sent there."""
        site = self._sites[row.endpoint]
        key = None if row.key is None or self._keys is None else self._keys.at(row.key, site.model).hex()
        return msgspec.structs.replace(result, endpoint=site.name, request_key=key)

    def _completed(self, row: RowInProgress, completion: Completion) -> Result:
        usage, literal, words, wall_ns = completion.usage, self.masker.literal, self.masker.words, self._wall_ns
        text = completion.text if completion.text or completion.refusal is None else completion.refusal
        priced = row.priced
        cost = priced[1] if priced is not None and priced[0] is usage else self.cost(row, completion)
        return Result(  # in the order of its fields: names would cost 0.9 µs a row
            row.row,
            _SUCCEEDED,
            row.tally.requests,
            wall_ns() // 1000,
            text and literal(text),
            completion.reasoning and literal(completion.reasoning),
            completion.tool_calls and literal(completion.tool_calls),
            words[completion.finish_reason],
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            cost.input if cost else None,
            cost.output if cost else None,
            words[completion.model],
            completion.request_id and self.masker.any_form(completion.request_id),
            row.latency_ms,
            completion.http_status,
            reported_cost=completion.reported_cost,
            request_key=None if row.key is None else row.key.hex(),
        )

    def _failed(self, row: RowInProgress, failure: Failure) -> Result:
        usage, masker = failure.usage, self.masker
        if usage is not None and is_retryable(failure):
            usage = None  # it was billed when the failed attempt was counted
        cost = self.cost(row, failure) if usage is not None else None
        if cost is None and self._price_of(row.prompt.model or self._model):
            cost = _FREE
        return Result(
            row=row.row,
            status=Status.FAILED,
            attempts=row.tally.requests,
            finished_at_us=self._wall_ns() // 1000,
            finish_reason=masker.field(failure.finish_reason),
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            total_tokens=usage.total_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            reasoning_tokens=usage.reasoning_tokens if usage else None,
            input_cost=cost.input if cost else None,
            output_cost=cost.output if cost else None,
            model=masker.field(failure.model),
            request_id=masker.field(failure.request_id),
            latency_ms=row.latency_ms if failure.kind is not FailureKind.PROMPT else None,
            http_status=failure.http_status,
            error_kind=failure.kind,
            error_code=masker.field(failure.code),
            error_message=masker.message(failure.message),
            request_key=None if row.key is None else row.key.hex(),
        )
