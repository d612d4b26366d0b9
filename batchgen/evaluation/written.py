"""Values as text: what is shown, and compared letter by letter."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from batchgen.text.arrow_values import as_dictionary, python_values


def is_text(type_: pa.DataType) -> bool:
    """Whether a column holds text."""
    return bool(pt.is_string(type_) or pt.is_large_string(type_))


def map_item(type_: pa.DataType) -> pa.DataType | None:
    """Return the type of a map's values; parts hold a map as a list of {key, value}."""
    if pt.is_map(type_):
        return type_.item_type
    pair = type_.value_type if pt.is_list(type_) else None
    if pair is not None and pt.is_struct(pair) and [field.name for field in pair] == ["key", "value"]:
        return pair.field("value").type
    return None


def comparable_values(values: pa.Array) -> list[Any]:
    """Return a column's values as they are compared: maps are dictionaries."""
    found = python_values(values)
    if pt.is_map(values.type) or map_item(values.type) is not None:
        return [None if pairs is None else as_dictionary(pairs) for pairs in found]
    return found


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


def texts(values: pa.Array | list[Any]) -> pa.Array:
    """Return a column as it is shown and compared letter by letter."""
    if isinstance(values, list):
        return pa.array(map(written, values), pa.string())
    if pt.is_dictionary(values.type):
        values = values.dictionary_decode()
    simple = pt.is_integer(values.type) or pt.is_boolean(values.type) or pt.is_date(values.type)
    if simple or is_text(values.type) or pt.is_floating(values.type) or pt.is_null(values.type):
        return values.cast(pa.string())
    return pa.array(map(written, comparable_values(values)), pa.string())
