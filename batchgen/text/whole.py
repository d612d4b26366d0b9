"""Repairs surrogates, so that UTF-8, JSON, Arrow and every stream can hold a text."""

from __future__ import annotations

from typing import Any


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
