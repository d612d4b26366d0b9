"""Values as cells of a spreadsheet: what a program would take for a formula, or refuses, made harmless."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from math import isfinite, isnan
from typing import Any

from batchgen.text.storable import json_bytes

_FORMULA = frozenset("=+-@＝＋－＠")
_BLANKS = " \t\r\n\v\f\u00a0\u3000\ufeff\u200b\u2060"
"""What programs pass over before a formula."""

LIKE_FORMULA = f"^[{_BLANKS}]*[=+\\-@＝＋－＠]|^[\t\r\n]"
"""All text that `without_formula` may change, and more."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)*|[.,]\d+)(?:[eE][+-]?\d+)? ?%?")
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_EXACT = 10**15
"""Whole numbers from here on lose digits in a spreadsheet, which has floats only."""


def without_formula(text: str) -> str:
    """Return text that no program takes for a formula: an apostrophe goes before what could be one.

    Plain numbers stay numbers.
    """
    first = text.lstrip(_BLANKS)[:1]
    if (first in _FORMULA or text[:1] in ("\t", "\r", "\n")) and text and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def csv_cell(value: Any) -> str:
    """Return a value as a cell of a CSV file: times in UTC and without their zone, lists and objects as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return without_formula(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if isnan(value) else repr(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dt.datetime):
        return without_zone(value).isoformat(" ")
    return without_formula(text_of(value))


def without_zone(moment: dt.datetime) -> dt.datetime:
    """Return a moment in UTC; one without a zone stays as it is."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo is not None else moment


def text_of(value: Any) -> str:
    """Return a value that is no plain cell as text."""
    if isinstance(value, (list, dict)):
        return json.dumps(json.loads(json_bytes(jsonable(value))), ensure_ascii=False)
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it: money and other exact decimals as text, NaN as null, bytes in hexadecimal."""
    if isinstance(value, dict):
        return {name: jsonable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(inner) for inner in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, dt.timedelta) else value


def sheet_value(value: Any) -> str | float | bool | dt.datetime | dt.date | None:
    """Return a value as a cell of a workbook: a number only where it stays exact, a time only where there is one.

    Control characters, which Excel takes for damage, become U+FFFD.
    """
    if value is None or isinstance(value, (bool, str)):
        return _accepted(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return value if abs(value) < _EXACT else str(value)
    if isinstance(value, float):
        return value if isfinite(value) else ("" if isnan(value) else str(value))
    if isinstance(value, Decimal):
        number = float(value)
        return number if Decimal(repr(number)) == value else f"{value:f}"
    if isinstance(value, dt.datetime):
        moment = without_zone(value)
        return moment if moment.year >= 1900 else moment.isoformat(" ")
    if isinstance(value, dt.date):
        return value if value.year >= 1900 else value.isoformat()
    return _accepted(text_of(value))


def _accepted(text: str) -> str:
    return _REFUSED.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
