"""How much at the beginning of a job's requests is the same in all rows: what a vendor's prompt cache can serve.

System message, instruction and examples stand before the row's own text in every request, so that vendors which keep
the beginning of recent requests find it there, and charge less for it.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.job.parts import JobParts
from batchgen.job.render import prompt_columns, rendered
from batchgen.source import Batch
from batchgen.tokens.count import rough_tokens

LEAST_TOKENS = 1_024
"""Shorter beginnings are kept by no vendor but for explicit marks: OpenAI, and DashScope's implicit cache."""

_LEAST_CHARACTERS = 3_000  # fewer are never so many tokens
_ROWS = 8
_MILLIONTH = Decimal("1e-6")


class SharedPrefix(Struct, frozen=True):
    """About so many `tokens` are the same in every request; one that is served from the cache costs `saving` less."""

    tokens: int
    saving: Decimal


def shared_prefix(parts: JobParts) -> SharedPrefix | None:
    """Return what a prompt cache can serve, judged by the first rows; None where it cannot, or costs no less."""
    texts = [text for text in parts.template.fingerprint_parts().values() if isinstance(text, str)]
    texts += [str(message.get("content")) for message in parts.examples]
    if parts.answers is not None:
        texts.append(parts.answers.shaping.instruction or "")
    if sum(map(len, texts)) < _LEAST_CHARACTERS and parts.job.prompt.messages is None:
        return None
    price = parts.price_of(parts.model) if parts.model else None
    bodies = _first_bodies(parts)
    if price is None or len(bodies) < 2:
        return None
    tokens = rough_tokens(_common(bodies))
    tier = price.tier(tokens)
    saving = tokens * (tier.input - tier.cached_input) * _MILLIONTH
    return SharedPrefix(tokens, saving) if tokens >= LEAST_TOKENS and saving > 0 else None


def _common(bodies: list[bytes]) -> int:
    """Return how many bytes all begin with."""
    first, last = min(bodies), max(bodies)
    return next((place for place, byte in enumerate(first) if last[place : place + 1] != bytes([byte])), len(first))


def _first_bodies(parts: JobParts) -> list[bytes]:
    bodies: list[bytes] = []
    with suppress(UsageError, OSError, ValueError):  # who reads the rows proper will say so
        batch = next(parts.source.batches(0, prompt_columns(parts)), None)
        if batch is not None:
            first = Batch(batch.first_row, batch.table.slice(0, _ROWS), batch.problems)
            for _, prompt in rendered(parts, first):
                if not isinstance(prompt, str):
                    bodies.append(parts.provider.build_request(prompt, stream=False).body)
    return bodies
