"""Arrow rows as Python objects: what cannot be held costs its row, numbers keep their digits."""

import datetime as dt

import pyarrow as pa
import pytest

from batchgen.prompts.prompt import PromptSettings, PromptTemplate
from batchgen.source import Source, row_values
from batchgen.values import Failure, FailureKind

FAR = [
    pa.array([1, 2**31 - 1], pa.date32()),
    pa.array([1, -800_000], pa.date32()),
    pa.array([1, 2**62], pa.timestamp("us")),
    pa.array([1, -(2**62)], pa.timestamp("ms", "UTC")),
    pa.array([1, 253402300799000], pa.timestamp("ms", "Asia/Shanghai")),
    pa.array([1, 2**61], pa.duration("s")),
    pa.array([[1], [2**62]], pa.list_(pa.timestamp("us"))),
    pa.array([{"t": 1}, {"t": 2**62}], pa.struct([("t", pa.timestamp("us"))])),
    pa.array([[1, 1], [1, 2**62]], pa.list_(pa.timestamp("us"), 2)),
    pa.array([[("k", 1)], [("k", 2**62)]], pa.map_(pa.string(), pa.timestamp("us"))),
    pa.array([[("k", 1)], [("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())),
    pa.MapArray.from_arrays([0, 0, 1], pa.array([{"part": 1}]), ["x"]),
]


@pytest.mark.parametrize("column", FAR, ids=lambda column: str(column.type))
def test_times_beyond_python(column, tmp_path):
    """A date that Python cannot hold fails its row alone, naming the column; a prompt without it is asked."""
    table = pa.table({"id": ["a", "b"], "until": column})
    template = PromptTemplate(PromptSettings(user="{{ id }} {{ until }}"))
    first, second = (template.render(values) for values in row_values(table, ["id", "until"]))
    assert not isinstance(first, Failure)
    assert isinstance(second, Failure)
    assert second.kind is FailureKind.PROMPT
    assert 'column "until"' in second.message
    assert row_values(table, ["id"]) == [{"id": "a"}, {"id": "b"}]


def test_zones_that_python_does_not_know():
    """A moment in a zone of another name is the same moment in UTC."""
    table = pa.table({"at": pa.array([0], pa.timestamp("us", "UTC+2"))})
    assert row_values(table, ["at"]) == [{"at": dt.datetime(1970, 1, 1, tzinfo=dt.UTC)}]


@pytest.mark.parametrize(("kind", "digits"), [(pa.float32(), [0.1, 1042.5, 3.4e38]), (pa.float16(), [0.1, 2.5, 65504])])
def test_short_floats(kind, digits):
    """Numbers of 16 and 32 bits have their own digits, at any depth."""
    table = pa.table({"x": pa.array(digits, kind), "l": pa.array([[value] for value in digits], pa.list_(kind))})
    assert row_values(table, ["x", "l"]) == [{"x": value, "l": [value]} for value in digits]


def test_not_a_number_is_null():
    """NaN is a missing number, at any depth."""
    nan = float("nan")
    table = pa.table({"x": [nan, 1.5], "l": [[nan, 1.0], None], "m": pa.array([[("k", nan)], []], MAP)})
    assert row_values(table, ["x", "l", "m"]) == [
        {"x": None, "l": [None, 1.0], "m": {"k": None}},
        {"x": 1.5, "l": None, "m": {}},
    ]


MAP = pa.map_(pa.string(), pa.float64())


def test_whole_numbers_with_gaps(tmp_path):
    """Whole numbers that a gap made floats are whole; a column with a fraction, or without a gap, is left alone."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"order": [1042, None, 7], "price": [10.0, None, 2.5], "full": [1.0, 2.0, 3.0]})
    frame.to_parquet(tmp_path / "a.parquet")
    source = Source.open(str(tmp_path / "a.parquet"))
    source.scan()
    (batch,) = source.batches()
    shown = [[str(row[name]) for row in batch.values(source.columns)] for name in ("order", "price", "full")]
    assert shown == [["1042", "None", "7"], ["10.0", "None", "2.5"], ["1.0", "2.0", "3.0"]]


def test_nulls_of_an_arrow_struct_are_not_sent():
    """A tool from a struct column has its own properties only; one from a JSON object keeps the nulls that it has."""
    kind = pa.struct([("a", pa.int64()), ("b", pa.int64())])
    table = pa.table({"id": ["x"], "tools": pa.array([[{"a": 1}]], pa.list_(kind))})
    template = PromptTemplate(PromptSettings(user="{{ id }}"), {"tools": "tools"})
    (values,) = row_values(table, ["id", "tools"])
    assert template.render(values).parameters == {"tools": [{"a": 1}]}


NS = pa.array([1_999, None], pa.int64()).cast(pa.timestamp("ns"))
CUT = dt.datetime(1970, 1, 1, 0, 0, 0, 1)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.FixedSizeListArray.from_arrays(NS, 2), [CUT, None]),
        (pa.MapArray.from_arrays([0, 2], ["a", "b"], NS), {"a": CUT, "b": None}),
        (pa.LargeListArray.from_arrays([0, 2], NS), [CUT, None]),
        (pa.ListArray.from_arrays([0, 1], pa.StructArray.from_arrays([NS.slice(0, 1)], ["t"])), [{"t": CUT}]),
    ],
)
def test_nanoseconds_are_cut_at_any_depth(column, value):
    """They are Python's own times, whether pandas is installed or not."""
    (row,) = row_values(pa.table({"x": column}), ["x"])
    assert row == {"x": value}
    assert "Timestamp" not in repr(row)
