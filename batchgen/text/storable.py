"""Text that JSON and Arrow can store: Python represents bytes of file names that are not UTF-8 as lone surrogates."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

from batchgen.text.whole import whole_text

_BYTE = re.compile("(?<![\ud800-\udbff])[\udc80-\udcff]")

_SCIENTIFIC = re.compile(rb'"-?\d+(?:\.\d+)?E[-+]?\d+"')


def storable(text: str) -> str:
    """Return text that UTF-8 can hold: a byte of a file name that is not UTF-8 stands as `\\xe9`."""
    if text.isascii():
        return text
    return whole_text(_BYTE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", text))


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON, with its texts passed through `storable`; money in plain digits, never as `0E-12`."""
    try:
        body = msgspec.json.encode(value)
    except UnicodeEncodeError:
        body = None
    if body is not None and _SCIENTIFIC.search(body) is None:
        return body
    return msgspec.json.encode(_storable(msgspec.to_builtins(value, builtin_types=(Decimal,))))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {_storable(key): _storable(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(below) for below in value]
    return value
