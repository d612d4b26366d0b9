"""Errors of a job's types in whole sentences: which key, what is expected, what may have been meant."""

from __future__ import annotations

import re
import types
import typing
from typing import Any

from msgspec import Struct

from batchgen.nearest import nearest

_PLAIN_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
    "decimal": "a number",
    "null": "nothing",
}


def struct_of(hint: Any) -> type[Struct] | None:
    """Return the settings table that a type hint stands for; None for a union of more than a table and None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not types.NoneType]
        return struct_of(options[0]) if len(options) == 1 else None
    return hint if isinstance(hint, type) and issubclass(hint, Struct) else None


def _options(kind: type[Struct], key: str) -> tuple[Any, ...]:
    """Return the types that the values of a key may have."""
    hint: Any = kind
    for name in re.sub(r"\[[^\]]*\]", "", key).split("."):
        inner = typing.get_args(hint)[0] if typing.get_origin(hint) is list else hint
        table = struct_of(inner)
        hint = typing.get_type_hints(table).get(name) if table is not None else None
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _takes_list(kind: type[Struct], key: str) -> bool:
    return any(typing.get_origin(option) in (list, tuple) for option in _options(kind, key))


def _choices(kind: type[Struct], key: str) -> list[str]:
    """Return the words that a key may have, none if it takes others too."""
    literals = [option for option in _options(kind, key) if typing.get_origin(option) is typing.Literal]
    return [word for literal in literals for word in typing.get_args(literal) if isinstance(word, str)]


def reworded(message: str, kind: type[Struct]) -> str:
    """Turn msgspec's words ("Expected `int`, got `str` - at `$.limits.concurrency`") into a sentence about a key
    of `kind`."""
    text, _, path = message.partition(" - at `")
    key = path.rstrip("`").removeprefix("$").lstrip(".")
    missing = re.match(r"Object missing required field `(\w+)`", text)
    if missing:
        return f"{key + '.' if key else ''}{missing[1]} is missing"
    wrong = re.fullmatch(r"Invalid enum value (.*)", text)
    if wrong and (choices := _choices(kind, key)):
        meant = nearest(wrong[1].strip("'"), choices)
        hint = f" (did you mean {meant!r}?)" if meant is not None else ""
        list_too = f", or a list ([{wrong[1]}])" if _takes_list(kind, key) else ""
        return f"{key}: {wrong[1]} is not one of {', '.join(map(repr, choices))}{list_too}{hint}"
    if text == "Invalid decimal string":
        return f"{key}: expected a number, for example {key.rpartition('.')[2]} = 5.00"
    bound = re.fullmatch(r"Expected `(int|float)` (<=|>=|<|>) ([-+.\de]+)", text)
    if bound is not None:
        return f"{key}: expected {_PLAIN_TYPES[bound[1]]}{_bound(key, bound[2], float(bound[3]))}"
    text = re.sub(
        r"`([a-z]+(?: \| [a-z]+)*)`",
        lambda found: " or ".join(_PLAIN_TYPES.get(word, word) for word in found[1].split(" | ") if word != "null"),
        text,
    )
    text = text[0].lower() + text[1:].replace("`", "")
    return f"{key}: {text}" if key else text


def _bound(key: str, sign: str, value: float) -> str:
    """Return ` of at most 31,622,400 seconds (366 days)` for a bound; the unit stands in the key's name."""
    words = {"<=": "of at most", ">=": "of at least", "<": "below", ">": "above"}
    unit = " seconds" if key.endswith("_s") and value else ""
    days = f" ({value / 86400:g} days)" if unit and value > 86400 else ""
    return f" {words[sign]} {value:,.15g}{unit}{days}"
