"""What an answer says against what is right: reading predicted values, and when two values count as equal.

Exact: the same text; numbers, booleans, dates, lists and objects are compared in their JSON form, and null equals null
only. Normalised, for labels and fields alike, in this order:

1. Unicode NFKC, letters' case folded;
2. `_` and white space of any length become one space, and so does punctuation, unless it stands between two letters or
   digits (`3.1.8`, `BWS-1042`, `o'clock` stay); dashes and quotation marks of all kinds count as `-` and `'`;
3. null, the empty text, `none`, `null`, `nil` and `n/a` are the same: no value.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_NO_VALUE = frozenset(("", "none", "null", "nil", "n/a"))
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−"), "-") | dict.fromkeys(map(ord, "‘’‚‛′`´"), "'")
_LOOSE_PUNCTUATION = re.compile(r"(?<![^\W_])[^\w\s]+|[^\w\s]+(?![^\W_])|[\s_]+")
_SYMBOLS = frozenset("+#$€£¥%°")  # they tell C from C# and C++, 5 from 5 %
_FENCE = re.compile(r"```(?:json)?\s*(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_JSON = json.JSONDecoder()


def written(value: Any) -> str | None:
    """Return a value as text: itself, or its JSON form; None for null."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=written)
    return str(value)


def normalised(value: Any) -> str | None:
    """Return a value in the form in which equal ones are the same text; None for no value."""
    text = written(value)
    if text is None or text.strip().casefold() in _NO_VALUE:
        return None
    text = unicodedata.normalize("NFKC", text).translate(_DASHES).casefold()
    text = unicodedata.normalize("NFKC", text)  # folding can undo composition
    text = _LOOSE_PUNCTUATION.sub(_kept_symbols, text)
    text = " ".join(text.split())
    return None if text in _NO_VALUE else text


def _kept_symbols(match: re.Match[str]) -> str:
    kept = "".join(character for character in match[0] if character in _SYMBOLS)
    return kept or " "


def answer_object(completion: str | None) -> dict[str, Any]:
    """Return the first JSON object in an answer's text, also inside a code fence; empty where there is none."""
    if not completion or "{" not in completion:
        return {}
    fenced = _FENCE.search(completion)
    for text in ([fenced[1]] if fenced else []) + [completion]:
        start = text.find("{")
        if start >= 0:
            try:
                found, _ = _JSON.raw_decode(text, start)
            except (json.JSONDecodeError, RecursionError):
                continue
            if isinstance(found, dict):
                return found
    return {}


def predicted_field(row: Mapping[str, Any], field: str) -> Any:
    """Return what the answer of a row says for a field (dots lead into objects): from `parsed`, else the completion."""
    value: Any = row["parsed"] if "parsed" in row else answer_object(row.get("completion"))
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def predicted_label(row: Mapping[str, Any]) -> str | None:
    """Return a row's label: `parsed.label` or the one field there is, else `label` of a JSON answer, else its text."""
    if "parsed" in row:
        found = row["parsed"]
    else:
        completion = row.get("completion")
        found = answer_object(completion)
        if not found:
            return completion
    if not found:
        return None
    values = [value for name, value in found.items() if name not in ("confidence", "agreement")]
    return written(found["label"] if "label" in found else values[0] if len(values) == 1 else None)
