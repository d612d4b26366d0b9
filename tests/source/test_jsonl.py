"""JSONL: types decided from all lines, bad lines named, bad text a problem of its row."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from batchgen.errors import InputError
from batchgen.source import Source, jsonl

DATA = Path(__file__).parent / "data" / "input"


def write(path, *objects):
    path.write_text("".join(json.dumps(value) + "\n" for value in objects))
    return str(path)


def rows(path, **options):
    return [row for batch in Source.open(str(path), **options).batches() for row in batch.table.to_pylist()]


def test_types():
    """Numbers widen, mixed values become JSON text, nested values structs and lists, missing keys null."""
    source = Source.open(str(DATA / "types.jsonl"))
    assert source.schema == pa.schema(
        [
            ("id", pa.int64()),
            ("n", pa.float64()),
            ("mixed", pa.string()),
            ("tags", pa.list_(pa.string())),
            ("meta", pa.struct([("k", pa.int64()), ("l", pa.string())])),
            ("late", pa.bool_()),
        ]
    )
    assert rows(DATA / "types.jsonl") == [
        {"id": 1, "n": 1.0, "mixed": "a", "tags": ["x"], "meta": {"k": 1, "l": None}, "late": None},
        {"id": 2, "n": 2.5, "mixed": '{"b":[1,null]}', "tags": [], "meta": {"k": None, "l": "你"}, "late": None},
        {"id": 3, "n": None, "mixed": "7", "tags": None, "meta": None, "late": True},
    ]


def test_numbers_lose_nothing():
    """Whole numbers that int64 or float64 could not hold make the column text."""
    assert rows(DATA / "big_numbers.jsonl") == [
        {"a": "1", "b": "9007199254740993"},
        {"a": "99999999999999999999", "b": "0.5"},
    ]


def test_nested_values_that_disagree(tmp_path):
    """Content that is text here and a list of parts there makes the whole column JSON text, without loss."""
    first = [{"role": "user", "content": "hi"}]
    second = [{"role": "user", "content": [{"type": "text", "text": "é"}]}]
    path = write(tmp_path / "a.jsonl", {"m": first, "o": {}}, {"m": second, "o": {}})
    assert [json.loads(row["m"]) for row in rows(path)] == [first, second]
    assert rows(path)[0]["o"] == "{}"


def test_a_late_type_change(tmp_path):
    """The last of many lines still widens a column of the first batch."""
    path = write(tmp_path / "a.jsonl", *({"x": 1} for _ in range(5000)), {"x": "one"})
    found = rows(path)
    assert (found[0], found[-1]) == ({"x": "1"}, {"x": "one"})


def test_bad_text_costs_its_row():
    """Bytes that are not UTF-8 and lone surrogates are problems of their rows; whole pairs are text."""
    (batch,) = Source.open(str(DATA / "bad_bytes.jsonl")).batches()
    assert sorted(batch.problems) == [1, 2]
    assert "line 2 (row 1, counted from 0): byte 22" in batch.problems[1]
    assert "surrogate" in batch.problems[2]
    assert batch.table.column("body").to_pylist() == ["ok", "caf\ufffd", "half \ufffd", "whole 😀"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bad_line.jsonl", ["line 2", "row 1"]),
        ("nan.jsonl", ["line 1"]),
        ("not_object.jsonl", ["line 2", "object"]),
        ("list.json", ["one JSON list", "jq -c '.[]'"]),
        ("pretty.json", ["line 1", "jq -c ."]),
        ("blank.jsonl", ["no columns"]),
    ],
)
def test_faults(name, parts):
    """A line that is no JSON object is named, with the fix."""
    with pytest.raises(InputError) as caught:
        Source.open(str(DATA / name)).scan()
    for part in [name, *parts]:
        assert part in str(caught.value)


def test_a_line_without_an_end(tmp_path, monkeypatch):
    """A file that is one endless line is refused before it fills the memory."""
    monkeypatch.setattr(jsonl, "CELL_CAP", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": "' + "x" * 2000 + '"}\n')
    with pytest.raises(InputError, match="line 2: longer than 1000 bytes"):
        Source.open(str(path))


def test_deep_nesting(tmp_path):
    """A hundred thousand brackets are a bad line, not a crash."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    with pytest.raises(InputError, match="line 1"):
        Source.open(str(path))


def test_limit_bounds_the_typing(tmp_path):
    """With a limit, lines beyond it are not even looked at."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\nnot json\n')
    source = Source.open(str(path), limit=2)
    assert (source.scan().rows, source.schema) == (2, pa.schema([("a", pa.int64())]))
    assert rows(path, limit=2) == [{"a": 1}, {"a": 2}]
