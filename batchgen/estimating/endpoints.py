"""What a job with several endpoints costs: at each of them, and together from the cheapest to the dearest."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from batchgen.estimating.values import Span
from batchgen.job.requests import RequestParts
from batchgen.money.prices import ModelPrice
from batchgen.values import SMALLEST_AMOUNT


def price_at(site: RequestParts, model: str, lane: str | None = None) -> ModelPrice | None:
    """Return the price of a model at an endpoint, which may have a name of its own for it, in its lane or another."""
    name = site.model or model
    if lane is None:
        lane = None if site.lane is None else site.lane.name
    return site.price_of(name) if lane is None else site.price_of.in_lane(name, lane)


def mixed(costs: Sequence[Span[Decimal] | None], weights: Sequence[float]) -> Span[Decimal] | None:
    """Return the cost of rows that several endpoints answer; None if one of them has no price.

    Which endpoint answers a row is known only when it is asked. Expected is the mean by the endpoints' weights, low
    what the cheapest takes, and high what the dearest does.
    """
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return None
    lows, highs = [cost.low for cost in known], [cost.high for cost in known]
    expected, share = Decimal(0), Decimal(str(sum(weights)))
    for cost, weight in zip(known, weights, strict=True):
        if cost.expected is None:
            return Span(_least(lows), None, _most(highs))
        expected += cost.expected * Decimal(str(weight)) / share
    return Span(_least(lows), expected.quantize(SMALLEST_AMOUNT), _most(highs))


def _least(amounts: Sequence[Decimal | None]) -> Decimal | None:
    return None if None in amounts else min(amount for amount in amounts if amount is not None)


def _most(amounts: Sequence[Decimal | None]) -> Decimal | None:
    return None if None in amounts else max(amount for amount in amounts if amount is not None)
