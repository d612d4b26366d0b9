"""Tables as other programs write them, in Parquet and JSON lines: any table comes back cell for cell.

What was written is the truth, as Python values; a file may be refused, never read as something else.
"""

import datetime as dt
import json
from math import isnan

import datasets
import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import InputError
from batchgen.source import Source

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
MOMENTS = st.datetimes(dt.datetime(1678, 1, 1), dt.datetime(2261, 1, 1))  # noqa: DTZ001 (Arrow's have no zone)
LEAVES = {
    pa.string(): TEXTS,
    pa.large_string(): TEXTS,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int8(): st.integers(-128, 127),
    pa.uint16(): st.integers(0, 2**16 - 1),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(allow_infinity=False),
    pa.float32(): st.integers(-999, 999).map(lambda number: number / 100),
    pa.date32(): st.dates(dt.date(1, 1, 1)),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("ms"): MOMENTS.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)),
    pa.timestamp("ns"): MOMENTS,
    pa.decimal128(12, 3): st.decimals(-99999, 99999, places=3),
}
NAMES = st.text(st.sampled_from("abAé .\n[]\"'=-1"), min_size=1, max_size=4)


@st.composite
def columns(draw, leaves=LEAVES, depth=2):
    """An Arrow type and a strategy of its values, lists and structs included."""
    shape = draw(st.sampled_from(["leaf", "leaf", "list", "struct"] if depth else ["leaf"]))
    if shape == "leaf":
        kind, values = draw(st.sampled_from(list(leaves.items())))
        return kind, st.none() | values
    if shape == "list":
        kind, values = draw(columns(leaves, depth - 1))
        return pa.list_(kind), st.none() | st.lists(values, max_size=3)
    fields = draw(st.dictionaries(st.sampled_from(["x", "y.z", "X z"]), columns(leaves, depth - 1), min_size=1))
    kinds = pa.struct([(name, kind) for name, (kind, _) in fields.items()])
    return kinds, st.none() | st.fixed_dictionaries({name: values for name, (_, values) in fields.items()})


@st.composite
def tables(draw, leaves=LEAVES, names=NAMES):
    """A table as Arrow holds it, with its Python values."""
    wanted = draw(st.dictionaries(names, columns(leaves), min_size=1, max_size=4))
    count = draw(st.integers(1, 5))
    found = {name: draw(st.lists(v, min_size=count, max_size=count)) for name, (_, v) in wanted.items()}
    schema = pa.schema([(name, kind) for name, (kind, _) in wanted.items()])
    return pa.Table.from_pydict(found, schema), [
        dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)
    ]


def plain(value):
    """A value as prompts see it: NaN is null."""
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return None if isinstance(value, float) and isnan(value) else value


def read(path):
    """The rows as prompts see them, by column name; None if the file is refused."""
    try:
        source = Source.open(str(path))
        source.scan()
        return [row for batch in source.batches() for row in batch.values(source.columns)]
    except InputError:
        return None


def written_by_duckdb(table, path):
    duckdb.sql("from table").write_parquet(str(path))


WRITERS = {
    "pyarrow": pq.write_table,
    "pyarrow, small pages": lambda table, path: pq.write_table(
        table, path, row_group_size=2, data_page_size=1, data_page_version="2.0", version="1.0", compression="gzip"
    ),
    "pyarrow, dictionaries": lambda table, path: pq.write_table(
        pa.Table.from_arrays([encoded(column) for column in table.columns], table.column_names), path
    ),
    "pandas": lambda table, path: table.to_pandas(types_mapper=pandas.ArrowDtype).to_parquet(path),
    "polars": lambda table, path: polars.from_arrow(table).write_parquet(path),
    "duckdb": written_by_duckdb,
    "datasets": lambda table, path: datasets.Dataset(table).to_parquet(path),
}


def encoded(column):
    return column.dictionary_encode() if pa.types.is_string(column.type) or pa.types.is_int64(column.type) else column


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=40, deadline=None)
@given(made=tables())
def test_any_table_in_parquet_comes_back(writer, made, tmp_path_factory):
    """Every value of every type, at any depth."""
    table, rows = made
    path = tmp_path_factory.mktemp("write") / "a.parquet"
    try:
        WRITERS[writer](table, path)
    except (pa.ArrowException, NotImplementedError, duckdb.Error, polars.exceptions.PolarsError, ValueError):
        return  # the program itself cannot write it
    found = read(path)
    assert found is None or [plain(dict(row)) for row in found] == [plain(row) for row in rows]


JSON_LEAVES = {
    pa.string(): TEXTS,
    pa.int64(): st.integers(-(2**53), 2**53),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(-1e9, 1e9).map(lambda number: round(number, 6)),
}


def written_as_json(table, path):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()), "utf-8")


def written_as_json_by_duckdb(table, path):
    duckdb.sql("from table").to_view("v")
    duckdb.sql(f"copy v to '{path}' (format json)")


JSON_WRITERS = {
    "json": written_as_json,
    "pandas": lambda table, path: table.to_pandas(types_mapper=pandas.ArrowDtype).to_json(
        path, orient="records", lines=True, force_ascii=False
    ),
    "polars": lambda table, path: polars.from_arrow(table).write_ndjson(path),
    "duckdb": written_as_json_by_duckdb,
    "datasets": lambda table, path: datasets.Dataset(table).to_json(path),
    "one list": lambda table, path: path.write_text(json.dumps(table.to_pylist(), indent=1), "utf-8"),
}


@pytest.mark.parametrize("writer", JSON_WRITERS)
@settings(max_examples=40, deadline=None)
@given(made=tables(JSON_LEAVES, st.text(st.sampled_from("abAé .[]'="), min_size=1, max_size=4)))
def test_any_table_in_json_lines_comes_back(writer, made, tmp_path_factory):
    """Every value, and of an object its own keys; the truth is what Python's json reads."""
    table, _ = made
    path = tmp_path_factory.mktemp("write") / "a.jsonl"
    try:
        JSON_WRITERS[writer](table, path)
    except (pa.ArrowException, NotImplementedError, duckdb.Error, polars.exceptions.PolarsError, ValueError):
        return
    text = path.read_text("utf-8")
    truth = json.loads(text) if writer == "one list" else [json.loads(line) for line in text.split("\n") if line]
    found = read(path)
    assert found is not None
    names = {name for row in truth for name in row}
    assert [dict(row) for row in found] == [{name: row.get(name) for name in names} for row in truth]
