"""Answer text → one of the job's labels, and how sure it is: by votes or by the tokens' log probabilities.

The rule, in its order; letters' case, and `_` or `-` for a space, never matter:

1. The whole text is a label, after quotes, brackets, Markdown marks and final punctuation are taken off.
2. The text holds one JSON object: its `label`, or its only value, is taken for the text.
3. `label:`, `category:`, `class:`, `classification:` or `answer:` (also with `=` or `is`) before a label: only these
   lines, from there on, are looked at in step 4.
4. Exactly one label is mentioned, as whole words; a longer label hides a shorter one inside it.

Two different labels are ambiguous, and a label just after a negation (`not a bug`) is not one: both are invalid. An
answer that was cut at its limit counts by steps 1 and 2 only, and not if it could be the beginning of a longer label.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.answers.reading import Found, read_object
from batchgen.errors import JobError

_EDGES = " \t\r\n\"'“”‘’«»`*_<>()[]{}.,:;!?-–—。，！？：；「」『』【】"
_GAPS = re.compile(r"[\s_\-‐-―]+")
_GAPS_IN_LINE = re.compile(r"[^\S\n]*[ \t_\-‐-―]+")
_WIDE = 0x2E80  # from here on scripts are written without spaces: a label's edge needs no word boundary
_END_OF_THOUGHTS = "</think>"
_NEGATION_REACH = 40  # characters before a label in which a negation is looked for
_NEGATION = re.compile(
    r"(?:\b(?:not|no|never|neither|nor|without|isn't|isn’t|nicht|kein|keine|pas)\b\W*(?:\w+\W+)?|[不非没]是?)$"
)


class Label(Struct, frozen=True):
    """A row's label. `confidence` and `agreement` (0 to 1) are there if the job asks for them."""

    label: str
    confidence: float | None = None
    agreement: float | None = None


class NoLabel(Struct, frozen=True):
    """Why an answer has no one label."""

    message: str
    cut: bool = False


class LabelSet:
    """The labels of a job, made ready to be found in answers."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Raise `JobError` for labels that cannot be told apart."""
        if len(labels) < 2:
            raise JobError("response.labels needs at least two labels.")
        self.labels = tuple(labels)
        self._by_plain: dict[str, str] = {}
        for label in labels:
            plain = _plain(label)
            if not plain:
                raise JobError(f"response.labels: {label!r} has no letter or digit.")
            if _END_OF_THOUGHTS in label:
                raise JobError(f"response.labels: {label!r} would be cut from an answer with the model's thoughts.")
            if plain in self._by_plain:
                raise JobError(f"response.labels: {label!r} and {self._by_plain[plain]!r} cannot be told apart.")
            self._by_plain[plain] = label
        longest_first = sorted(self._by_plain, key=len, reverse=True)
        any_label = "|".join(_bounded(plain) for plain in longest_first)
        self._mention = re.compile(any_label)
        self._marked = re.compile(
            rf"\b(?:label|category|class|classification|answer)\b[\W_]*?(?:[:=]|\bis\b)[\W_]*({any_label})"
        )

    def find(self, text: str, *, complete: bool = True) -> str | NoLabel:
        """Return the label in an answer's text. `complete`: the provider did not cut the answer."""
        text = text.strip().rpartition(_END_OF_THOUGHTS)[2]
        if not text.strip():
            return NoLabel("the answer is empty")
        plain = _plain(text)
        whole = self._by_plain.get(plain)
        if whole is not None and (complete or not self._may_go_on(plain)):
            return whole
        if "{" in text and (inner := _labelled_value(text, complete=complete)) is not None:
            return self.find(inner)
        if not complete:
            return NoLabel("the answer was cut off at its limit before the label was complete", cut=True)
        plain = _GAPS_IN_LINE.sub(" ", text.casefold())
        marked = [plain[m.start(1) :].partition("\n")[0] for m in self._marked.finditer(plain)]
        mentions = [m for line in marked for m in self._mention.finditer(line)] or list(self._mention.finditer(plain))
        named = list(dict.fromkeys(self._by_plain[match[0]] for match in mentions))
        if not named:
            return NoLabel(f"the answer names none of the labels {', '.join(self.labels)}")
        if len(named) > 1:
            return NoLabel(f"the answer names several labels: {', '.join(named)}")
        before = (match.string[max(0, match.start() - _NEGATION_REACH) : match.start()] for match in mentions)
        if any(map(_NEGATION.search, before)):
            return NoLabel(f"the answer says what it is not: {named[0]}")
        return named[0]

    def _may_go_on(self, plain: str) -> bool:
        """Whether a label could be the beginning of a longer one."""
        return any(other != plain and other.startswith(plain) for other in self._by_plain)


def labels_schema(labels: Sequence[str]) -> dict[str, Any]:
    """Return the schema of a label as JSON, for the means that need one."""
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(labels)}},
        "required": ["label"],
        "additionalProperties": False,
    }


def labels_instruction(labels: Sequence[str]) -> str:
    """Return the text that asks for a label."""
    return f"Answer with exactly one of these labels and nothing else: {', '.join(labels)}"


class Vote(Struct, frozen=True):
    """What the samples of a row say together. `agreement`: the winner's share of all samples, unreadable ones too."""

    label: str
    agreement: float
    tied: bool


def majority(samples: Sequence[str | None]) -> Vote | None:
    """Return the label most samples have (None: a sample without one); None if no sample has a label.

    Of labels with as many samples the one sampled first wins, and `tied` says so.
    """
    counts = Counter(label for label in samples if label is not None)
    if not counts:
        return None
    best = max(counts.values())
    leaders = [label for label, count in counts.items() if count == best]  # in the order of their first sample
    return Vote(leaders[0], best / len(samples), len(leaders) > 1)


def token_confidence(logprobs: str | None, label: str) -> float | None:
    """Return the probability the model gave the label's own tokens, from a completion's `logprobs` JSON text.

    It is the product over the tokens that overlap the label's last occurrence in the answer. None where the provider
    gave no log probabilities or the label is not in them.
    https://github.com/openai/openai-openapi (`ChatCompletionTokenLogprob`), the same on DashScope.
    """
    tokens = _tokens(logprobs)
    text = b"".join(piece for piece, _ in tokens)
    words = _GAPS.split(label)
    found = list(re.finditer(rb"[\s_-]+".join(re.escape(word.encode()) for word in words), text, re.IGNORECASE))
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


def _plain(text: str) -> str:
    text = _GAPS.sub(" ", text.casefold()).strip(_EDGES)
    return text.lstrip("#").lstrip(_EDGES)  # a Markdown heading; at the end, C# is meant


def _bounded(plain: str) -> str:
    left = "" if ord(plain[0]) >= _WIDE else r"(?<!\w)"
    right = "" if ord(plain[-1]) >= _WIDE else r"(?!\w)"
    return f"{left}{re.escape(plain)}{right}"


def _labelled_value(text: str, *, complete: bool) -> str | None:
    """Return what a JSON object in the text gives as label."""
    found = read_object(text, complete=complete)
    if not isinstance(found, Found):
        return None
    values = list(found.value.values())
    value = found.value.get("label", values[0] if len(values) == 1 else None)
    return value if isinstance(value, str) else None
