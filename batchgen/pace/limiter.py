"""The pacer for coroutines: one queue, one timer for its first entry, retries ahead of fresh rows.

The pacer decides; this file only makes callers wait. A permit covers one attempt and is given back with its
outcome. Not thread-safe: one event loop owns it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from batchgen.pace.pacer import Pacer
from batchgen.pace.pacer_pool import PacerPool
from batchgen.pace.shared_pacer import SharedPacer
from batchgen.pace.values import Ticket
from batchgen.values import Completion, FailureKind, Outcome, Throttle, Verdict


class LimiterClosed(Exception):
    """The limiter was stopped: no permit will come. A signal between coroutines, never an error of the run."""


class _Waiter:
    __slots__ = ("future", "retry", "tokens")

    def __init__(self, future: asyncio.Future[Ticket], tokens: float, retry: bool) -> None:
        self.future, self.tokens, self.retry = future, tokens, retry


class Limiter:
    """Hands out permits in the order of the calls, retries first, as fast as the pacer allows."""

    def __init__(self, pacer: Pacer | PacerPool, clock: Callable[[], float] = time.monotonic) -> None:
        self.pacer = pacer
        self.clock = clock
        self._retries: deque[_Waiter] = deque()
        self._fresh: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = 0.0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._retries) + len(self._fresh)

    @property
    def fresh_waiting(self) -> bool:
        """Whether rows that have not been tried yet are in the queue."""
        return bool(self._fresh)

    @property
    def in_flight(self) -> int:
        """Permits that are out."""
        pacer = self.pacer
        return pacer.mine if isinstance(pacer, SharedPacer) else pacer.in_flight

    def try_acquire(self, tokens: float, *, retry: bool = False) -> Ticket | None:
        """Return a permit if one is free and nobody waits for it; `tokens` estimates the prompt.

        Raises `LimiterClosed` after `stop`.
        """
        if self._closed:
            raise LimiterClosed
        if self._retries or (self._fresh and not retry):
            return None
        clock, pacer = self.clock, self.pacer
        now_s = clock()
        if pacer.gate(now_s) > 0:
            return None
        return pacer.sent(now_s, tokens, retry=retry)

    async def acquire(self, tokens: float, *, retry: bool = False) -> Ticket:
        """Wait for a permit. Raises `LimiterClosed` if the limiter is stopped before one comes."""
        ticket = self.try_acquire(tokens, retry=retry)
        if ticket is not None:
            return ticket
        waiter = _Waiter(asyncio.get_running_loop().create_future(), tokens, retry)
        queue = self._retries if retry else self._fresh
        queue.append(waiter)
        if self._timer is None:
            self._serve()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                self.pacer.abandoned(waiter.future.result())  # the permit came in the same turn as the cancellation
            self._wake()
            raise

    def settle(self, ticket: Ticket, outcome: Outcome | None) -> float:
        """Give a permit back with its outcome, None if the attempt was given up without one.

        Returns the seconds this row should wait before it asks again, besides waiting for its permit then: after an
        overload. What a row waits after a failure of its own is `retry`'s.
        """
        clock, pacer = self.clock, self.pacer
        now_s = clock()
        wait_s = 0.0
        if outcome is None:
            pacer.abandoned(ticket)
        elif isinstance(outcome, Completion):
            pacer.succeeded(now_s, ticket, outcome.usage, outcome.limits)
        elif outcome.verdict is Verdict.WAIT:
            throttle = outcome.throttle or Throttle.UNKNOWN
            wait_s = pacer.refused(now_s, ticket, throttle, outcome.retry_after_s, outcome.limits)
        elif outcome.verdict is Verdict.RETRY and not outcome.needs_stream:  # that one is a refusal of the form
            pacer.broken(now_s, ticket, late=outcome.kind is FailureKind.TIMEOUT)
        else:
            pacer.succeeded(now_s, ticket, outcome.usage, outcome.limits)
        if self._retries or self._fresh:
            self._serve()
        return wait_s

    def changed(self) -> None:
        """Look again after `pacer.change`."""
        self._wake()

    def stop(self) -> None:
        """Hand out nothing more: whoever waits or comes gets `LimiterClosed`. Permits that are out stay valid."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for queue in (self._retries, self._fresh):
            while queue:
                future = queue.popleft().future
                if not future.done():
                    future.set_exception(LimiterClosed())

    def _wake(self) -> None:
        """Serve whoever may go now; called whenever the pacer may have changed its mind."""
        if self._retries or self._fresh:
            self._serve()

    def _serve(self) -> None:
        """Hand out permits until the gate closes, then see to it that somebody looks again."""
        while queue := self._retries or self._fresh:
            if queue[0].future.done():  # cancelled while it waited
                queue.popleft()
                continue
            now_s = self.clock()
            wait_s = self.pacer.gate(now_s)
            if wait_s > 0:
                self._arm(now_s, wait_s)
                return
            waiter = queue.popleft()
            waiter.future.set_result(self.pacer.sent(now_s, waiter.tokens, retry=waiter.retry))

    def _arm(self, now_s: float, wait_s: float) -> None:
        """Set the one timer for the head of the queue; one that rings earlier will do, it looks again then."""
        if wait_s == math.inf:
            return  # an answer will wake the queue
        if self._timer is not None:
            if self._rings_s <= now_s + wait_s:
                return
            self._timer.cancel()
        self._rings_s = now_s + wait_s
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._serve()
