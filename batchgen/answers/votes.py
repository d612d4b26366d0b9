"""How sure a label is: by votes of several samples, or by the log probabilities of its tokens."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from batchgen.answers.same_word import GAP


class Label(Struct, frozen=True):
    """A row's label. `confidence` and `agreement` (0 to 1) are there if the job asks for them."""

    label: str
    confidence: float | None = None
    agreement: float | None = None


def majority(samples: Sequence[str | None]) -> Label | None:
    """Return the label that most samples have (None: a sample without one), None if no sample has a label.

    Its `agreement` is its share of all samples. Of labels with as many samples the one sampled first wins.
    """
    counts = Counter(label for label in samples if label is not None)
    if not counts:
        return None
    label, votes = counts.most_common(1)[0]  # of equals the one that was met first
    return Label(label, agreement=votes / len(samples))


def token_confidence(logprobs: str | None, label: str) -> float | None:
    """Return the probability the model gave the label's own tokens, from a completion's `logprobs` JSON text.

    It is the product over the tokens that overlap the label's last occurrence in the answer. None where the provider
    gave no log probabilities or the label is not in them.
    https://github.com/openai/openai-openapi (`ChatCompletionTokenLogprob`), the same on DashScope.
    """
    tokens = _tokens(logprobs)
    text = b"".join(piece for piece, _ in tokens)
    words = GAP.split(label)
    found = list(re.finditer(rb"[\s_-]++".join(re.escape(word.encode()) for word in words), text, re.IGNORECASE))
    if not found:
        return None
    start, end = found[-1].span()
    total, place = 0.0, 0
    for piece, logprob in tokens:
        if place < end and place + len(piece) > start:
            total += logprob
        place += len(piece)
    return min(1.0, math.exp(total))


def _tokens(logprobs: str | None) -> list[tuple[bytes, float]]:
    """Return (bytes, log probability) of each token; none where one cannot be read."""
    document = None if logprobs is None else msgspec.json.decode(logprobs)
    content = document.get("content") if isinstance(document, dict) else document
    if not isinstance(content, list):
        return []
    tokens: list[tuple[bytes, float]] = []
    for token in content:
        if not isinstance(token, dict) or not isinstance(token.get("logprob"), int | float):
            return []
        raw = token.get("bytes")
        piece = bytes(raw) if isinstance(raw, list) else str(token.get("token", "")).encode("utf-8", "replace")
        tokens.append((piece, float(token["logprob"])))
    return tokens
