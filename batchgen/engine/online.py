"""The engine of this process: workers that send one request at a time each, as fast as the provider permits."""

from __future__ import annotations

import random
import time
from contextlib import AsyncExitStack

import anyio

from batchgen.engine.attempt import Attempts
from batchgen.engine.model_requests import ModelRequests
from batchgen.engine.protocol import EngineFigures, EngineParts, Outlet, RowFeed
from batchgen.engine.provider_health import ProviderHealth
from batchgen.engine.workers import Workers
from batchgen.errors import StoppedError
from batchgen.job.settings import LimitSettings
from batchgen.money.reservation import Reservations
from batchgen.pace.limiter import Limiter
from batchgen.pace.pacer import Pacer
from batchgen.pace.retry import RetryPolicy
from batchgen.pace.values import Limits
from batchgen.storage.pace_file import PaceRecord
from batchgen.transport.protocol import OpenTransport

LOOK_EVERY_S = 0.5
"""How often it is looked at whether the provider answers at all."""


class OnlineEngine:
    """Brings rows to results over `transport`, which it opens and closes."""

    def __init__(self, parts: EngineParts, transport: OpenTransport) -> None:
        self._parts = parts
        self._transport = transport
        requests, job = parts.requests, parts.requests.job
        self._limits = job.limits
        self._held = requests.lane is not None and requests.lane.held
        self._pacer = Pacer(self._pace_limits(), random.Random(), time.monotonic())
        self._limiter = Limiter(self._pacer)
        self._pace = PaceRecord(time.monotonic(), time.time_ns() // 1_000)
        self._health = ProviderHealth(
            requests.endpoint.host, job.limits, job.retry.rate_limit_patience_s, worked=parts.worked
        )
        self._attempts = Attempts(
            requests=ModelRequests(
                requests.provider, requests.model, stream=job.model.stream, live=requests.live_provider()
            ),
            transport=transport,
            limiter=self._limiter,
            reservations=Reservations(
                parts.budget,
                price_of=requests.price_of,
                model=requests.model,
                # A row of a full lane may end as an ordinary one, at whatever price that has.
                parameters=requests.parameters if job.model.lane_fallback is None else job.model.parameters,
                currency=requests.currency or "",
                note=parts.reporter.note,
            ),
            health=self._health,
            results=parts.results,
            retry=job.retry,
            note=parts.reporter.note,
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

    @property
    def most_in_flight(self) -> int:
        """Most requests that can be out at a time."""
        return self._transport.concurrency

    async def run(self, rows: RowFeed, out: Outlet) -> None:
        """Work the rows off; return when there are none left, or after a stop or an interruption has drained."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._transport)
            except StoppedError as reason:  # nobody is there who could send
                self.stop(reason)
                return
            side = await stack.enter_async_context(anyio.create_task_group())
            side.start_soon(self._record_pace)
            side.start_soon(self._look_at_health)
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
        if limits.concurrency is not None and limits.concurrency > self._transport.concurrency:
            self._parts.reporter.note(
                f"limits.concurrency is {self._transport.concurrency} at most until the next start."
            )
        self._limits = self._health.limits = limits
        self._pacer.change(self._pace_limits())
        self._limiter.changed()
        self._workers.widen(self._workers_wanted())

    def figures(self) -> EngineFigures:
        """Return what there is to say now."""
        trouble = self._health.trouble
        return EngineFigures(
            refused=self._attempts.refused,
            limited_by=self._pacer.limited_by(),
            possibly_billed=self._parts.budget.possibly_billed,
            error=self._workers.error,
            interrupted=self._workers.interrupted,
            pace=self._pace,
            in_flight=self._limiter.in_flight,
            waits_for=self._waits_for(),
            retried=self._attempts.retried,
            trouble=None if trouble is None else self._parts.results.masker.message(trouble),
        )

    def _waits_for(self) -> str | None:
        """Return why nothing more is sent at the moment, None while requests go out."""
        paused = self._pacer.breaker.says(time.monotonic())
        if paused is not None:
            return paused
        if self._health.trouble is not None and not self._health.heard:
            return f"no connection to {self._parts.requests.endpoint.host} yet"
        if self._attempts.waiting_for_budget:
            return "what is left of the budget is reserved for the requests in flight; they have to finish first"
        return None

    def _workers_wanted(self) -> int:
        most = self._transport.concurrency
        return most if self._limits.concurrency is None else min(self._limits.concurrency, most)

    def _pace_limits(self) -> Limits:
        limits = self._limits
        return Limits(
            concurrency=self._workers_wanted(),
            search_level=limits.concurrency is None,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            timeout_s=limits.timeout_s,
            held=self._held,
        )

    async def _look_at_health(self) -> None:
        while True:
            await anyio.sleep(LOOK_EVERY_S)
            self._workers.look()

    async def _record_pace(self) -> None:
        while True:
            now_s = time.monotonic()
            self._pace.add(self._pacer.snapshot(now_s))
            await anyio.sleep(self._pace.interval_s(now_s))
