"""JSONL: types decided from all lines, bad lines named, bad text a problem of its row."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import InputError
from batchgen.source import Source, jsonl

DATA = Path(__file__).parent / "data" / "input"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)


def write(path, *objects):
    path.write_text("".join(json.dumps(value) + "\n" for value in objects))
    return str(path)


def rows(path, **options):
    """Return the rows as results carry them."""
    source = Source.open(str(path), **options)
    return [row for batch in source.batches() for row in batch.table.select(source.columns).to_pylist()]


def values(path):
    """Return the rows as prompts see them."""
    source = Source.open(str(path))
    source.scan()
    return [row for batch in source.batches() for row in batch.values(source.columns)]


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
        ("not_object.jsonl", ["line 2", "object"]),
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


@pytest.mark.parametrize(
    "objects",
    [
        [{"m": {"a": 1}}, {"m": {"b": 2}}, {"m": {}}],
        [{"m": [{"a": {"x": None}}]}, {"m": [{"a": {"y": 1}}, {"b": "t"}]}],
        [{"m": 1}, {"m": 2.5}, {"m": "two"}, {"m": [1]}],
        [{"m": {f"key {number}": number}} for number in range(300)],
        [{"m": {"n": 10}}, {"m": {"n": 2.5}}],
        [{"m": 99999999999999999999}, {"m": 1}],
    ],
)
def test_own_values(tmp_path, objects):
    """Prompts see what the row's own object holds: no key of others, written nulls, numbers as written."""
    found = values(write(tmp_path / "a.jsonl", *objects))
    assert json.dumps(found) == json.dumps(objects)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), JSON_VALUES, min_size=1), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_objects(tmp_path_factory, objects):
    """Whatever the objects hold, each row comes back as it was; a key that it lacks is null at the top only."""
    path = write(tmp_path_factory.mktemp("any") / "a.jsonl", *objects)
    columns = list(dict.fromkeys(key for row in objects for key in row))
    assert values(path) == [{name: row.get(name) for name in columns} for row in objects]


def test_numbers_that_python_writes(tmp_path):
    """NaN and Infinity are read; for prompts NaN is null, and whole numbers with gaps are whole numbers."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": NaN, "n": 1042.0}\n{"x": 0.5, "n": NaN}\n{"x": -Infinity, "n": 7.0}\n{"x": 1}\n')
    assert values(path) == [
        {"x": None, "n": 1042},
        {"x": 0.5, "n": None},
        {"x": None, "n": 7},
        {"x": 1, "n": None},
    ]
    assert repr(values(path)[0]["n"]) == "1042"


LAYOUTS = [
    json.dumps,
    lambda objects: json.dumps(objects, indent=2, ensure_ascii=False),
    lambda objects: "\ufeff[\n" + ",\n".join(map(json.dumps, objects)) + "\n]\n",
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_lists(tmp_path, monkeypatch, layout, size):
    """One list of objects is read whichever way it is laid out, and however the pieces that are read cut it."""
    monkeypatch.setattr(jsonl, "_LIST_BYTES", size)
    objects = [{"id": number, "text": f'é "[{number}]", \n}}', "m": {"a": [1, {"b": None}]}} for number in range(50)]
    path = tmp_path / "a.json"
    path.write_text(layout(objects), encoding="utf-8")
    assert values(path) == objects


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[{"id": 1}, {"id": 2}', "member 2"),
        ('[{"id": 1}, {"id": ', "member 1"),
        ('[{"id": 1}] [{"id": 2}]', "follows the end"),
        ('[{"id": 1}, 5]', "row 1"),
        ("[]", "no columns"),
        ('{"text": {"0": "x", "1": "y"}, "n": {"0": 1, "1": null}}', "lines=True"),
        ('{"columns": ["text"], "index": [0], "data": [["x"]]}', "lines=True"),
    ],
)
def test_no_lists_of_objects(tmp_path, text, part):
    """What is no list of objects is refused, with the place."""
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=part):
        Source.open(str(path)).scan()
