"""Columns as Python objects for people: every value of every type gives one, and what Python holds is itself."""

import datetime as dt
import json
from decimal import Decimal

import pyarrow as pa
import pytest

from batchgen.evaluation.written import python_values, texts
from batchgen.text.arrow_values import as_dictionary, shown_rows, shown_values

FAR = 2**62
US = pa.timestamp("us")


def far(kind):
    return pa.array([1, FAR], pa.int64()).cast(kind)


COLUMNS = {
    "moments": far(US),
    "moments of no known zone": pa.array([1, FAR], pa.int64()).cast(pa.timestamp("us", "Mars/Phobos")),
    "dates": pa.array([1, 2**31 - 1], pa.int32()).cast(pa.date32()),
    "durations": far(pa.duration("s")),
    "times with nanoseconds": pa.array([0, 86_399_999_999_999], pa.int64()).cast(pa.time64("ns")),
    "lists": pa.ListArray.from_arrays([0, 1, 2], far(US)),
    "fixed lists": pa.FixedSizeListArray.from_arrays(far(US), 1),
    "structs": pa.StructArray.from_arrays([far(US), far(pa.duration("s"))], ["a", "b"]),
    "structs with a name twice": pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["x", "x"]),
    "maps": pa.MapArray.from_arrays([0, 1, 2], ["k", "l"], far(US)),
    "maps with a key twice": pa.array([[("k", 1)], [("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())),
    "maps with objects for keys": pa.MapArray.from_arrays([0, 0, 1], pa.array([{"p": 1}]), ["x"]),
    "dictionaries": far(US).dictionary_encode(),
    "large decimals": pa.array([Decimal("1.1"), None], pa.decimal256(60, 2)),
    "half floats": pa.array([0.5, None], pa.float16()),
    "bytes": pa.array([b"\xff", None]),
    "nulls": pa.nulls(2),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_nothing_raises(name):
    """As values, as rows, as text and as JSON."""
    column = COLUMNS[name]
    values = shown_values(column)
    assert len(values) == 2
    assert [value is None for value in values] == column.is_null().to_pylist()
    assert len(shown_rows(pa.table({"x": column}))) == 2
    assert len(python_values(column)) == 2
    assert len(texts(column)) == 2
    assert json.dumps(values, default=str)


def test_what_python_holds_is_itself_and_the_rest_is_text():
    """Value by value, also inside lists and objects."""
    first = dt.datetime(1970, 1, 1, 0, 0, 0, 1)  # noqa: DTZ001
    assert shown_values(COLUMNS["moments"])[0] == first
    assert isinstance(shown_values(COLUMNS["moments"])[1], str)
    assert shown_values(COLUMNS["lists"])[0] == [first]
    assert shown_values(COLUMNS["structs"])[0]["a"] == first
    assert shown_values(COLUMNS["durations"])[1] == str(FAR)
    assert shown_values(COLUMNS["moments of no known zone"])[0] == first.replace(tzinfo=dt.UTC)


def test_pairs_become_a_dictionary_where_keys_are_plain():
    """Parts hold a map as a list of {key, value}, Arrow as pairs."""
    assert as_dictionary([{"key": "a", "value": 1}]) == as_dictionary([("a", 1)]) == {"a": 1}
    assert as_dictionary([({"p": 1}, "x")]) == [[{"p": 1}, "x"]]
