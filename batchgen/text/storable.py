"""Text that UTF-8, JSON, Arrow and every stream can hold: without lone surrogates, which are half a character.

JSON may escape them, and Python represents with them the bytes of file names that are not UTF-8.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

_BYTE = re.compile("(?<![\ud800-\udbff])[\udc80-\udcff]")

_SCIENTIFIC = re.compile(rb'"-?\d+(?:\.\d+)?E[-+]?\d+"')


def whole_text(text: str) -> str:
    """Return `text` with surrogate pairs joined, and U+FFFD for each lone surrogate."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def whole_value(value: Any) -> Any:
    """Return a JSON value with `whole_text` applied to all its texts and keys."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [whole_value(item) for item in value]
    if isinstance(value, dict):
        return {whole_text(key): whole_value(item) for key, item in value.items()}
    return value


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
