"""The 429 of each vendor, and the headers for waiting times and limits."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from math import ceil

from batchgen.simulator.limits import Refusal, SimulatedLimits
from batchgen.simulator.rules import Problem, Wire
from batchgen.simulator.settings import Settings

Headers = tuple[tuple[str, str], ...]


def throttled(wire: Wire, refusal: Refusal, model: str, settings: Settings) -> Problem:
    """Return the 429 for a refusal, with the codes and words of the vendor."""
    if not settings.tell:
        return Problem(429, "Throttling", "Too many requests, please try again later.")
    limit = refusal.limit
    native = {
        "requests": ("Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
        "concurrency": ("Throttling.RateQuota", "Too many concurrent requests, please try again later."),
        "growth": ("Throttling.BurstRate", "Request rate increased too quickly, please scale up more smoothly."),
        "tokens": ("Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit."),
        "too_large": ("Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit."),
    }
    code, message = native[limit]
    if wire == "openai":
        again = f"Please try again in {_duration(refusal.wait_s)}."
        if limit == "requests":
            message = f"Rate limit reached for {model} on requests per min (RPM): Limit {settings.rpm:.0f}. {again}"
        elif limit == "tokens":
            message = f"Rate limit reached for {model} on tokens per min (TPM): Limit {settings.tpm:.0f}. {again}"
        elif limit == "too_large":
            message = f"Request too large for {model} on tokens per min (TPM): Limit {settings.tpm:.0f}."
    return Problem(429, code, message)


def wait_headers(settings: Settings, refusal: Refusal, wall_clock: Callable[[], float]) -> Headers:
    """Return the header with the waiting time in the form that the settings choose; none by default."""
    wait_s = refusal.wait_s if settings.retry_after_s is None else settings.retry_after_s
    match settings.retry_after:
        case "seconds":
            return (("retry-after", str(ceil(wait_s))),)
        case "ms":
            return (("retry-after-ms", str(ceil(wait_s * 1000))),)
        case "date":
            return (("retry-after", formatdate(ceil(wall_clock() + wait_s), usegmt=True)),)
    return ()


def limit_headers(limits: SimulatedLimits) -> Headers:
    """Return OpenAI's `x-ratelimit-*` headers for the limits that are set."""
    headers: list[tuple[str, str]] = []
    for name, bucket in (("requests", limits.requests), ("tokens", limits.tokens)):
        if bucket is not None:
            headers += [
                (f"x-ratelimit-limit-{name}", str(round(bucket.per_minute))),
                (f"x-ratelimit-remaining-{name}", str(max(0, int(bucket.level)))),
                (f"x-ratelimit-reset-{name}", _duration((bucket.capacity - bucket.level) / bucket.rate)),
            ]
    return tuple(headers)


def _duration(seconds: float) -> str:
    """Return seconds in the notation of OpenAI's reset headers: `20ms`, `1.5s`, `6m0s`."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:.0f}s" if minutes else f"{rest:.3g}s"
