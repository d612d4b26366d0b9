"""Values of any schema come back equal from Parquet; what a column cannot hold is said before it is built."""

import json
import statistics
import time
from datetime import UTC, date, datetime

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchgen.answers.reading import Found, read_object, reread_object
from batchgen.answers.schema import AnswerSchema

from .arrow_back import parquet_round_trip, same_as_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


def _scalar():
    """Pairs of a schema and a strategy for its values."""
    words = st.lists(TEXT, min_size=1, max_size=4, unique=True)
    moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
    return st.one_of(
        st.just(({"type": "string"}, TEXT)),
        st.just(({"type": "integer"}, st.integers(-(2**63), 2**63 - 1))),
        st.just(({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False))),
        st.just(({"type": "boolean"}, st.booleans())),
        st.just(({"type": "string", "format": "date"}, st.dates().map(date.isoformat))),
        st.just(({"type": "string", "format": "date-time"}, moments.map(datetime.isoformat))),
        st.just(({"type": "string", "format": "uuid"}, st.uuids().map(str))),
        st.just(({"type": ["string", "integer"]}, TEXT | st.integers(-(2**70), 2**70))),
        st.just(({}, st.recursive(TEXT | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=4))),
        words.map(lambda words: ({"enum": words}, st.sampled_from(words))),
        words.map(lambda words: ({"const": words[0]}, st.just(words[0]))),
    )


def _nested(inner):
    def nullable(pair):
        schema, values = pair
        return {"anyOf": [schema, {"type": "null"}]}, st.none() | values

    def array(pair):
        schema, values = pair
        return {"type": "array", "items": schema}, st.lists(values, max_size=4)

    def open_map(pair):
        schema, values = pair
        return {"type": "object", "additionalProperties": schema}, st.dictionaries(NAMES, values, max_size=3)

    return inner.map(nullable) | inner.map(array) | inner.map(open_map) | _record(inner)


@st.composite
def _record(draw, inner):
    pairs = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=4))
    required = draw(st.sets(st.sampled_from(sorted(pairs))))
    closed = draw(st.booleans())
    schema = {
        "type": "object",
        "properties": {name: schema for name, (schema, _) in pairs.items()},
        "required": sorted(required),
    }
    if closed:
        schema["additionalProperties"] = False
    values = st.fixed_dictionaries(
        {name: pairs[name][1] for name in required},
        optional={name: pairs[name][1] for name in pairs if name not in required},
    )
    return schema, values


SCHEMAS = _record(st.recursive(_scalar(), _nested, max_leaves=6))


@given(data=st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_value_of_a_schema_comes_back_equal_from_parquet(data):
    """Value → JSON text → read, validated → column → Parquet → the same value; a null row stays null."""
    document, strategy = data.draw(SCHEMAS)
    values = data.draw(st.lists(strategy, max_size=4))
    schema = AnswerSchema(document, "drawn.json")
    read = []
    for value in values:
        found = read_object(json.dumps(value, ensure_ascii=data.draw(st.booleans())))
        assert isinstance(found, Found)
        assert schema.problems(found.value) is None
        assert reread_object(json.dumps(value)) == found.value
        read.append(found.value)
    column = schema.shape.column([*read, None])
    column.validate(full=True)
    *back, last = parquet_round_trip(column).to_pylist()
    assert last is None
    for value, arrow in zip(values, back, strict=True):
        assert same_as_json(schema.shape, arrow, value), (document, value, arrow)


EVERYTHING = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["bug", "praise"]},
        "kinds": {"type": "array", "items": {"enum": ["bug", "praise"]}},
        "inner": {"type": "object", "properties": {"kind": {"enum": ["x", None]}, "n": {"type": "integer"}}},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "score": {"type": ["number", "null"]},
        "any": {},
        "named": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}
VALUES = [
    {
        "kind": "praise",
        "kinds": ["bug", "praise", "bug"],
        "inner": {"kind": "x", "n": 3.0},
        "day": "2026-02-28",
        "at": "2026-02-28T10:00:00.123456+05:30",
        "score": 1,
        "any": {"a": [1, None]},
        "named": {"b": 1, "a": 2},
    },
    None,
    {"kind": "bug", "kinds": []},
]


def test_other_readers_understand_the_column(tmp_path):
    """Dictionaries inside structs, lists and maps are read by pandas, Polars and DuckDB alike."""
    schema = AnswerSchema(EVERYTHING, "all.json")
    path = tmp_path / "part.parquet"
    pq.write_table(pa.table({"parsed": schema.shape.column(VALUES)}), path)
    frame = pd.read_parquet(path)["parsed"]
    assert frame[0]["kind"] == "praise"
    assert list(frame[0]["kinds"]) == ["bug", "praise", "bug"]
    assert frame[1] is None
    polars = pl.read_parquet(path).select(pl.col("parsed").struct.unnest()).rows(named=True)
    assert polars[0]["kind"] == "praise"
    assert polars[0]["inner"] == {"kind": "x", "n": 3}
    assert polars[2]["kinds"] == []
    rows = duckdb.sql(
        f"select parsed.kind, parsed.day, epoch_us(parsed.at), parsed.named['a'], parsed.\"any\" from '{path}'"
    ).fetchall()
    moment = int(datetime(2026, 2, 28, 4, 30, 0, 123456, UTC).timestamp() * 1_000_000)
    assert rows[0] == ("praise", date(2026, 2, 28), moment, 2, '{"a":[1,null]}')
    assert rows[1] == (None,) * 5
    assert rows[2] == ("bug", None, None, None, None)


def test_parts_of_one_job_have_one_type():
    """The type follows the schema alone, whatever values a part happens to hold: parts can be put together."""
    schema = AnswerSchema(EVERYTHING, "all.json")
    columns = [schema.shape.column(values) for values in ([], [None], VALUES)]
    assert {column.type for column in columns} == {schema.type}
    assert pa.chunked_array(columns).to_pylist()[1]["kinds"] == ["bug", "praise", "bug"]


@pytest.mark.parametrize(
    ("property_", "value", "path", "message"),
    [
        ({"type": "integer"}, 2**63, "/v", "beyond a 64-bit integer"),
        ({"type": "integer"}, -(10**400), "/v", "beyond a 64-bit integer"),
        ({"type": "number"}, 10**400, "/v", "beyond a 64-bit float"),
        ({"type": "string", "format": "date"}, "0000-01-01", "/v", "no day of the years"),
        ({"type": "string", "format": "date-time"}, "1990-12-31T23:59:60Z", "/v", "no moment of the years"),
        ({"type": "string", "format": "date-time"}, "0001-01-01T00:00:00+10:00", "/v", "no moment of the years"),
        ({"type": "array", "items": {"type": ["integer", "null"]}}, [1, None, 2**64], "/v/2", "beyond"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a/b": 2**64}, "/v/a~1b", "beyond"),
    ],
)
def test_what_a_column_cannot_hold_is_invalid_by_path(property_, value, path, message):
    """A valid value that the Arrow type cannot hold is refused with its JSON pointer instead of failing a part."""
    schema = AnswerSchema({"type": "object", "properties": {"v": property_}}, "one.json")
    problems = schema.problems({"v": value})
    assert problems.first.path == path
    assert message in problems.first.message


def test_a_column_of_six_strings_is_cheap():
    """Reading again and building the column stay far below 10 µs a row."""
    names = ["customer", "software_version", "error_code", "problem", "operating_system", "details"]
    schema = AnswerSchema(
        {"type": "object", "properties": {name: {"type": ["string", "null"]} for name in names}}, "six.json"
    )
    text = json.dumps({name: "a text of some length about the matter" for name in names})
    rows, costs_us = 4_000, []
    for _ in range(5):
        started = time.process_time()
        schema.shape.column([reread_object(text) for _ in range(rows)])
        costs_us.append((time.process_time() - started) / rows * 1e6)
    assert statistics.median(costs_us) < 10
