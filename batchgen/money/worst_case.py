"""The most that one request can cost, as used by the budget, by `check` and by the reservations.

If nothing bounds a request, a budget could not be kept: it is then refused with a sentence that says what to set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.money.prices import ModelPrice
from batchgen.tokens.count import template_bound, text_bound
from batchgen.tokens.hidden import AUDIO, Media, added_by_provider, media_of
from batchgen.tokens.parameters import effective_parameters
from batchgen.values import Prompt, Request

_LONG_CACHE = b'"ttl":"1h"'
"""Asks for a cache that is kept for an hour; it is written at twice the input's price, dearer than all else."""


class Unbounded(Struct, frozen=True):
    """There is no bound: `reason` is a sentence for the user that says why, and what to set."""

    reason: str


class _Known(Struct, frozen=True):
    """What is the same for all requests to a model: its price, its longest answer, the tokens that its template adds,
    and the price factor of the class of service."""

    price: ModelPrice
    longest: int
    added: int
    factor: Decimal
    free: bool = False


class WorstCase:
    """Bounds the cost of a job's requests. `model` and `parameters` are the job's; a row's own replace them."""

    def __init__(self, price_of: Callable[[str], ModelPrice | None], model: str, parameters: Mapping[str, Any]) -> None:
        self._price_of = price_of
        self._model = model
        self._parameters = parameters
        self._known: dict[str, _Known | Unbounded] = {}

    def of_job(self) -> Decimal | Unbounded:
        """Return the most that a request without text can cost, which is known before any row is read."""
        return self(Request("", b"", {}), Prompt())

    def __call__(self, request: Request, prompt: Prompt) -> Decimal | Unbounded:
        """Return the most that this request can cost, in the price's currency."""
        model = prompt.model or self._model
        known = self._known.get(model) if prompt.parameters is None else self._look_up(model, prompt.parameters)
        if known is None:
            known = self._known[model] = self._look_up(model, None)
        if isinstance(known, Unbounded):
            return known
        if known.free:
            return Decimal(0)
        tokens = text_bound(request.body, known.added)
        spoken = Decimal(0)
        if media := media_of(prompt):
            parameters = effective_parameters(self._parameters, prompt.parameters)
            recordings = [part for part in media if part.kind == AUDIO]
            media = [part for part in media if part.kind != AUDIO]
            seconds = _seconds(recordings, known.price)
            if isinstance(seconds, Unbounded):
                return seconds
            tokens, spoken = _with_recordings(tokens, recordings, seconds, known.price)
        if media:
            bound = _with_media(tokens, media, known.price, model, parameters)
            if isinstance(bound, Unbounded):
                return bound
            tokens = bound
        worst = known.price.worst_case(tokens, known.longest)
        assert worst is not None
        if _LONG_CACHE in request.body:  # in a text the quotes would be escaped
            worst *= 2
        return (worst + spoken) * known.factor

    def advice(self, prompt: Prompt) -> str:
        """Return a sentence on what would lower the worst case of a request."""
        price = self._price_of(prompt.model or self._model)
        if price is not None and price.max_media_tokens is None and media_of(prompt):
            return (
                f"Its images and files count as the longest input of {price.model}: set max_media_tokens (the most "
                "tokens of one) for it in a price file named by pricing.file, or raise limits.budget."
            )
        return "Raise limits.budget, or set a lower max_tokens under model.parameters."

    def _look_up(self, model: str, own: Mapping[str, Any] | None) -> _Known | Unbounded:
        price = self._price_of(model)
        if price is None:
            return Unbounded(
                f"limits.budget needs a price, which {model or 'a model that rows name'} lacks: give one in a file "
                "named by pricing.file, or leave limits.budget out."
            )
        if price.free:
            return _Known(price, 0, 0, Decimal(1), free=True)
        parameters = effective_parameters(self._parameters, own)
        added = added_by_provider(model, parameters)
        if added is not None:
            return Unbounded(
                f"limits.budget cannot be kept with {added}: nothing bounds what it adds to the input, and no reply "
                "reports its fees. Turn it off, or leave limits.budget out and send few rows at a time with --limit."
            )
        longest = price.output_bound(parameters)
        if longest is None:
            return Unbounded(
                f"limits.budget needs a bound on the answers, and nothing bounds what {model} may write or think: set "
                "max_completion_tokens, or max_tokens with enable_thinking = false or a thinking_budget, under "
                "model.parameters."
            )
        if prediction := parameters.get("prediction"):  # predicted tokens that are not used are billed as output
            longest += len(msgspec.json.encode(prediction))
        return _Known(price, longest, template_bound(parameters), price.worst_factor(parameters.get("service_tier")))


def tokens_a_second(price: ModelPrice) -> int | None:
    """Return the tokens of a second of a recording; None unless both these and their price are known."""
    return None if any(tier.audio_input is None for tier in price.tiers) else price.audio_tokens_per_second


def _seconds(recordings: list[Media], price: ModelPrice) -> int | Unbounded:
    """Return the most seconds of recordings, each rounded up."""
    if recordings and tokens_a_second(price) is None:
        return Unbounded(
            f"limits.budget cannot be kept where messages hold audio: it has a price of its own. Give {price.model} "
            "audio_input (per million tokens) and audio_tokens_per_second in a price file named by pricing.file, from "
            "the pages of the provider, or leave limits.budget out and send few rows at a time with --limit."
        )
    if None in (lengths := [part.seconds for part in recordings]):
        return Unbounded(
            "limits.budget cannot be kept where messages hold audio by its address, or of another form than WAV and "
            "MP3: nothing tells how long it is. Leave limits.budget out, and send few rows at a time with --limit."
        )
    return sum(math.ceil(one or 0) for one in lengths)


def _with_recordings(tokens: int, recordings: list[Media], seconds: int, price: ModelPrice) -> tuple[int, Decimal]:
    """Return the bound of a request's tokens with recordings, and what these can cost beyond the price of text."""
    spoken = seconds * (price.audio_tokens_per_second or 0)
    dearest = max(tier.audio_input or Decimal(0) for tier in price.tiers)
    return tokens - sum(part.size for part in recordings) + spoken, spoken * dearest / 1_000_000


def _with_media(
    tokens: int, media: list[Media], price: ModelPrice, model: str, parameters: Mapping[str, Any]
) -> int | Unbounded:
    """Return the bound of a request with images, video or files, whose size does not bound their tokens."""
    known = [part.tokens(model, parameters) for part in media]
    if price.max_media_tokens is not None or None not in known:
        most = price.max_media_tokens or 0
        return tokens + sum(
            (most if shown is None else shown) - part.size for part, shown in zip(media, known, strict=True)
        )
    text = tokens - sum(part.size for part in media)
    if price.max_input is None:
        return Unbounded(
            f"limits.budget needs a bound on what the {media[0].kind} in messages can cost: set max_media_tokens (the "
            f"most input tokens of one image, video or file) for {price.model} in a price file named by pricing.file, "
            "or leave limits.budget out."
        )
    return max(text, price.max_input)  # a longer request is refused, and not charged
