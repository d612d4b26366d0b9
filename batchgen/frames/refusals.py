"""Why a column of a caller's table cannot be read, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batchgen.errors import InputError


def check_names(names: list[str]) -> None:
    """Raise `InputError` for names that no table of rows can have: none at all, one twice, one that is no text."""
    if not names:
        raise InputError("The rows have no columns: a prompt needs at least one.")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InputError(f'The rows have two columns named "{twice}": rename one of them.')
    broken = next((name for name in names if _lone(name) is not None), None)
    if broken is not None:
        raise InputError(f"The column name {broken!r} has a lone surrogate, which is no letter: rename it.")


def unreadable(name: str, values: Iterable[Any], error: Exception) -> InputError:
    """Return why a column cannot become one of Arrow; `values` are its values, `error` is what Arrow says."""
    kinds: dict[type, int] = {}
    for row, value in enumerate(values):
        lone = next((letter for text in _texts(value) if (letter := _lone(text)) is not None), None)
        if lone is not None:
            return InputError(
                f'Column "{name}", row {row}: its text has the lone surrogate {lone!r}, which no file can '
                'hold. Replace it: text.encode("utf-8", "replace").decode().'
            )
        if type(value).__name__.startswith("complex"):
            return InputError(
                f'Column "{name}" holds complex numbers: give their real and imaginary part as two columns.'
            )
        if type(value) is int and value.bit_length() > 63:
            return InputError(f'Column "{name}", row {row}: {value} is beyond 64 bits. Give such numbers as text.')
        if value is not None:
            kinds.setdefault(type(value), row)
    if len(kinds) > 1:
        (one, first), (other, second) = [*kinds.items()][:2]
        return InputError(
            f'Column "{name}" has values of several types: {one.__name__} in row {first}, {other.__name__} in row '
            f"{second}. Give it one type, for example text."
        )
    kind = f" ({next(iter(kinds)).__name__})" if kinds else ""
    said = str(error.args[0] if error.args else error).strip().rstrip(".")
    return InputError(
        f'Column "{name}" holds values that no table can hold{kind}: {said}. Give them as text or numbers.'
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _lone(text: str) -> str | None:
    """Return a surrogate that is no half of a letter."""
    return None if text.isascii() else next((letter for letter in text if "\ud800" <= letter <= "\udfff"), None)
