"""Rows of other libraries: what comes in as Arrow, and what goes back with the answers beside it."""

import datetime as dt
from decimal import Decimal

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import InputError
from batchgen.frames.tables import read_rows

ROWS = [
    {
        "text": "ä 漢 👍",
        "number": 2**53 + 1,
        "share": 0.5,
        "price": Decimal("12.50"),
        "day": dt.date(2026, 2, 3),
        "moment": dt.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=dt.UTC),
        "yes": True,
        "tags": ["a", "b"],
        "inner": {"x": 1, "y": None},
        "kind": "one",
    },
    {
        "text": "",
        "number": None,
        "share": None,
        "price": None,
        "day": None,
        "moment": None,
        "yes": None,
        "tags": [],
        "inner": {"x": None, "y": "z"},
        "kind": "two",
    },
    {name: None for name in ("text", "number", "share", "price", "day", "moment", "yes", "tags", "inner", "kind")},
]
TABLE = pa.Table.from_pylist(ROWS, schema=pa.schema([
    ("text", pa.string()), ("number", pa.int64()), ("share", pa.float64()), ("price", pa.decimal128(10, 2)),
    ("day", pa.date32()), ("moment", pa.timestamp("us", "UTC")), ("yes", pa.bool_()), ("tags", pa.list_(pa.string())),
    ("inner", pa.struct([("x", pa.int64()), ("y", pa.string())])), ("kind", pa.string()),
])).set_column(9, "kind", pa.array([r["kind"] for r in ROWS]).dictionary_encode())  # fmt: skip
RESULTS = pa.table(
    {
        "status": pa.array(["succeeded", "failed", None]).dictionary_encode(),
        "attempts": pa.array([1, 2, None], pa.int32()),
        "cost": pa.array([Decimal("0.000000000001"), None, None], pa.decimal128(20, 12)),
        "reused": pa.array([True, False, None]),
        "label": ["x", None, None],
    }
)


def arrow_of_pandas(frame):
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


KINDS = {
    "pyarrow": (TABLE, lambda given: given.to_pylist()),
    "polars": (pl.from_arrow(TABLE), lambda given: given.to_dicts()),
    "pandas arrow": (TABLE.to_pandas(types_mapper=pd.ArrowDtype), lambda given: arrow_of_pandas(given).to_pylist()),
    "duckdb": (duckdb.from_arrow(TABLE), lambda given: given.to_arrow_table().to_pylist()),
    "datasets": (datasets.Dataset(TABLE), lambda given: given.to_list()),
    "list": (ROWS, lambda given: given),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_back_as_they_went_in(kind):
    """The same type, order and values, and the answers beside them."""
    given, as_list = KINDS[kind]
    rows = read_rows(given)
    assert [row["number"] for row in rows.table.to_pylist()] == [2**53 + 1, None, None]
    joined = rows.join(RESULTS, None)
    assert type(joined) is type(given)
    back = as_list(joined)
    assert [{name: row[name] for name in ROWS[0]} for row in back] == ROWS
    assert [{name: row[name] for name in RESULTS.column_names} for row in back] == RESULTS.to_pylist()
    some = as_list(rows.join(RESULTS, [1]))
    assert [row["kind"] for row in some] == ["two"]
    assert [row["status"] for row in some] == ["failed"]


def test_a_data_frame_keeps_index_types_and_categories():
    """Nothing of pandas' own is lost by the way through Arrow: the frame itself is what comes back."""
    frame = pd.DataFrame(
        {
            "text": ["a", "b", "c"],
            "kind": pd.Categorical(["x", "y", "x"], categories=["y", "x"], ordered=True),
            "when": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
            "size": pd.array([1, None, 3], dtype="Int64"),
        },
        index=pd.MultiIndex.from_tuples([("p", 1), ("p", 2), ("q", 1)], names=["group", "place"]),
    )
    joined = read_rows(frame).join(RESULTS, None)
    pd.testing.assert_frame_equal(joined[[*frame.columns]], frame)
    assert joined["attempts"].tolist()[:2] == [1, 2]
    assert joined["cost"].iloc[0] == Decimal("0.000000000001")
    only = read_rows(frame).join(RESULTS, [2])
    assert only.index.tolist() == [("q", 1)]


def test_a_named_index_can_be_the_id():
    """`id` may name a pandas index; else the index is no column."""
    frame = pd.DataFrame({"text": ["a", "b"]}, index=pd.Index(["k1", "k2"], name="key"))
    assert read_rows(frame).table.column_names == ["text"]
    assert read_rows(frame, "key").table.to_pylist() == [{"key": "k1", "text": "a"}, {"key": "k2", "text": "b"}]


def test_rows_that_were_selected_and_shuffled_come_in_that_order():
    """A dataset's own table holds all rows; those of the view are meant."""
    dataset = datasets.Dataset.from_list([{"n": n} for n in range(5)]).select([4, 0, 2])
    rows = read_rows(dataset)
    assert rows.table.to_pylist() == [{"n": 4}, {"n": 0}, {"n": 2}]
    assert rows.join(RESULTS, None)["n"][:] == [4, 0, 2]


def test_dicts_of_differing_keys_and_texts():
    """A key that only a later row has is a column; texts are rows with one column."""
    rows = read_rows([{"a": 1}, {"b": "x"}])
    assert rows.table.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert rows.join(RESULTS.slice(0, 2).select(["label"]), None) == [{"a": 1, "label": "x"}, {"b": "x", "label": None}]
    assert read_rows(iter(["p", "q"])).table.to_pylist() == [{"text": "p"}, {"text": "q"}]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "expected is a pandas"),
        ("rows.csv", "is a path"),
        ({"a": [1]}, "expected is a pandas"),
        ([{"a": 1}, 2], "Row 1 of the rows is a int"),
        ([{"a": 1}, {"a": "x"}], 'Column "a"'),
        (pd.DataFrame({"a": [1, "x"]}, dtype=object), "one type"),
        (pd.DataFrame({"a": [2**80]}), "beyond 64 bits"),
        (pl.DataFrame({"a": [2**80]}, schema={"a": pl.Int128}), "Cast that column"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), 'two columns named "a"'),
        (np.zeros(3), "Row 0"),
        ([], "list is empty"),
        (pd.Series(["a"]), "to_frame"),
        (pl.Series(["a"]), "to_frame"),
    ],
)
def test_what_is_no_table_is_refused_with_the_fix(given, said):
    """Before anything is sent, naming row or column."""
    with pytest.raises(InputError, match=said):
        read_rows(given)


def test_lazy_frames_streams_and_relations():
    """What gives its rows once only is read once only."""
    assert read_rows(pl.LazyFrame({"a": [1, 2]})).table.to_pylist() == [{"a": 1}, {"a": 2}]
    reader = pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches())
    rows = read_rows(reader)
    assert rows.join(RESULTS, None).num_rows == 3
    relation = duckdb.sql("select range as n from range(3)")
    assert read_rows(relation).table.to_pylist() == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_categories_of_polars_can_be_kept_in_files():
    """Their words are views of texts, which no Parquet file holds."""
    frame = pl.DataFrame(
        {"kind": pl.Series(["x", "y"], dtype=pl.Categorical), "level": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"]))}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(read_rows(frame).table, sink)
    assert pq.read_table(pa.BufferReader(sink.getvalue())).to_pylist() == frame.to_dicts()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pd.DataFrame, "The rows have no columns"),
        (lambda: pd.DataFrame(index=[1, 2]), "The rows have no columns"),
        (pl.DataFrame, "The rows have no columns"),
        (lambda: pa.table({}), "The rows have no columns"),
        (lambda: [{}, {}], "The rows have no columns"),
        (lambda: datasets.Dataset.from_dict({}), "The rows have no columns"),
        (lambda: datasets.DatasetDict(train=datasets.Dataset(TABLE)), r"datasets \(train\): give one of them"),
        (lambda: ["fine", "\ud83d"], r"Column \"text\", row 1: .* lone surrogate '\\ud83d'"),
        (lambda: [{"a": {"b": ["x", "y\udcff"]}}], r"Column \"a\", row 0: .* lone surrogate '\\udcff'"),
        (lambda: [{"a\ud800": 1}], "column name .* lone surrogate"),
        (
            lambda: pd.DataFrame({"b": [1, 2], "a": np.array(["x", "\ud800"], dtype=object)}, dtype=object),
            r"Column \"a\", row 1: .* lone surrogate",
        ),
        (lambda: [{"a": 1}, {"a": 1 + 2j}], 'Column "a" holds complex numbers: .* two columns'),
        (lambda: pd.DataFrame({"a": np.array([1j, 2])}), 'Column "a" holds complex numbers'),
        (lambda: pd.DataFrame({"b": [1], "a": pd.arrays.SparseArray([0])}), r"Column \"a\" is sparse: .*to_dense"),
        (lambda: pd.DataFrame({"a": [1, "x"]}), 'Column "a" has values of several types: int in row 0, str in row 1'),
        (lambda: [{"a": "x"}, {}, {"a": 2.5}], 'Column "a" has values of several types: str in row 0, float in row 2'),
        (lambda: [{"a": 1}, {"a": 2**70}], 'Column "a", row 1: 1180591620717411303424 is beyond 64 bits'),
        (lambda: pl.DataFrame({"a": [object()]}), 'Column "a" holds values that no table can hold'),
        (lambda: pd.DataFrame({"a": [object()]}), r"Column \"a\" holds values that no table can hold \(object\)"),
    ],
)
def test_a_column_that_no_table_can_hold_is_named_with_the_fix(given, said):
    """With the row where it is one row's fault."""
    with pytest.raises(InputError, match=said):
        read_rows(given())


def test_letters_of_two_surrogates_are_letters():
    """A name and a text beyond the first 65,536 letters."""
    assert read_rows([{"👍": "𝄞"}]).table.to_pylist() == [{"👍": "𝄞"}]
