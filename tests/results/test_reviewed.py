"""Corrections are kept whole whoever writes, and are applied and taken as gold by the fields' own types."""

import csv
import datetime as dt
import threading

import pyarrow as pa
import pytest

from batchgen.errors import OutputError, UsageError
from batchgen.evaluation.evaluate import evaluate, gold_of, reviewed_gold
from batchgen.results.corrections import ReviewFile, read_value, written
from batchgen.results.export import export
from batchgen.results.flat import FlatRows
from batchgen.results.reviewed import GoldRows, ReviewedRows, gold_name
from tests.evaluation.publishing import publish

KIND = pa.struct(
    [("label", pa.dictionary(pa.int32(), pa.string())), ("tags", pa.list_(pa.string())), ("on", pa.date32())]
)


@pytest.fixture
def run(tmp_path):
    """Five rows in two parts; the last has no answer."""
    values = [{"label": "a", "tags": ["x"], "on": dt.date(2026, 1, row + 1)} for row in range(4)]
    return publish(tmp_path / "run", {"t": list("abcde")}, list("ABCDE"), (KIND, [*values, None]), failed=(4,))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a, b", pa.string()),
        ("", pa.string()),
        (None, pa.int64()),
        (-5, pa.int64()),
        (True, pa.bool_()),
        (1.5e-9, pa.float64()),
        (dt.date(2026, 2, 3), pa.date32()),
        (["x", None, "ü"], pa.list_(pa.string())),
        ({"a": 1, "b": [False]}, pa.struct([("a", pa.int64()), ("b", pa.list_(pa.bool_()))])),
    ],
)
def test_values_come_back(value, kind):
    """Written as text and read as their type."""
    assert read_value(written(value), kind).to_pylist() == [value]


@pytest.mark.parametrize(
    ("text", "kind"), [("many", pa.int64()), ("2026-13-01", pa.date32()), ("[1", pa.list_(pa.int64()))]
)
def test_what_is_no_value_is_refused(text, kind):
    """With the type that is expected."""
    with pytest.raises(UsageError, match="is no value of type"):
        read_value(text, kind)


def test_writers_at_the_same_time_lose_nothing(run):
    """Each opens the file anew; the results are not touched."""
    before = {path: path.read_bytes() for path in (run / "results").iterdir()}
    threads = [
        threading.Thread(target=ReviewFile(run).add, args=(str(row), [("label", "b", "a")], f"person {row % 2}"))
        for row in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(one.row) for one in ReviewFile(run).read()) == [*range(12)]
    assert {path: path.read_bytes() for path in (run / "results").iterdir()} == before


def test_the_latest_counts_and_can_be_taken_back(run):
    """The value before it counts again."""
    file = ReviewFile(run)
    file.add("0", [("label", "b", "a")], "me")
    when = file.add("0", [("label", "c", "a"), ("on", None, "2026-01-01")], "me")
    assert file.latest()["0"]["label"].value == "c"
    file.take_back("0", when)
    assert {field: one.value for field, one in file.latest()["0"].items()} == {"label": "b"}


def test_export_applies_corrections(run, tmp_path):
    """To their fields alone, also where the run had no answer."""
    ReviewFile(run).add("1", [("label", "new", "a"), ("tags", '["y","z"]', '["x"]'), ("on", None, "2026-01-02")], "me")
    ReviewFile(run).add("4", [("label", "b", None)], "me")
    export(FlatRows(ReviewedRows(run), columns=["t", "label", "tags", "on"]), tmp_path / "out.csv")
    lines = [*csv.reader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines())][1:]
    assert lines[0] == ["a", "a", '["x"]', "2026-01-01"]
    assert lines[1] == ["b", "new", '["y", "z"]', ""]
    assert lines[4] == ["e", "b", "", ""]


def test_completions_are_corrected_too(tmp_path):
    """Of a run without fields."""
    run = publish(tmp_path / "run", {"t": ["a", "b"]}, ["A", "B"])
    ReviewFile(run).add("1", [("completion", "better", "B")], "me")
    assert [
        cell for batch in ReviewedRows(run).batches(["completion"]) for cell in batch["completion"].to_pylist()
    ] == ["A", "better"]


def test_what_is_checked_is_gold(run):
    """Rows of which all fields are checked count; a corrected one is wrong."""
    with pytest.raises(OutputError, match="nothing is checked"):
        reviewed_gold([run])
    file = ReviewFile(run)
    for row, label in (("0", "a"), ("1", "b"), ("4", "a")):
        file.add(row, [("label", label, None if row == "4" else "a")], "me")
    settings, rows = reviewed_gold([run])
    found = evaluate(run, settings, rows=rows)
    assert (found.rows, found.without_gold, found.unanswered) == (3, 2, 1)
    assert found.accuracy.value == pytest.approx(1 / 3)
    file.add("2", [("label", "a", "a"), ("tags", '["x"]', '["x"]')], "me")
    settings, rows = reviewed_gold([run])
    found = evaluate(run, settings, rows=rows)
    assert (found.rows, [score.field for score in found.fields]) == (1, ["label", "tags"])


def test_checked_labels_have_their_names(run):
    """A label that was confirmed is not folded into those that are no label, and F1 agrees with the accuracy."""
    for row in ("0", "1"):
        ReviewFile(run).add(row, [("label", "a", "a")], "me")
    ReviewFile(run).add("2", [("label", "b", "a")], "me")
    settings, rows = reviewed_gold([run])
    found = evaluate(run, settings, rows=rows)
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert [(one.label, one.support, one.predicted) for one in found.labels.labels] == [("a", 2, 3), ("b", 1, 0)]
    assert {(cell.gold, cell.predicted): cell.rows for cell in found.labels.confusion} == {("a", "a"): 2, ("b", "a"): 1}


@pytest.mark.parametrize("kind", [GoldRows, ReviewedRows])
def test_only_the_columns_asked_for_are_read(run, kind):
    """In the order in which they were asked for, as of rows without corrections."""
    ReviewFile(run).add("0", [("label", "a", "a")], "me")
    asked = ["t", "parsed"] if kind is ReviewedRows else [gold_name("label"), "t"]
    assert {(*batch.schema.names,) for batch in kind(run).batches(asked)} == {(*asked,)}


def test_what_is_checked_is_gold_where_nothing_else_is(run):
    """The job of this run has no gold; columns that are named come first."""
    with pytest.raises(UsageError, match="batchgen view"):
        gold_of([run], (), False)
    ReviewFile(run).add("0", [("label", "a", "a")], "me")
    settings, rows = gold_of([run], (), False)
    assert evaluate(run, settings, rows=rows).rows == 1
    assert gold_of([run], ("t",), False)[0].gold == "t"
    with pytest.raises(UsageError, match="exclude each other"):
        gold_of([run], ("t",), True)
