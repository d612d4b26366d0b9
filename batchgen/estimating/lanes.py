"""What a job costs in each lane that its model has (`model.lane`), and which is the cheapest.

Batch Chat and most batches cost half, but have no cache discount. With input cost I, output cost O, and cached input at
the share c of its price, they are the cheaper ones while less than (0.5 + 0.5 O/I) / (1 - c) of the input is cached, at
half the price.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from batchgen.errors import JobError
from batchgen.estimating.basis import Basis
from batchgen.estimating.values import LaneCost, Span
from batchgen.job.parts import JobParts
from batchgen.money.prices import ModelPrice
from batchgen.providers.lane import BATCH, LIVE
from batchgen.providers.vendors import lane_of, vendor_of
from batchgen.text.figures import seconds_of

_HALF = ("batch-chat", BATCH)
"""The lanes at about half the price, mostly without a cache discount."""


def lanes_of(
    parts: JobParts, basis: Basis, cost: Span[Decimal] | None, duration_s: Span[float] | None
) -> list[LaneCost]:
    """Return the lanes with their costs, none where the ordinary calls are the only one.

    `cost` is that of the job, `duration_s` the time that the ordinary calls take.
    """
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
    offers = [LaneCost(lane=name, cost=_cost(basis, name, own, cost), note=_note(parts, basis, name)) for name in names]
    known = [offer for offer in offers if offer.cost is not None]
    if len(known) == len(offers):
        least = min(known, key=_amount)
        offers = [msgspec.structs.replace(offer, cheapest=offer is least) for offer in offers]
    deadline_s = parts.job.batch.deadline_s
    return offers if deadline_s is None else _by(deadline_s, offers, parts, basis, duration_s)


def _by(
    deadline_s: float, offers: list[LaneCost], parts: JobParts, basis: Basis, duration_s: Span[float] | None
) -> list[LaneCost]:
    """Return the lanes with what is known of their times, and the cheapest that meets the deadline.

    A vendor may take the whole window for each batch, and those that do not fit into the queue come after one another.
    What is not answered by the deadline may be asked live: then batches meet it whenever ordinary calls would, and
    cost at most what these do.
    """
    longest = None if duration_s is None else duration_s.high or duration_s.expected
    live = None if longest is None else longest <= deadline_s
    settings = parts.job.batch
    rounds = -(-basis.input_tokens // settings.queued_tokens) if settings.queued_tokens else 1
    within = (seconds_of(settings.window) or 0.0) * max(1, rounds) <= deadline_s
    found = []
    for offer in offers:
        if offer.lane != BATCH:
            found.append(msgspec.structs.replace(offer, in_time=live if offer.lane == LIVE else None))
        elif within or settings.after_deadline == "wait":
            found.append(msgspec.structs.replace(offer, in_time=within))
        else:
            note = "; ".join(filter(None, (offer.note, "what is open at the deadline is asked live, at its price")))
            found.append(msgspec.structs.replace(offer, in_time=live, note=note))
    met = [offer for offer in found if offer.in_time and offer.cost is not None]
    least = min(met, key=_amount, default=None)
    return [msgspec.structs.replace(offer, cheapest_in_time=offer is least) for offer in found]


def _cost(basis: Basis, name: str, own: str, cost: Span[Decimal] | None) -> Span[Decimal] | None:
    """Return the cost in a lane. The ordinary calls and flex have the same discounts, so that one tells the other."""
    if name == own:
        return cost
    here, there = basis.lane_cost(own), basis.lane_cost(name)
    if not {name, own}.isdisjoint(_HALF) or cost is None or here is None or there is None:
        return there
    return Span(*(_scaled(*values) for values in zip(_ends(cost), _ends(here), _ends(there), strict=True)))


def _note(parts: JobParts, basis: Basis, name: str) -> str | None:
    """Return what a lane at half the price costs where much of the input is cached."""
    live = parts.price_of.in_lane(parts.model, LIVE) if parts.model and name in _HALF else None
    return None if live is None else _break_even(basis, live, parts.price_of.in_lane(parts.model, name))


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
    length = basis.input_tokens // (basis.rows.fitting * basis.rows.votes)
    tier, half = live.tier(length), other.tier(length)
    thinks = all(asked.thinks for asked in basis.rows.census.groups)
    prices = (tier.thinking_output, half.thinking_output) if thinks else (tier.output, half.output)
    saved = basis.input_tokens * (tier.input - half.input) + written * (prices[0] - prices[1])
    lost = basis.input_tokens * ((tier.input - tier.cached_input) - (half.input - half.cached_input))
    if half.cached_input < half.input:
        return "with the cache discount, which rows of one batch hardly ever meet: they run side by side"
    if lost <= 0:
        return None
    share = saved / lost
    if share >= 1:
        return "without a cache discount, and cheaper however much of the input is cached"
    return f"without a cache discount: live is cheaper once {share:.1%} of the input is cached"
