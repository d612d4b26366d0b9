"""Answer text → JSON object: the one rule of run and evaluation, in the order of its stages.

1. `strict`: the whole text is one JSON object.
2. `fenced`: the same, after thinking (`providers.thinking`) and a Markdown fence round all the rest are taken off.
3. `embedded`: somewhere in the text there is a balanced JSON object, or the text is a list of one object or a JSON
   string that holds one. Several different objects are ambiguous: invalid, unless a list is asked for and nothing
   stands between them. So is an object that stands inside another, damaged one.
4. `repaired`: a balanced object that is not quite JSON, read without guessing (`lenient` has its grammar).

What is cut off is never accepted: an object that does not close is invalid, and when the provider says that the answer
reached its limit (`complete=False`) only stage 1 counts. A key that appears twice with different values is invalid;
lone surrogates become U+FFFD. What a stage takes is fixed by syntax alone, so a stored text reads the same again. The
time is linear in the text's length.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.answers.lenient import DEEPEST, AmbiguousError, finite, read_lenient, unique
from batchgen.providers.thinking import outside_thinking
from batchgen.text.storable import whole_value


class Stage(StrEnum):
    """Which step of the rule read an answer."""

    STRICT = "strict"
    FENCED = "fenced"
    EMBEDDED = "embedded"
    REPAIRED = "repaired"


class Found(Struct, frozen=True):
    """The object in an answer's text, and the stage that found it; a list where lists were asked for."""

    value: Any
    stage: Stage


class NoObject(Struct, frozen=True):
    """Why there is no one object in an answer's text."""

    message: str
    cut: bool = False


_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|([{\[(,:])\s*+\'(?:[^\'\\]|\\.)*+\'|[{}"]', re.DOTALL)
_INSIDE_BEFORE = re.compile(r"(?:[\"'”’]\s*+:[\s\[({]*+|[\"'”’\d\]}]\s*+,\s*+)\Z")
_INSIDE_AFTER = re.compile(r"[\s\])}]*+,\s*+[\"'“‘{]")
_KEY = re.compile(r"[\"'”’]\s*+:")
_OF_JSON = re.compile(r"[\"'“”:]")  # in braces that are no placeholder
_END_OF_STRING = re.compile(r"[\"'”’]\s*+[\])}]")
_BRACKET = re.compile(r"[\[\]}]")
_BRACE_AFTER = re.compile(r"\s*+}")
_QUOTES = ('"', "'")
_NEAR = 200  # characters before an object that are looked at
_MOST_OBJECTS = 100  # pairs of braces in a text that are tried
_MOST_QUOTED = 3  # times that an object may be written as text
_LONGEST_LENIENT = 100_000  # characters; they cost 2 µs each, and real answers of this length are rare


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=unique, parse_constant=_no_constant, parse_float=finite)


def read_object(text: str, *, complete: bool = True, lists: bool = False) -> Found | NoObject:
    """Return the JSON object in an answer's text.

    `complete`: the provider did not cut the answer. `lists`: a list at the top is an answer too.
    """
    text = text.strip().removeprefix("\ufeff")
    if not text:
        return NoObject("the answer is empty")
    try:
        value = _decoded(text)
        if isinstance(value, dict) or (lists and isinstance(value, list)):
            return _bounded(text, value, Stage.STRICT)
        if not complete:
            return NoObject("the answer was cut off at its limit before the JSON object was complete", cut=True)
        if isinstance(value, str) and (quoted := _quoted(value, lists)) is not None:
            return quoted
        if value is not None and not isinstance(value, list):
            return NoObject(f"the answer is a {'JSON string' if isinstance(value, str) else 'bare JSON value'}, "
                            "not one JSON object")  # fmt: skip
        answer, ended = answer_in(text)
        if not ended:
            return NoObject("the model's thinking has no end", cut=True)
        if not answer.strip():
            return NoObject("there is no answer after the model's thinking")
        return _inner(answer.strip(), lists)
    except AmbiguousError as error:
        return NoObject(str(error))


def object_in(text: str) -> dict[str, Any] | None:
    """Return the one JSON object of an answer's text, by the rule of a run with `[response]`; None if there is none."""
    found = read_object(text)
    return found.value if isinstance(found, Found) else None


def reread_object(text: str, *, lists: bool = False) -> Any:
    """Return the object of an answer that has been accepted before (0.4 µs where it is plain JSON).

    None if there is none after all.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    found = read_object(text, lists=lists)
    return found.value if isinstance(found, Found) else None


def answer_in(text: str) -> tuple[str, bool]:
    """Return an answer without the model's thinking, and whether that has an end."""
    return outside_thinking(text, _value_round)


def _value_round(text: str, start: int, place: int) -> int:
    """Return the end of the object that begins after `start` and goes on behind `place`; `place` if there is none."""
    for _ in range(_MOST_OBJECTS):
        start = text.find("{", start, place)
        end = None if start < 0 else _closing(text, start)
        if end is None:
            break
        if end > place:
            span = text[start:end]
            return end if isinstance(_decoded(span) or _lenient(span), dict) else place
        start = end
    return place


def _quoted(text: str, lists: bool) -> Found | None:
    """Return the object that was written as JSON text, once or several times; None where the text is no JSON."""
    value: Any = text
    for _ in range(_MOST_QUOTED):
        if not isinstance(value, str):
            break
        text, value = value.strip(), _decoded(value.strip())
    if not (isinstance(value, dict) or (lists and isinstance(value, list))):
        return None
    found = _bounded(text, value, Stage.EMBEDDED)
    return found if isinstance(found, Found) else None


def _inner(text: str, lists: bool) -> Found | NoObject:
    """Stages 2 to 4: `text` is no JSON object as a whole, or has just lost its thinking."""
    inner = _unfenced(text)
    value = _decoded(inner)
    if isinstance(value, dict) or (lists and isinstance(value, list)):
        return _bounded(inner, value, Stage.FENCED)
    if isinstance(value, str) and (quoted := _quoted(value, lists)) is not None:
        return quoted
    if isinstance(value, list):
        objects = [item for item in value if isinstance(item, dict)]
        if len(value) == 1 and objects:
            return _bounded(inner, objects[0], Stage.EMBEDDED)
        return NoObject(f"the answer is a JSON array of {len(value)} values, not one JSON object")
    items = _lenient(inner) if inner[:1] in ("[", "(") else None
    if isinstance(items, list) and (lists or (len(items) == 1 and isinstance(items[0], dict))):
        return Found(items if lists else items[0], Stage.REPAIRED)
    spans, closed = _objects(inner)
    if lists and closed and (several := _several(inner, spans)) is not None:
        return several
    if not closed:
        return NoObject("the JSON object is not closed: the answer is cut off or its quotes do not match", cut=True)
    if not spans:
        return NoObject("there is no JSON object in the answer")
    if len(spans) > _MOST_OBJECTS:
        return NoObject(f"there are more than {_MOST_OBJECTS} pairs of braces in the answer")
    stage = Stage.EMBEDDED
    values: dict[str, tuple[str, Any]] = {}
    damaged = False
    for start, end in spans:
        span = inner[start:end]
        found = _decoded(span)
        if not isinstance(found, dict):
            found = _lenient(span)
            stage = Stage.REPAIRED if isinstance(found, dict) else stage
        if isinstance(found, dict):
            brace_too_many = span.count("{") > 1 and _BRACE_AFTER.match(inner, end)  # which one is it?
            before = inner[max(0, start - _NEAR) : start]
            quote = inner[end : end + 1] in _QUOTES and inner[end : end + 1] != before[-1:]  # one of its quotes is lost
            if brace_too_many or quote or _INSIDE_BEFORE.search(before) or _INSIDE_AFTER.match(inner, end):
                return NoObject("the object in the answer stands inside another, which is not valid JSON")
            values[json.dumps(found, sort_keys=True)] = span, found
        else:
            damaged = damaged or _OF_JSON.search(span) is not None
    if not values:
        return NoObject("the object in the answer is not valid JSON")
    around = _between(inner, spans)
    if damaged or any(map(_KEY.search, around)) or any(map(_END_OF_STRING.search, around)) or _closes_more(around):
        return NoObject("the object in the answer stands inside another, which is not valid JSON")
    if len(values) > 1:
        return NoObject(f"there are {len(values)} different JSON objects in the answer")
    [(span, found)] = values.values()
    return _bounded(span, found, stage)


def _several(text: str, spans: list[tuple[int, int]]) -> Found | NoObject | None:
    """Return the list that a text has in brackets within prose, or as an object a line; None where it has neither."""
    if not 0 < len(spans) <= _MOST_OBJECTS:
        return None
    begin, end = text.find("[", 0, spans[0][0]), text.rfind("]") + 1
    if begin >= 0 and end >= spans[-1][1]:
        value = _decoded(text[begin:end])
        return _bounded(text[begin:end], value, Stage.EMBEDDED) if isinstance(value, list) else None
    alone = len(spans) > 1 and not "".join(_between(text, spans)).replace(",", "").strip()
    values = [_decoded(text[start:stop]) for start, stop in spans] if alone else []
    if not values or not all(isinstance(value, dict) for value in values):
        return None
    return _bounded(text, values, Stage.EMBEDDED)


def _between(text: str, spans: list[tuple[int, int]]) -> list[str]:
    """Return the pieces of a text that stand before, between and behind its objects."""
    return [text[end:start] for (_, end), (start, _) in zip([(0, 0), *spans], [*spans, (len(text), 0)], strict=True)]


def _closes_more(around: list[str]) -> bool:
    """Whether the text round the objects closes brackets that it has not opened; one brace right behind is a slip."""
    slip = _BRACE_AFTER.match(around[-1])
    depth = 0
    for sign in _BRACKET.findall("".join((*around[:-1], around[-1][slip.end() if slip else 0 :]))):
        depth += 1 if sign == "[" else -1
        if depth < 0 or sign == "}":
            return True
    return False


def _unfenced(text: str) -> str:
    """Return what stands in the Markdown fence round a whole text; the text itself where there is none."""
    if len(text) < 7 or not text.startswith("```") or not text.endswith("```"):
        return text
    head, line, body = text[3:-3].partition("\n")
    return body.rstrip() if line and "`" not in head and "{" not in head else text


def _decoded(text: str) -> Any:
    """Return the JSON value, None if `text` is not JSON (or null). Raise `AmbiguousError` for two values of a key."""
    try:
        value = _STRICT.decode(text)
    except (ValueError, RecursionError):
        return None
    return whole_value(value) if _ESCAPED_SURROGATE.search(text) and not _deep(text, value) else value


def _lenient(text: str) -> Any:
    """Return the value of almost-JSON, None if it cannot be read in one way."""
    if len(text) > _LONGEST_LENIENT:
        return None
    try:
        return whole_value(read_lenient(text))
    except (ValueError, OverflowError):
        return None


def _bounded(text: str, value: Any, stage: Stage) -> Found | NoObject:
    """Return the value, unless it is nested too deeply for what comes after."""
    return NoObject(f"the answer is nested deeper than {DEEPEST} levels") if _deep(text, value) else Found(value, stage)


def _deep(text: str, value: Any) -> bool:
    """Whether a value is nested too deeply; `text` is what it was read from."""
    if text.count("{") + text.count("[") <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            below
            for one in level
            for below in (one.values() if isinstance(one, dict) else one)
            if isinstance(below, dict | list)
        ]
        if not level:
            return False
    return True


def _objects(text: str) -> tuple[list[tuple[int, int]], bool]:
    """Return where the outermost balanced `{...}` of a text stand, and whether every `{` closes.

    Braces in strings do not count; a string in single quotes begins only where a value or key may.
    """
    spans: list[tuple[int, int]] = []
    start = text.find("{")
    while start >= 0 and len(spans) <= _MOST_OBJECTS:
        end = _closing(text, start)
        if end is None:
            return spans, False
        spans.append((start, end))
        start = text.find("{", end)
    return spans, True


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] == '"':  # a string without an end
            return None
        if token[0] == "}":
            depth -= 1
            if depth == 0:
                return token.end()
        elif token[0] == "{" or token[1] == "{":
            depth += 1
    return None
