"""The engine of this process: workers that send one request at a time each, as fast as the provider permits."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from decimal import Decimal

import anyio

from batchgen.engine.account import Account
from batchgen.engine.attempt import Attempts
from batchgen.engine.endpoints import DearestCase, EndpointJudge, Site
from batchgen.engine.model_requests import ModelRequests
from batchgen.engine.protocol import EngineFigures, EngineParts, Outlet, RowFeed
from batchgen.engine.provider_health import ProviderHealth
from batchgen.engine.workers import Workers
from batchgen.errors import StoppedError
from batchgen.job.endpoint_settings import EndpointSettings
from batchgen.job.requests import RequestParts
from batchgen.job.settings import LimitSettings
from batchgen.money.reservation import Reservations
from batchgen.money.worst_case import WorstCase
from batchgen.pace.limiter import Limiter
from batchgen.pace.pacer import Pacer
from batchgen.pace.pacer_pool import PacerPool, PooledEndpoint
from batchgen.pace.retry import RetryPolicy
from batchgen.pace.shared_pacer import SharedPacer
from batchgen.pace.values import Limits
from batchgen.storage.pace_file import PaceRecord
from batchgen.transport.protocol import OpenTransport

LOOK_EVERY_S = 0.5
"""How often it is looked at whether the provider answers at all."""

HELD_MARGIN_S = 30.0
"""So much longer a call may take that the server holds for the whole of its lane's time."""


class OnlineEngine:
    """Brings rows to results over `transport`, which it opens and closes; with several endpoints, over one for each:
    `others` are those after the first."""

    def __init__(self, parts: EngineParts, transport: OpenTransport, others: Sequence[OpenTransport] = ()) -> None:
        self._parts = parts
        self._transports = [transport, *others]
        self._most = min(one.concurrency for one in self._transports)
        requests, job = parts.requests, parts.requests.job
        self._limits = job.limits
        self._asked = requests.sites or (requests,)
        self._shared: dict[str, SharedPacer] = {}
        self._sites = self._open_sites()
        self._pacer = self._sites[0].pacer if not requests.sites else self._pool()
        self._limiter = Limiter(self._pacer)
        self._judge: EndpointJudge | None = None
        if isinstance(self._pacer, PacerPool):
            patience_s, shown = job.retry.rate_limit_patience_s, parts.results.masker.message
            self._judge = EndpointJudge(self._sites, self._pacer, patience_s, parts.reporter.note, shown)
        self._pace = PaceRecord(time.monotonic(), time.time_ns() // 1_000)
        host = " or ".join(site.name or "" for site in self._sites) or requests.endpoint.host
        self._health = ProviderHealth(host, job.limits, job.retry.rate_limit_patience_s, worked=parts.worked)
        self._attempts = Attempts(
            sites=self._sites,
            limiter=self._limiter,
            reservations=self._reservations(),
            health=self._health,
            results=parts.results,
            retry=job.retry,
            note=parts.reporter.note,
            judge=self._judge,
        )
        retry = RetryPolicy(job.retry, random.Random())
        self._workers = Workers(
            self._attempts,
            parts.dialogue,
            parts.results,
            retry,
            self._limiter,
            note=parts.reporter.note,
            warm_up=parts.warm_up,
        )

    def _open_sites(self) -> list[Site]:
        """Return the endpoints, those of one account with one pacer."""
        sites = []
        for place, (one, transport) in enumerate(zip(self._asked, self._transports, strict=True)):
            settings = self._parts.requests.job.model
            account = settings.endpoints[place].account if self._parts.requests.sites else self._limits.account
            pacer: Pacer | None = self._shared.get(account or "")
            if pacer is None and account is not None:
                pacer = self._shared[account] = SharedPacer(self._pace_limits(place), random.Random(), time.monotonic())
            elif pacer is None:
                pacer = Pacer(self._pace_limits(place), random.Random(), time.monotonic())
            requests = ModelRequests(
                one.provider,
                one.model,
                stream=settings.stream,
                live=one.live_provider(),
                attachments=one.attachments,
            )
            sites.append(Site(requests, transport, pacer, one.name))
        return sites

    def _pool(self) -> PacerPool:
        """Return the gate of several endpoints, which knows what they cost."""
        known = [_list_prices(one) for one in self._asked]
        dearest = max((price for pair in known if pair is not None for price in pair), default=Decimal(0))
        for site, pair in zip(self._sites, known, strict=True):
            in_lane, live = pair or (dearest, dearest)
            site.price, site.live_price = float(in_lane), float(live)
        settings = self._parts.requests.job.model.endpoints
        return PacerPool(
            [
                PooledEndpoint(site.name or "", site.pacer, site.price, endpoint.weight)
                for site, endpoint in zip(self._sites, settings, strict=True)
            ],
            Limits(concurrency=self._workers_wanted(), timeout_s=self._limits.timeout_s),
        )

    def _reservations(self) -> Reservations:
        parts, requests, model = self._parts, self._parts.requests, self._parts.requests.job.model
        reservations = Reservations(
            parts.budget,
            price_of=requests.price_of,
            model=requests.model,
            # A row of a full lane may end as an ordinary one, at whatever price that has.
            parameters=requests.parameters if model.lane_fallback is None else model.parameters,
            currency=requests.currency or "",
            note=parts.reporter.note,
        )
        if requests.sites:
            cases = [
                WorstCase(one.price_of, one.model, one.parameters if model.lane_fallback is None else model.parameters)
                for one in requests.sites
            ]
            reservations.worst_case = DearestCase(cases)
        return reservations

    @property
    def most_in_flight(self) -> int:
        """Most requests that can be out at a time."""
        return self._most

    async def run(self, rows: RowFeed, out: Outlet) -> None:
        """Work the rows off; return when there are none left, or after a stop or an interruption has drained."""
        async with AsyncExitStack() as stack:
            try:
                for transport in self._transports:
                    await stack.enter_async_context(transport)
            except StoppedError as reason:  # nobody is there who could send
                self.stop(reason)
                return
            side = await stack.enter_async_context(anyio.create_task_group())
            side.start_soon(self._record_pace)
            side.start_soon(self._look_at_health)
            for name, pacer in self._shared.items():
                side.start_soon(Account(name, pacer, self._limiter, self._parts.reporter.note).keep)
            await self._workers.run(rows, out, self._workers_wanted())
            side.cancel_scope.cancel()
        self._pace.add(self._pacer.snapshot(time.monotonic()))

    def stop(self, reason: StoppedError) -> None:
        """Send nothing more and let what is in flight finish."""
        self._workers.stop(reason)

    def interrupt(self) -> None:
        """Stop sending and let what is in flight finish; a second call cancels it."""
        self._workers.interrupt()

    def change(self, limits: LimitSettings) -> None:
        """Go on with other limits from now on."""
        if limits.concurrency is not None and limits.concurrency > self._most:
            self._parts.reporter.note(f"limits.concurrency is {self._most} at most until the next start.")
        self._limits = self._health.limits = limits
        for place, site in enumerate(self._sites):
            site.pacer.change(self._pace_limits(place))
        if isinstance(self._pacer, PacerPool):
            self._pacer.change(Limits(concurrency=self._workers_wanted(), timeout_s=limits.timeout_s))
        self._limiter.changed()
        self._workers.widen(self._workers_wanted())

    def figures(self) -> EngineFigures:
        """Return what there is to say now."""
        trouble = self._health.trouble
        return EngineFigures(
            refused=self._attempts.refused,
            limited_by=self._pacer.limited_by(),
            possibly_billed=self._parts.budget.possibly_billed,
            error=self._workers.error if self._judge is None else self._judge.told(self._workers.error),
            interrupted=self._workers.interrupted,
            pace=self._pace,
            in_flight=self._limiter.in_flight,
            waits_for=self._waits_for(),
            retried=self._attempts.retried,
            trouble=None if trouble is None else self._parts.results.masker.message(trouble),
            left_out=None if self._judge is None else self._judge.left_out,
            endpoints=() if self._judge is None else self._judge.figures(),
        )

    def _waits_for(self) -> str | None:
        """Return why nothing more is sent at the moment, None while requests go out."""
        paused = self._pacer.waits_for(time.monotonic())
        if paused is not None:
            return paused
        if self._health.trouble is not None and not self._health.heard:
            return f"no connection to {self._parts.requests.endpoint.host} yet"
        if self._attempts.waiting_for_budget:
            return "what is left of the budget is reserved for the requests in flight; they have to finish first"
        return None

    def _workers_wanted(self) -> int:
        most = self._most
        return most if self._limits.concurrency is None else min(self._limits.concurrency, most)

    def _pace_limits(self, place: int) -> Limits:
        """Return the limits of an endpoint: its own where it has some, else those of the job."""
        limits, lane = self._limits, self._asked[place].lane
        own = self._parts.requests.job.model.endpoints[place] if self._parts.requests.sites else EndpointSettings()
        most = self._workers_wanted()
        held = lane is not None and lane.held
        # The server's time begins later than ours, and at its end the server says that nothing is billed.
        margin_s = HELD_MARGIN_S if lane is not None and held and limits.timeout_s >= lane.timeout_s else 0.0
        return Limits(
            concurrency=most if own.concurrency is None else min(own.concurrency, most),
            search_level=limits.concurrency is None and own.concurrency is None,
            requests_per_minute=own.requests_per_minute or limits.requests_per_minute,
            tokens_per_minute=own.tokens_per_minute or limits.tokens_per_minute,
            timeout_s=limits.timeout_s + margin_s,
            held=held,
        )

    async def _look_at_health(self) -> None:
        while True:
            await anyio.sleep(LOOK_EVERY_S)
            self._workers.look()
            if self._judge is not None:
                self._judge.look(time.monotonic())

    async def _record_pace(self) -> None:
        while True:
            now_s = time.monotonic()
            self._pace.add(self._pacer.snapshot(now_s))
            await anyio.sleep(self._pace.interval_s(now_s))


def _list_prices(parts: RequestParts) -> tuple[Decimal, Decimal] | None:
    """Return what a token in and one out cost at an endpoint, in its lane and live; None where the model has no price.

    In the lane of batches only those rows come here that are asked live.
    """
    price = parts.price_of(parts.model)
    if price is None:
        return None
    called = parts.lane is not None and parts.lane.batch is None
    in_lane = (parts.price_of.in_lane(parts.model, parts.job.model.lane) if called else None) or price
    return in_lane.tier(0).input + in_lane.tier(0).output, price.tier(0).input + price.tier(0).output
