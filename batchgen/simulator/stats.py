"""The statistics of the simulator: requests, refusals, faults, billed tokens, and which requests were answered."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct


def request_digest(body: bytes) -> str:
    """Return the name under which `GET /stats?prompts=1` lists a request with this body: 16 hexadecimal digits."""
    return f"{digest_of(body):016x}"


def digest_of(body: bytes) -> int:
    """Return the 64-bit hash of a request body."""
    return int.from_bytes(blake2b(body, digest_size=8).digest())


class Billed(Struct):
    """The number of requests that were charged, and their tokens."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, input_tokens: int, output_tokens: int) -> None:
        """Add a request."""
        self.requests += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens


class Stats(Struct):
    """Counters of the requests to chat paths since the start or the last reset. No key and no text is kept.

    `served`: complete 200 answers that were written to the socket. `cached_tokens`: tokens of prompts that the prompt
    cache served. `refused`: 429s by limit. `errors`: other refusals
    by code (wrong key, invalid body, poison, content filter, fatal). `faults`: by the name in `Settings`.
    `billed_lanes`: all that was billed, by lane. `abandoned`:
    clients that left before the end of an answer. `tries` and `answered` are the admitted attempts and the complete
    answers by digest of the request's body.
    """

    requests: int = 0
    served: int = 0
    cached_tokens: int = 0
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    abandoned: int = 0
    billed_delivered: Billed = msgspec.field(default_factory=Billed)
    billed_lost: Billed = msgspec.field(default_factory=Billed)
    billed_lanes: dict[str, Billed] = msgspec.field(default_factory=dict)
    answered: Counter[int] = msgspec.field(default_factory=Counter)
    answered_again: int = 0
    requests_after_answer: int = 0
    connections: int = 0
    connections_opened: int = 0
    peak_connections: int = 0

    def as_dict(self, *, in_flight: int, peak_in_flight: int, prompts: bool = False) -> dict[str, Any]:
        """Return what `GET /stats` returns; with `prompts` also how often each request body was answered."""
        told: dict[str, Any] = {
            "requests": self.requests,
            "served": self.served,
            "cached_tokens": self.cached_tokens,
            "refused": {"total": self.refused.total(), **self.refused},
            "errors": {"total": self.errors.total(), **self.errors},
            "faults": {"total": self.faults.total(), **self.faults},
            "abandoned": self.abandoned,
            "billed_delivered": msgspec.structs.asdict(self.billed_delivered),
            "billed_lost": msgspec.structs.asdict(self.billed_lost),
            "billed": {
                name: getattr(self.billed_delivered, name) + getattr(self.billed_lost, name)
                for name in Billed.__struct_fields__
            },
            "billed_lanes": {lane: msgspec.structs.asdict(billed) for lane, billed in self.billed_lanes.items()},
            "prompts_answered": len(self.answered),
            "prompts_answered_again": self.answered_again,
            "requests_after_answer": self.requests_after_answer,
            "in_flight": in_flight,
            "peak_in_flight": peak_in_flight,
            "connections": self.connections,
            "connections_opened": self.connections_opened,
            "peak_connections": self.peak_connections,
        }
        if prompts:
            told["prompts"] = {f"{digest:016x}": times for digest, times in self.answered.items()}
        return told
