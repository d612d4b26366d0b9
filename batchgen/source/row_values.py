"""Arrow rows → Python objects: what templates and parameters see of a row.

Python's times hold microseconds and the years 1 to 9999. Nanoseconds are cut; a value beyond is a problem of its row
alone. NaN is null: a table has it where a number is missing. Numbers of 16 and 32 bits have the digits that they were
written with, and whole numbers that became floats only because one is missing are whole numbers again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import Any

import msgspec
import pyarrow as pa

from batchgen.files.compute import pc
from batchgen.text.arrow_values import in_microseconds, map_type
from batchgen.values import Row

_WHOLE = b"batchgen.whole"
_OWN = "\0own "
EXACT_IN_FLOAT = 1 << 53
"""Whole numbers beyond it are not all floats."""

_UNHELD = (OverflowError, ValueError, pa.ArrowException)
_NO_DICTIONARY = (KeyError, TypeError)  # a map with a key twice, or with keys that are no plain values

_decode = msgspec.json.decode


def own_column(column: str) -> str:
    """Return the column that accompanies a JSONL column and holds each row's own value as JSON.

    An Arrow struct has every field in every row, so that it cannot tell a missing key from null.
    """
    return _OWN + column


class WholeNumbers:
    """Finds the float columns that hold nothing but whole numbers and have gaps, as pandas makes them of integers."""

    def __init__(self, schema: pa.Schema) -> None:
        self._open = {field.name for field in schema if pa.types.is_float64(field.type)}
        self._gaps: set[str] = set()

    def add(self, table: pa.RecordBatch) -> None:
        """Look at the next rows."""
        for name in sorted(self._open.intersection(table.schema.names)):
            column = table.column(name)
            numbers = column.filter(pc.is_finite(column))
            if len(numbers) < len(column):
                self._gaps.add(name)
                if pc.any(pc.is_inf(column)).as_py():
                    self._open.discard(name)
            if (
                len(numbers)
                and not pc.all(
                    pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less_equal(pc.abs(numbers), float(EXACT_IN_FLOAT)))
                ).as_py()
            ):
                self._open.discard(name)

    @property
    def columns(self) -> set[str]:
        """The columns, of all rows seen."""
        return self._open & self._gaps


def mark_whole(table: pa.RecordBatch, columns: Iterable[str]) -> pa.RecordBatch:
    """Note in a batch which float columns hold nothing but whole numbers."""
    return table.replace_schema_metadata({_WHOLE: msgspec.json.encode(sorted(columns))})


def row_values(table: pa.RecordBatch | pa.Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return each row's values in these columns as Python objects.

    A row with a value that Python cannot hold, or with values just as its JSON object had them, is a `Row`.
    """
    if not columns:
        return [{} for _ in range(table.num_rows)]
    present = set(table.schema.names)
    whole = _decode((table.schema.metadata or {}).get(_WHOLE, b"[]"))
    if all(own_column(name) not in present and _is_plain(table.column(name), name in whole) for name in columns):
        plain: list[dict[str, Any]] = table.select(list(columns)).to_pylist()  # half the time of column by column
        return plain
    exact: list[str] = []
    problems: dict[int, str] = {}
    found: list[list[Any]] = []
    for name in columns:
        own = own_column(name)
        if own in present:
            exact.append(name)
            found.append([None if text is None else _decode(text) for text in table.column(own).to_pylist()])
        else:
            found.append(_column_values(table.column(name), name, name in whole, problems))
    rows: list[dict[str, Any]] = [dict(zip(columns, values, strict=True)) for values in zip(*found, strict=True)]
    if exact:
        rows = [Row(row, exact) for row in rows]
    for index, problem in problems.items():
        rows[index] = Row(rows[index], exact, problem)
    return rows


def _is_plain(column: pa.Array | pa.ChunkedArray, whole: bool) -> bool:
    """Whether Arrow's own conversion gives the values that prompts see."""
    kind = column.type
    if pa.types.is_float64(kind):
        return not whole and not pc.any(pc.is_nan(column)).as_py()
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _column_values(column: pa.Array | pa.ChunkedArray, name: str, whole: bool, problems: dict[int, str]) -> list[Any]:
    kind = column.type
    if pa.types.is_floating(kind):
        return _floats(column, whole)
    plain = map_type(kind, in_microseconds)
    if plain != kind:
        column = pc.cast(column, plain, safe=False)
    values: list[Any]
    try:
        # Arrow is seven times as fast without the argument
        values = column.to_pylist(maps_as_pydicts="strict") if _holds(kind, pa.types.is_map) else column.to_pylist()
    except (*_UNHELD, *_NO_DICTIONARY):
        values = _one_by_one(with_known_zones(column), name, problems)
    if pa.types.is_nested(kind) and _holds(kind, pa.types.is_floating):
        values = [_with_plain_floats(value, kind) for value in values]
    return values


def _floats(column: pa.Array | pa.ChunkedArray, whole: bool) -> list[Any]:
    if pa.types.is_float16(column.type):
        values = [None if value is None else _shortest(value, "e") for value in column.to_pylist()]
    elif pa.types.is_float32(column.type):
        # Arrow writes the shortest digits that give the same 32 bits
        values = [None if text is None else float(text) for text in pc.cast(column, pa.string()).to_pylist()]
    else:
        values = column.to_pylist()
    if whole:
        return [None if value is None or isnan(value) else int(value) for value in values]
    return [None if value is None or isnan(value) else value for value in values]


def _shortest(value: float, code: str) -> float:
    """Return the number with the fewest digits that is the same in the `struct` format `code`."""
    if value.is_integer() and abs(value) < EXACT_IN_FLOAT:
        return value
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.unpack(code, struct.pack(code, short))[0] == value:
                return short
        except OverflowError:
            continue
    return value


def _one_by_one(column: pa.Array | pa.ChunkedArray, name: str, problems: dict[int, str]) -> list[Any]:
    values: list[Any] = []
    for index in range(len(column)):
        try:
            values.append(column[index].as_py(maps_as_pydicts="strict"))
        except _NO_DICTIONARY:
            values.append(None)
            problems.setdefault(
                index,
                f'column "{name}" holds a map that no JSON object can be made of: it has a key twice, or keys that are '
                "neither texts nor numbers. Store it as a list of keys and values.",
            )
        except _UNHELD as error:
            values.append(None)
            problems.setdefault(
                index,
                f'column "{name}" holds a value of type {column.type} that cannot be written into a prompt ({error}), '
                "such as a date beyond the years 1 to 9999. Store it as text, or as null where it stands for no value.",
            )
    return values


def with_known_zones(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return times of a zone that Python does not know as the same moments in UTC."""
    kind = map_type(column.type, _in_known_zone)
    return column if kind == column.type else pc.cast(column, kind)


def _in_known_zone(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        try:
            pa.lib.string_to_tzinfo(kind.tz)
        except _UNHELD:
            return pa.timestamp(kind.unit, "UTC")
    return kind


def _holds(kind: pa.DataType, sought: Callable[[pa.DataType], bool]) -> bool:
    """Whether a type is, or has at any depth, one for which `sought` is true."""
    if sought(kind):
        return True
    return pa.types.is_nested(kind) and any(_holds(kind.field(index).type, sought) for index in range(kind.num_fields))


def _with_plain_floats(value: Any, kind: pa.DataType) -> Any:
    """Return a nested value with the rules for numbers applied to each float in it."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        if isnan(value):
            return None
        if pa.types.is_float64(kind):
            return value
        return _shortest(value, "e" if pa.types.is_float16(kind) else "f")
    if pa.types.is_struct(kind):
        return {field.name: _with_plain_floats(value[field.name], field.type) for field in kind}
    if pa.types.is_map(kind):
        return {key: _with_plain_floats(member, kind.item_type) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_plain_floats(member, kind.value_type) for member in value]
    return value
