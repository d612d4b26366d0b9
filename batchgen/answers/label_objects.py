"""What a JSON object gives as label: the value of a key that is known to hold the answer.

Its other keys must be known too, since any of them may take the label back (`"correct": false`): how sure the label is,
why, and what was read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from batchgen.answers.label_words import is_answer_name, is_plain_name, known_words, name_parts

_INPUT = frozenset((
    "id", "ids", "index", "idx", "row", "number", "no", "text", "input", "email", "mail", "message", "subject",
    "title", "body", "sentence", "comment", "review", "document", "content", "article", "ticket", "description",
    "version", "model", "timestamp", "date", "language", "snippet", "url", "source", "key",
))  # fmt: skip
_WRAPPERS = frozenset((
    "arguments", "parameters", "properties", "args", "data", "result", "output", "response", "json", "object",
    "function",
))  # fmt: skip
_TOOL_TYPES = ("function", "tool_call", "tool_use", "object")
_DEEPEST = 3


def given_labels(found: Mapping[str, Any], *, depth: int = 0) -> list[Any] | None:
    """Return the values that an object gives as its label; None where it has none, or something else beside it."""
    values: list[Any] = []
    scores: list[Any] = []
    plain: list[Any] = []
    for name, value in found.items():
        inside = _inside(name, value, depth)
        if inside is not None:
            values += inside
        elif value is None or (name == "type" and value in _TOOL_TYPES):
            continue
        elif is_answer_name(name):
            (scores if _is_score(name, value) else values).append(value)
        elif is_plain_name(name):
            plain.append(value)
        elif not _is_companion(name, value):
            return None
    if values or scores:
        return values or scores
    return plain if len(plain) == 1 else None


def _inside(name: str, value: Any, depth: int) -> list[Any] | None:
    """Return the labels of an object below an answer's key, or below what wraps the arguments of a tool."""
    if not isinstance(value, Mapping) or depth >= _DEEPEST:
        return None
    return given_labels(value, depth=depth + 1) if name.casefold() in _WRAPPERS or is_answer_name(name) else None


def _is_score(name: str, value: Any) -> bool:
    """Whether a value is a number under a name that may hold the label or how sure it is."""
    return name_parts(name)[-1] in ("score", "rating") and isinstance(value, int | float)


def _is_companion(name: str, value: Any) -> bool:
    words, parts = known_words(), name_parts(name)
    if not parts or not all(
        part in words.nouns
        or part in words.neutral
        or part in words.reasons
        or part in words.sureness
        or part in _INPUT
        for part in parts
    ):
        return False
    if parts[-1] in words.sureness:
        return not (isinstance(value, int | float) and not value) and value is not False
    return parts[-1] in words.reasons or parts[-1] in _INPUT


def text_of(value: Any) -> str | None:
    """Return a text, number or boolean as text, also where it is alone in a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else None
