"""The provider's rate limits: token buckets, a limit on requests in flight, a limit on growth.

A bucket refills evenly and holds `burst_s` seconds of its limit: 1 s is what DashScope enforces (RPM/60 each second),
with 60 s a whole minute can be used at once. Input tokens are charged when a request is admitted, output tokens when it
is finished; this may take the bucket below zero, so that the next requests wait longer. The time is always an argument.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from msgspec import Struct

from batchgen.simulator.settings import Settings

Limit = Literal["requests", "tokens", "concurrency", "growth", "too_large"]

_LEAST_TOKENS = 4000.0  # the least capacity of a token bucket, so that an ordinary prompt fits
_SHORT_S, _LONG_S = 5.0, 30.0  # the growth limit compares the rates in these two windows
_GROWTH_WAIT_S = 5.0


class Refusal(Struct, frozen=True):
    """Which limit refused a request, and after how many seconds it would admit it."""

    limit: Limit
    wait_s: float


class Bucket:
    """A token bucket that refills by `per_minute`, holds `burst_s` seconds of that (at least `least`) and starts
    full."""

    __slots__ = ("_at", "capacity", "level", "per_minute", "rate")

    def __init__(self, per_minute: float, burst_s: float, least: float, now: float) -> None:
        self.per_minute = per_minute
        self.rate = per_minute / 60
        self.capacity = max(least, self.rate * burst_s)
        self.level = self.capacity
        self._at = now

    def refill(self, now: float) -> None:
        """Update `level` to the time `now`."""
        self.level = min(self.capacity, self.level + (now - self._at) * self.rate)
        self._at = now

    def wait_s(self, amount: float) -> float:
        """Return the seconds until the bucket holds `amount` (or is full, if that is less); 0 if it does now."""
        return max(0.0, min(amount, self.capacity) - self.level - 1e-9) / self.rate


class SimulatedLimits:
    """Admits or refuses requests. `settle` has to be called once for each admitted request."""

    def __init__(self, settings: Settings, now: float) -> None:
        self.in_flight = 0
        self.peak_in_flight = 0
        self._short: deque[float] = deque()
        self._long: deque[float] = deque()
        self.apply(settings, now)

    def apply(self, settings: Settings, now: float) -> None:
        """Set other limits; requests in flight stay counted."""
        self._settings = settings
        self.requests = Bucket(settings.rpm, settings.burst_s, 1.0, now) if settings.rpm else None
        self.tokens = Bucket(settings.tpm, settings.burst_s, _LEAST_TOKENS, now) if settings.tpm else None

    def admit(self, input_tokens: int, now: float) -> Refusal | None:
        """Admit and charge a request and return None, or return why it is refused."""
        refusal = self._refuses(input_tokens, now)
        if refusal is not None:
            if self.requests and self._settings.count_refused:
                self.requests.level = max(-self.requests.capacity, self.requests.level - 1)
            return refusal
        if self.requests:
            self.requests.level -= 1
        if self.tokens:
            self.tokens.level -= input_tokens
        if self._settings.growth is not None:
            self._short.append(now)
            self._long.append(now)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        return None

    def settle(self, output_tokens: int, now: float) -> None:
        """Finish an admitted request and charge its output tokens."""
        self.in_flight -= 1
        if self.tokens:
            self.tokens.refill(now)
            self.tokens.level -= output_tokens

    def _refuses(self, input_tokens: int, now: float) -> Refusal | None:
        settings = self._settings
        if settings.max_in_flight is not None and self.in_flight >= settings.max_in_flight:
            return Refusal("concurrency", 1.0)
        if self.requests:
            self.requests.refill(now)
            if wait_s := self.requests.wait_s(1):
                return Refusal("requests", wait_s)
        if self.tokens:
            if input_tokens > max(self.tokens.per_minute, self.tokens.capacity):
                return Refusal("too_large", 0.0)
            self.tokens.refill(now)
            if wait_s := self.tokens.wait_s(input_tokens):
                return Refusal("tokens", wait_s)
        if settings.growth is not None and self._grows_too_fast(settings.growth, now):
            return Refusal("growth", _GROWTH_WAIT_S)
        return None

    def _grows_too_fast(self, factor: float, now: float) -> bool:
        for times, window_s in ((self._short, _SHORT_S), (self._long, _LONG_S)):
            while times and times[0] <= now - window_s:
                times.popleft()
        allowed = factor * len(self._long) / _LONG_S + self._settings.growth_floor
        return len(self._short) / _SHORT_S > allowed
