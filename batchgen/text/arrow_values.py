"""Turns Arrow columns into Python objects; values that Python cannot represent become text, and nothing raises.

These are years outside of 1 to 9999, nanoseconds, unknown time zones, and maps with a key that occurs twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

_UNHELD = (OverflowError, ValueError, TypeError, KeyError, pa.ArrowException)


def shown_values(values: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return a column's values; maps are lists of pairs."""
    try:
        found: list[Any] = values.to_pylist()
        return found
    except _UNHELD:
        return [_shown(value) for value in values]


def shown_rows(table: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table."""
    columns = [shown_values(column) for column in table.columns]
    return [dict(zip(table.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def as_dictionary(pairs: Iterable[Any]) -> Any:
    """Return the pairs of a map as a dictionary; unchanged if a key is not a plain value."""
    found = [(pair["key"], pair["value"]) if isinstance(pair, dict) else tuple(pair) for pair in pairs]
    try:
        return dict(found)
    except TypeError:
        return [list(pair) for pair in found]


def _shown(value: Any) -> Any:
    kind = value.type
    try:
        return value.as_py()
    except _UNHELD:
        if pt.is_struct(kind):
            return {kind.field(place).name: _shown(value[place]) for place in range(kind.num_fields)}
        if pt.is_map(kind):
            return [(_shown(pair[0]), _shown(pair[1])) for pair in value.values]
        if pt.is_nested(kind):
            return [_shown(member) for member in value.values]
        if pt.is_dictionary(kind):
            return _shown(value.value)
    try:
        if pt.is_timestamp(kind) and kind.tz not in (None, "UTC"):
            return _shown(value.cast(pa.timestamp(kind.unit, "UTC")))
        return pa.array([value]).cast(pa.string())[0].as_py()
    except _UNHELD:
        return str(value.cast(pa.int64()).as_py())
