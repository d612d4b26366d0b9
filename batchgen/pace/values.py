"""The values of the pacer: limits, ticket, sample."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True):
    """What the job allows: the bounds that hold whatever the provider would take. `timeout_s` bounds one attempt.

    `search_level`: the job does not say how many requests may be in flight, so the level is found, up to `concurrency`.
    `held`: the server holds requests back as long as it likes, so that no deadline is learnt from the others.
    """

    concurrency: int = 64
    search_level: bool = False
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_s: float = 300.0
    held: bool = False


class Ticket(Struct, gc=False):
    """One request that was sent: when, as which, and what held it back. Goes back to the pacer with its outcome."""

    sent_s: float
    number: int  # of this run's requests, from 1
    in_flight: int  # this one included
    prompt_tokens: float  # the caller's estimate
    tokens: float  # charged to the token pace: prompt and expected answer
    total_tokens: float  # all charges up to this one
    bound: int  # bits: `REQUESTS` and so on, below
    retry: bool = False
    admitted: bool = False
    closed: bool = False
    endpoint: int = 0  # its place among several


REQUESTS, TOKENS, IN_FLIGHT, CONCURRENCY, SEARCH, SLOW, LEVEL, TRIED = 1, 2, 4, 8, 16, 32, 64, 128
"""What delayed a request, as bits of `Ticket.bound`: the two paces, the ceiling that was found, the job's own bound;
`SEARCH`: no pace was known yet; `SLOW`: more would not be answered in time; `LEVEL`: the level in flight that was found
so far; `TRIED`: sent above that level, to see whether more are of use."""


class PaceSample(Struct, frozen=True):
    """One line of `pace.parquet`: the state at `time_s` and the counts and latencies since the sample before.

    Paces are None while nothing limits them; `cap` is what is used, found or given.
    """

    time_s: float
    requests_per_s: float | None
    tokens_per_s: float | None
    in_flight: int
    cap: int
    sent: int
    refused: int
    failed: int
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None


def per_s(per_minute: float | None) -> float | None:
    """A limit per second from one per minute."""
    return None if per_minute is None else per_minute / 60
