"""From a column back to JSON, written apart from the code under test: what the round-trip tests compare with."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.answers.shape import REST, DateShape, JsonTextShape, ListShape, MapShape, ObjectShape, TimestampShape


def parquet_round_trip(column):
    """The column as Parquet gives it back."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"parsed": column}), sink, compression="zstd")
    return pq.read_table(pa.BufferReader(sink.getvalue())).column("parsed")


def same_as_json(shape, arrow, value):
    """Whether a value read from Arrow says what the JSON value said.

    Null and absent are one; what a record does not name is not kept; a moment's digits beyond microseconds are not.
    """
    if value is None or arrow is None:
        return value is None and arrow is None
    match shape:
        case ObjectShape():
            named = all(same_as_json(inner, arrow[name], value.get(name)) for name, inner in shape.fields.items())
            free = {name: item for name, item in value.items() if name not in shape.fields}
            return named and (shape.rest is None or same_as_json(shape.rest, arrow[REST], free))
        case MapShape():
            pairs = list(value.items())
            return [key for key, _ in arrow] == [key for key, _ in pairs] and all(
                same_as_json(shape.item, mine, theirs) for (_, mine), (_, theirs) in zip(arrow, pairs, strict=True)
            )
        case ListShape():
            return len(arrow) == len(value) and all(map(same_as_json, [shape.item] * len(value), arrow, value))
        case JsonTextShape():
            return json.loads(arrow) == value
        case DateShape():
            return arrow == date(*map(int, value.split("-")))
        case TimestampShape():
            return arrow == datetime.fromisoformat(value.upper()).astimezone(UTC)
        case _:
            return arrow == value and type(arrow) in (type(value), int, float)
