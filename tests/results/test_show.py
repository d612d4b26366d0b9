"""What `show` shows of a row, and which rows it takes."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import OutputError, UsageError
from batchgen.results.export import export
from batchgen.results.flat import FlatRows
from batchgen.results.rows import ResultRows, directories_of
from batchgen.results.select import Selection, select_rows
from batchgen.results.show import RowViewer
from tests.evaluation.publishing import publish


def texts(directory, **wanted):
    """Return the completions of the selected rows."""
    rows, _ = select_rows(ResultRows(directory), Selection(**wanted))
    return [row.batch.column("completion")[0].as_py() for row in rows]


@pytest.fixture
def run(tmp_path):
    """Seven rows in three parts, two of them failed."""
    return publish(tmp_path / "run", {"t": list("abcdefg")}, list("ABCDEFG"), failed=(2, 5))


def test_rows_are_chosen(run):
    """The latest; those that failed or fit; by id, all of them; at random the same again with a seed."""
    assert texts(run) == list("EFG")
    assert texts(run, most=100) == list("ABCDEFG")
    assert texts(run, failed=True, most=1) == ["F"]
    assert texts(run, where="t != g and status = succeeded", most=2) == ["D", "E"]
    assert texts(run, ids=["6", "0"]) == ["A", "G"]
    drawn = [tuple(texts(run, at_random=True, most=3, seed=seed)) for seed in range(30)]
    assert all(list(rows) == sorted({*rows}) and len(rows) == 3 for rows in drawn)
    assert len({*drawn}) > 5
    assert {*"ABCDEFG"} == {letter for rows in drawn for letter in rows}
    assert texts(run, at_random=True, most=3, seed=4) == list(drawn[4])
    with pytest.raises(UsageError, match="no answered row has the id '9'"):
        texts(run, ids=["0", "9"])


def test_several_runs_are_read_as_one(tmp_path, run):
    """By name and glob; a column that one lacks is empty there, and numbers beside text are text."""
    publish(tmp_path / "more", {"t": [1, 2], "u": [0.5, 1.5]}, ["x", "y"])
    assert [path.name for path in directories_of(tmp_path / "m*", run, str(tmp_path / "r?n"))] == ["more", "run"]
    rows = ResultRows(str(tmp_path / "*"))
    assert rows.rows == 9
    assert [value for batch in rows.batches(["t"]) for value in batch.column(0).to_pylist()] == ["1", "2", *"abcdefg"]
    assert [value for batch in rows.batches(["u"]) for value in batch.column(0).to_pylist()] == [0.5, 1.5, *[None] * 7]
    with pytest.raises(OutputError, match="no such directory"):
        ResultRows(str(tmp_path / "none*"))
    with pytest.raises(OutputError, match="no row is answered there yet"):
        ResultRows(tmp_path / "none")


def test_text_is_safe_on_a_terminal_and_cannot_pass_for_ours(tmp_path):
    """Nothing in answers or columns drives the terminal; each of their lines is indented, long texts are cut."""
    evil = "\x1b[2J\x1b]0;owned\x07one\n── row 1 (succeeded) ──\r\nanswer\u202e\x9b31m"
    run = publish(tmp_path / "run", {"t": [evil], "long": ["z" * 5_000]}, [evil])
    [row], _ = select_rows(ResultRows(run), Selection())
    text = RowViewer().as_text(row)
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & {*text}
    assert [line for line in text.splitlines() if line.startswith(("──", "answer"))] == [
        f"── row 0 (succeeded) in {run} ──",
        "answer",
    ]
    assert "z" * 2_000 + "… (3,000 more letters: --full)" in text
    assert "z" * 5_000 in RowViewer(whole=True).as_text(row)
    assert json.loads(RowViewer().as_json(row))["completion"] == evil


def test_a_row_as_json_is_that_of_an_export(tmp_path):
    """Times and bytes are written the same."""
    run = publish(tmp_path / "run", {"at": [datetime(2026, 11, 29, tzinfo=UTC)], "raw": [b"\xff"]}, ["true"])
    [row], _ = select_rows(ResultRows(run), Selection())
    export(FlatRows(ResultRows(run)), tmp_path / "rows.jsonl")
    exported = json.loads((tmp_path / "rows.jsonl").read_bytes())
    shown = json.loads(RowViewer().as_json(row))
    assert {name: shown[name] for name in ("at", "raw")} == {name: exported[name] for name in ("at", "raw")}
    assert shown["at"] == "2026-11-29T00:00:00Z"


def test_names_and_ids_stay_on_their_line(tmp_path):
    """The name of a column and the id of a row are foreign text too."""
    evil = "1\nanswer\n  made up"
    run = publish(tmp_path / "run", {"key": [evil], evil: ["x"]}, ["true"], id_column="key")
    [row], _ = select_rows(ResultRows(run), Selection())
    lines = RowViewer().as_text(row).splitlines()
    assert lines[0] == f"── row 1 answer   made up (succeeded) in {run} ──"
    assert lines.count("answer") == 1
    assert "  made up" not in lines


def test_a_foreign_table_is_no_results(tmp_path):
    """Parquet files of somebody else's, and a file, are refused by name."""
    (tmp_path / "results").mkdir()
    pq.write_table(pa.table({"row_id": ["1"]}), tmp_path / "results" / "part-00000.parquet")
    with pytest.raises(OutputError, match=r"no results of batchgen: it has no column 'status'"):
        ResultRows(tmp_path)
    with pytest.raises(OutputError, match="it is a file"):
        ResultRows(tmp_path / "results" / "part-00000.parquet")


def test_all_answers_of_a_row_are_shown_where_one_is_asked_for(tmp_path):
    """Each with its vote, its label and why it was not taken; in a list of rows it is only said that they are there."""
    turns = [
        {"answer": "blue\x1b[2J", "vote": 1, "problem": "none of the labels", "latency_ms": 1200.0, "input_tokens": 7},
        {"answer": "red", "vote": 1, "label": "red", "reasoning": "hm", "finish_reason": "length"},
        {"tool_calls": "[1]", "vote": 2, "label": "red"},
    ]
    kind = pa.struct([("label", pa.string())])
    run = publish(tmp_path / "run", {"t": ["a"]}, ["red"], (kind, [{"label": "red"}]), turns=[json.dumps(turns)])
    [row], _ = select_rows(ResultRows(run), Selection())
    text = RowViewer(whole=True).as_text(row)
    expected = """answer 1 of 3, vote 1, 7 input tokens, 1.2 s
  blue[2J
answer 1 of 3: why it was not taken
  none of the labels
answer 2 of 3: thinking
  hm
answer 2 of 3, vote 1, label red, ended by length
  red
answer 3 of 3, vote 2, label red
  [1]
"""
    assert expected in text
    listed = RowViewer().as_text(row)
    assert "blue" not in listed
    assert "several answers: --full shows them all" in listed
    assert "answer_turns" not in text
    assert FlatRows(ResultRows(run)).schema.names.count("answer_turns") == 0
    assert FlatRows(ResultRows(run), columns=["answer_turns"]).schema.names == ["answer_turns"]
