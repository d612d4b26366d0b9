"""What a job costs in each lane that its model has (`model.lane`), and which is the cheapest.

Batch Chat costs half, but has no cache discount. With input cost I, output cost O, and cached input at the share c of
its price, it is the cheaper one while less than (0.5 + 0.5 O/I) / (1 - c) of the input is cached, at half the price.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from batchgen.errors import JobError
from batchgen.estimating.basis import Basis
from batchgen.estimating.values import LaneCost, Span
from batchgen.job.parts import JobParts
from batchgen.money.prices import ModelPrice
from batchgen.providers.lane import LIVE
from batchgen.providers.vendors import lane_of, vendor_of


def lanes_of(parts: JobParts, basis: Basis, cost: Span[Decimal] | None) -> list[LaneCost]:
    """Return the lanes with their costs, none where the ordinary calls are the only one. `cost` is that of the job."""
    model = parts.job.model
    own = model.lane
    names = [LIVE]
    for lane in vendor_of(model.provider, model.base_url or parts.endpoint.base_url).lanes:
        try:
            lane_of(lane.name, model.provider, model.base_url)
        except JobError:
            continue
        if lane.name == own or not parts.model or parts.price_of.in_lane(parts.model, lane.name) is not None:
            names.append(lane.name)
    if len(names) == 1:
        return []
    offers = [LaneCost(lane=name, cost=_cost(basis, name, own, cost)) for name in names]
    known = [offer for offer in offers if offer.cost is not None]
    if len(known) == len(offers):
        least = min(known, key=_amount)
        offers = [msgspec.structs.replace(offer, cheapest=offer is least) for offer in offers]
    price = parts.price_of.in_lane(parts.model, LIVE) if parts.model else None
    note = None if price is None else _break_even(basis, price, parts.price_of.in_lane(parts.model, "batch-chat"))
    return [msgspec.structs.replace(offer, note=note) if offer.lane == "batch-chat" else offer for offer in offers]


def _cost(basis: Basis, name: str, own: str, cost: Span[Decimal] | None) -> Span[Decimal] | None:
    """Return the cost in a lane. The ordinary calls and flex have the same discounts, so that one tells the other."""
    if name == own:
        return cost
    here, there = basis.lane_cost(own), basis.lane_cost(name)
    if "batch-chat" in (name, own) or cost is None or here is None or there is None:
        return there
    return Span(*(_scaled(*values) for values in zip(_ends(cost), _ends(here), _ends(there), strict=True)))


def _scaled(cost: Decimal | None, here: Decimal | None, there: Decimal | None) -> Decimal | None:
    return None if cost is None else cost * there / here if here and there is not None else cost


def _ends(span: Span[Decimal]) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    return span.low, span.expected, span.high


def _amount(offer: LaneCost) -> Decimal:
    """Return what the lanes are compared by: what is expected, else the most, else the least."""
    assert offer.cost is not None
    low, expected, high = _ends(offer.cost)
    return next(value for value in (expected, high, low, Decimal(0)) if value is not None)


def _break_even(basis: Basis, live: ModelPrice, other: ModelPrice | None) -> str | None:
    """Return from which share of cached input on the ordinary calls are cheaper, as a sentence."""
    output = basis.output_tokens()
    written = output.expected if output.expected is not None else output.low
    if other is None or not basis.input_tokens or written is None or not basis.rows.fitting:
        return None
    length = basis.input_tokens // basis.rows.fitting
    tier, half = live.tier(length), other.tier(length)
    thinks = all(asked.thinks for asked in basis.rows.census.groups)
    prices = (tier.thinking_output, half.thinking_output) if thinks else (tier.output, half.output)
    saved = basis.input_tokens * (tier.input - half.input) + written * (prices[0] - prices[1])
    lost = basis.input_tokens * (tier.input - tier.cached_input)
    if lost <= 0:
        return None
    share = saved / lost
    if share >= 1:
        return "without a cache discount, and cheaper however much of the input is cached"
    return f"without a cache discount: live is cheaper once {share:.1%} of the input is cached"
