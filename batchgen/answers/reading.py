"""Answer text → JSON object: the rule, in the order of its stages.

1. `strict`: the whole text is one JSON object.
2. `fenced`: the same, after a leading `<think>...</think>` and a Markdown fence round all the rest are taken off.
3. `embedded`: somewhere in the text there is a balanced JSON object. Several different ones are ambiguous: invalid.
4. `repaired`: a balanced object that is not quite JSON: line breaks inside strings, NaN (read as null), trailing
   commas, single quotes, unquoted keys, Python's True and None, a missing comma. `json_repair` mends it, and the mended
   object counts only if, punctuation and spaces aside, it says what the text says in the same order: structure may be
   guessed, content not.

What is cut off is never accepted: an object that does not close is invalid, and when the provider says that the answer
reached its limit (`complete=False`) only stage 1 counts. A key that appears twice with different values is invalid;
lone surrogates become U+FFFD. What a stage takes is fixed by syntax alone, so a stored text reads the same again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.text.whole import whole_value


class Stage(StrEnum):
    """Which step of the rule read an answer."""

    STRICT = "strict"
    FENCED = "fenced"
    EMBEDDED = "embedded"
    REPAIRED = "repaired"


class Found(Struct, frozen=True):
    """The object in an answer's text, and the stage that found it."""

    value: dict[str, Any]
    stage: Stage


class NoObject(Struct, frozen=True):
    """Why there is no one object in an answer's text."""

    message: str
    cut: bool = False


class _AmbiguousError(Exception):
    """The text can be read in two ways."""


_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_FENCE = re.compile(r"```[^\n`{]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|["{}]', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_PUNCTUATION = re.compile(r"[\s\"'“”‘’`\\,:;{}\[\]()\b\f]+")
_LONGEST_MENDED = 100_000  # characters; mending costs 6 µs each, and a real answer of this length is rare
_NULL_WORDS = frozenset(("none", "nan", "undefined"))


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        for key, value in pairs:
            if found[key] != value or type(found[key]) is not type(value):  # True == 1 in Python, not in JSON
                raise _AmbiguousError(f'the key "{key}" appears twice with different values')
    return found


def _finite(text: str) -> float:
    """Return the number; raise `ValueError` where it is beyond a 64-bit float (JSON has no infinity)."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:20]} is beyond a 64-bit float")
    return number


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_without_doubles, parse_constant=_no_constant, parse_float=_finite)
_TOLERANT = json.JSONDecoder(
    object_pairs_hook=_without_doubles, parse_constant=lambda _: None, parse_float=_finite, strict=False
)


def read_object(text: str, *, complete: bool = True) -> Found | NoObject:
    """Return the JSON object in an answer's text. `complete`: the provider did not cut the answer."""
    text = text.strip().removeprefix("\ufeff")
    if not text:
        return NoObject("the answer is empty")
    try:
        value = _decoded(_STRICT, text)
        if value is not None:
            if isinstance(value, dict):
                return Found(value, Stage.STRICT)
            return NoObject(f"the answer is {_named(value)}, not one JSON object")
        if not complete:
            return NoObject("the answer was cut off at its limit before the JSON object was complete", cut=True)
        return _inner(text.rpartition("</think>")[2].strip())
    except _AmbiguousError as error:
        return NoObject(str(error))


def reread_object(text: str) -> dict[str, Any] | None:
    """Return the object of an answer that has been accepted before (0.4 µs where it is plain JSON).

    None if there is none after all.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    found = read_object(text)
    return found.value if isinstance(found, Found) else None


def _inner(text: str) -> Found | NoObject:
    """Stages 2 to 4: `text` is not JSON as a whole, or has just lost its thinking."""
    fence = _FENCE.fullmatch(text)
    inner = fence[1] if fence else text
    value = _decoded(_STRICT, inner)
    if isinstance(value, dict):
        return Found(value, Stage.FENCED)
    spans, closed = _objects(inner)
    if not closed:
        return NoObject("the JSON object is not closed: the answer is cut off or its quotes do not match", cut=True)
    if not spans:
        return NoObject("there is no JSON object in the answer")
    stage = Stage.EMBEDDED
    values = [value for span in spans if isinstance(value := _decoded(_STRICT, span), dict)]
    if not values:
        stage = Stage.REPAIRED
        values = [value for span in spans if (value := _mended(span)) is not None]
    if not values:
        return NoObject("the object in the answer is not valid JSON")
    if any(value != values[0] for value in values[1:]):
        return NoObject(f"there are {len(values)} different JSON objects in the answer")
    return Found(values[0], stage)


def _decoded(decoder: json.JSONDecoder, text: str) -> Any:
    """Return the JSON value, None if `text` is not JSON (or null). Raise `_AmbiguousError` for two values of a key."""
    try:
        value = decoder.decode(text)
    except (ValueError, RecursionError):
        return None
    return whole_value(value) if _SURROGATE_ESCAPE.search(text) else value


def _objects(text: str) -> tuple[Sequence[str], bool]:
    """Return the outermost balanced `{...}` of a text, and whether every `{` closes. Braces in strings do not count."""
    spans: list[str] = []
    start = text.find("{")
    while start >= 0:
        end = _closing(text, start)
        if end is None:
            return spans, False
        spans.append(text[start:end])
        start = text.find("{", end)
    return spans, True


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth == 0:
                return token.end()
        elif token[0] == '"':  # a string without an end
            return None
    return None


def _mended(text: str) -> dict[str, Any] | None:
    """Stage 4 for one balanced object."""
    value = _decoded(_TOLERANT, text)
    if isinstance(value, dict):
        return value
    if len(text) > _LONGEST_MENDED:
        return None
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or _content(_unescaped(text)) != _content(" ".join(_leaves(value))):
        return None
    return whole_value(value) if _SURROGATE_ESCAPE.search(text) else value


def _content(text: str) -> str:
    """Return a text without its punctuation, the words for null made one: what a repair must leave as it is."""
    words = _PUNCTUATION.split(text.lower())
    return "".join("null" if word in _NULL_WORDS else word for word in words)


def _unescaped(text: str) -> str:
    """Return JSON text with its escapes undone; those of white space become spaces."""
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else " " if m[2] in "nrtbf" else m[2], text)


def _leaves(value: Any) -> Iterator[str]:
    """Yield the keys and values in an object as text, in their order."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def _named(value: Any) -> str:
    if isinstance(value, list):
        return "a JSON array"
    return "a JSON string" if isinstance(value, str) else "a bare JSON value"
