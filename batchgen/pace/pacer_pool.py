"""Several endpoints behind one gate: a pacer for each account, and the endpoint that the next request goes to.

The pool looks like a `Pacer` to the limiter, so that all rows wait in one queue and go to whichever endpoint may be
asked first; of several the cheapest is taken, of equally cheap ones that which has had least by its weight. Nobody
waits for a cheaper one: that would leave the others idle. Pure arithmetic; the clock is `now_s`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from batchgen.pace.pacer import Pacer
from batchgen.pace.values import Limits, PaceSample, Ticket
from batchgen.values import RateLimits, Throttle, Usage


class PooledEndpoint(Struct, eq=False):
    """An endpoint as the pool sees it. `price` only has to be comparable; one without a weight is a spare.

    `retry_s`: while it is left out, when a single request tries whether it answers again; None while it is in use.
    """

    name: str
    pacer: Pacer
    price: float = 0.0
    weight: float = 1.0
    retry_s: float | None = None
    in_flight: int = 0
    sent: int = 0

    @property
    def usable(self) -> bool:
        """Whether it is neither left out nor failing every request."""
        return self.retry_s is None and not self.pacer.is_down

    @property
    def share(self) -> float:
        """What it has had, by its weight."""
        return self.sent / (self.weight or 1.0)


class PacerPool:
    """The gate of several endpoints; endpoints of one account have the same pacer. `limits` bound all of them."""

    def __init__(self, endpoints: Sequence[PooledEndpoint], limits: Limits) -> None:
        self.limits = limits
        self.endpoints = list(endpoints)
        self.pacers = list(dict.fromkeys(endpoint.pacer for endpoint in endpoints))
        self.in_flight = 0
        self._by_price = sorted(self.endpoints, key=lambda endpoint: endpoint.price)
        self._place = {id(endpoint): place for place, endpoint in enumerate(self.endpoints)}
        self._next = self.endpoints[0]

    # ---- sending

    def gate(self, now_s: float) -> float:
        """Return the seconds until the next request may go: 0 now, `inf` not before some answer has come."""
        if self.in_flight >= self.limits.concurrency:
            return math.inf
        spares = not any(endpoint.weight and endpoint.usable for endpoint in self.endpoints)
        waits_s: dict[int, float] = {}
        best: PooledEndpoint | None = None
        for endpoint in self._by_price:
            if best is not None and endpoint.price > best.price:
                break
            if not endpoint.weight and not spares:
                continue
            wait_s = self._wait_s(endpoint, now_s)
            waits_s[id(endpoint.pacer)] = min(wait_s, waits_s.get(id(endpoint.pacer), math.inf))
            if wait_s <= 0 and (best is None or endpoint.share < best.share):
                best = endpoint
        if best is None:
            return min(waits_s.values(), default=math.inf)
        self._next = best
        return 0.0

    @staticmethod
    def _wait_s(endpoint: PooledEndpoint, now_s: float) -> float:
        if endpoint.retry_s is not None:
            if endpoint.in_flight:  # what was out when it was left out, or the one that tries it
                return math.inf
            if endpoint.retry_s > now_s:
                return endpoint.retry_s - now_s
        return endpoint.pacer.gate(now_s)

    def sent(self, now_s: float, tokens: float, *, retry: bool = False) -> Ticket:
        """Count a request that goes out now, to the endpoint that the gate was opened for."""
        endpoint = self._next
        ticket = endpoint.pacer.sent(now_s, tokens, retry=retry)
        ticket.endpoint = self._place[id(endpoint)]
        endpoint.sent += 1
        endpoint.in_flight += 1
        self.in_flight += 1
        return ticket

    # ---- outcomes

    def _returned(self, ticket: Ticket) -> Pacer:
        endpoint = self.endpoints[ticket.endpoint]
        endpoint.in_flight -= 1
        self.in_flight -= 1
        return endpoint.pacer

    def succeeded(self, now_s: float, ticket: Ticket, usage: Usage | None, limits: RateLimits | None) -> None:
        """See `Pacer.succeeded`."""
        self._returned(ticket).succeeded(now_s, ticket, usage, limits)

    def refused(
        self,
        now_s: float,
        ticket: Ticket,
        throttle: Throttle,
        retry_after_s: float | None = None,
        limits: RateLimits | None = None,
    ) -> float:
        """See `Pacer.refused`."""
        return self._returned(ticket).refused(now_s, ticket, throttle, retry_after_s, limits)

    def broken(self, now_s: float, ticket: Ticket, *, late: bool = False) -> None:
        """See `Pacer.broken`."""
        self._returned(ticket).broken(now_s, ticket, late=late)

    def abandoned(self, ticket: Ticket) -> None:
        """See `Pacer.abandoned`."""
        self._returned(ticket).abandoned(ticket)

    # ---- settings and what is seen from outside

    def others_usable(self, place: int) -> bool:
        """Whether another endpoint than the one at `place` can take requests."""
        return any(endpoint.usable for endpoint in self.endpoints if self._place[id(endpoint)] != place)

    def reprice(self, place: int, price: float) -> None:
        """Have an endpoint asked by another price from now on."""
        if self.endpoints[place].price != price:
            self.endpoints[place].price = price
            self._by_price.sort(key=lambda endpoint: endpoint.price)

    def change(self, limits: Limits) -> None:
        """Bound all endpoints together by other limits; those of each are changed at its pacer."""
        self.limits = limits

    @property
    def is_down(self) -> bool:
        """Whether no endpoint can take requests."""
        return not any(endpoint.usable for endpoint in self.endpoints)

    def waits_for(self, now_s: float) -> str | None:
        """Return why nothing is sent at the moment, None while requests go out."""
        reasons = [pacer.waits_for(now_s) for pacer in self.pacers]
        return None if None in reasons else reasons[0]

    def snapshot(self, now_s: float) -> PaceSample:
        """Return the sums over the endpoints, and the worst of their latencies."""
        samples = [pacer.snapshot(now_s) for pacer in self.pacers]

        def combined(name: str, combine: Callable[[list[float]], float] = sum) -> float | None:
            known = [value for sample in samples if (value := getattr(sample, name)) is not None]
            return combine(known) if known else None

        counts = {name: int(combined(name) or 0) for name in ("in_flight", "cap", "sent", "refused", "failed")}
        return PaceSample(
            time_s=now_s,
            requests_per_s=combined("requests_per_s"),
            tokens_per_s=combined("tokens_per_s"),
            latency_p50_s=combined("latency_p50_s", max),
            latency_p95_s=combined("latency_p95_s", max),
            latency_p99_s=combined("latency_p99_s", max),
            **counts,
        )

    def limited_by(self) -> str | None:
        """Say in one phrase for each endpoint what held most of its requests back; None if nothing did."""
        named = {pacer: [e.name for e in self.endpoints if e.pacer is pacer] for pacer in self.pacers}
        said = [f"{', '.join(named[pacer])}: {why}" for pacer in self.pacers if (why := pacer.limited_by())]
        return "; ".join(said) or None
