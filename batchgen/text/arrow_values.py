"""Turns Arrow columns into Python objects; values that Python cannot represent become text, and nothing raises.

These are years outside of 1 to 9999, nanoseconds, unknown time zones, and maps with a key that occurs twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

_UNHELD = (OverflowError, ValueError, TypeError, KeyError, pa.ArrowException)


def python_values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return a column as Python objects: nanoseconds are cut, and what Python cannot hold is text; maps are lists of
    pairs."""
    kind = map_type(array.type, in_microseconds)
    try:
        values: list[Any] = (array if array.type == kind else array.cast(kind, safe=False)).to_pylist()
    except _UNHELD:
        return shown_values(array)
    return values


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


def map_type(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a type with `leaf` applied to what is neither list, map nor struct, at any depth.

    Large lists become lists. List views stay as they are: a cast of them loses values (pyarrow 26).
    """
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(map_type(kind.value_type, leaf))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(map_type(kind.value_type, leaf), kind.list_size)
    if pa.types.is_map(kind):
        return pa.map_(map_type(kind.key_type, leaf), map_type(kind.item_type, leaf))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, map_type(field.type, leaf)) for field in kind])
    return leaf(kind)


def in_microseconds(kind: pa.DataType) -> pa.DataType:
    """Return a type of times with microseconds in place of nanoseconds, which Python's cannot hold."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    return kind


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
