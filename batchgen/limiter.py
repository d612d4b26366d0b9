from __future__ import annotations

import asyncio
import math
import time
from collections import deque

from batchgen.pace import Pacer
from batchgen.pace_values import Limits, Ticket
from batchgen.values import Completion, Outcome, Throttle, Verdict


class LimiterClosed(Exception): ...


class Limiter:
    def __init__(self, pacer: Pacer) -> None:
        self._p = pacer
        self._again: deque[asyncio.Future[None]] = deque()
        self._fresh: deque[asyncio.Future[None]] = deque()
        self._timer = None
        self._closed = False

    outage = False

    def try_acquire(self, tokens: float, *, retry: bool = False) -> Ticket | None:
        if self._closed:
            raise LimiterClosed
        if self._again or (self._fresh and not retry):
            return None
        now = time.monotonic()
        return self._p.sent(now, tokens, retry=retry) if self._p.gate(now) <= 0 else None

    async def acquire(self, tokens: float, *, retry: bool = False) -> Ticket:
        f = asyncio.get_running_loop().create_future()
        (self._again if retry else self._fresh).append((f, tokens, retry))
        self._pump()
        return await f

    def _pump(self) -> None:
        while self._again or self._fresh:
            q = self._again or self._fresh
            if q[0][0].done():
                q.popleft()
                continue
            now = time.monotonic()
            w = self._p.gate(now)
            if w > 0:
                if self._timer:
                    self._timer.cancel()
                if w < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(w, self._pump)
                return
            f, t, r = q.popleft()
            f.set_result(self._p.sent(now, t, retry=r))

    def settle(self, ticket: Ticket, outcome: Outcome | None) -> None:
        now = time.monotonic()
        if outcome is None:
            self._p.abandoned(ticket)
        elif isinstance(outcome, Completion):
            self._p.succeeded(now, ticket, outcome.usage, outcome.limits)
        elif outcome.verdict is Verdict.WAIT:
            self._p.refused(now, ticket, outcome.throttle or Throttle.UNKNOWN, outcome.retry_after_s, outcome.limits)
        elif outcome.verdict is Verdict.RETRY:
            self._p.broken(now, ticket, outcome.kind)
        else:
            self._p.succeeded(now, ticket, outcome.usage, outcome.limits)
        self._pump()

    def stop(self) -> None:
        self._closed = True
        for q in (self._again, self._fresh):
            for f, _, _ in q:
                if not f.done():
                    f.set_exception(LimiterClosed())
            q.clear()

    def change(self, limits: Limits) -> None:
        self._p.change(limits, time.monotonic())

    @property
    def deadline_s(self) -> float:
        return self._p.deadline_s

    def limited_by(self) -> str | None:
        return self._p.limited_by()
