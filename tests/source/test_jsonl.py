"""JSONL: types decided from all lines, bad lines named, bad text a problem of its row."""

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import InputError
from batchgen.source import Reading, Source, jsonl

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
    lambda objects: "\n \n" + json.dumps(objects, indent=1),
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


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}{"a": 2} {"a": 3}',
        '\n\n{\n  "a": 1\n}\n{"a": 2}\n{"a": 3}\n',
        '{\n  "a": 1\n}\n{\n  "a": 2\n}\n\n{"a": 3}\n',
        '{"a": 1}\r{"a": 2}\r{"a": 3}\r',
        '{"a": 1},\n{"a": 2},\n{"a": 3},\n',
        '\ufeff{"a": 1}\n\ufeff{"a": 2}\n\ufeff{"a": 3}\n',
        '\x1e{"a": 1}\n\x1e{"a": 2}\n\x1e{"a": 3}\n',
        '[{"a": 1},\n{"a": 2},\n{"a": 3},]',
    ],
)
def test_objects_however_they_stand(tmp_path, text):
    """Joined, spread over lines, with commas or marks between them: each is one row."""
    path = tmp_path / "a.jsonl"
    path.write_text(text, "utf-8", newline="")
    assert [row["a"] for batch in Source.open(str(path)).batches() for row in batch.values(["a"])] == [1, 2, 3]


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON_VALUES, min_size=1), min_size=1, max_size=8), st.data())
def test_any_objects_in_any_layout_are_the_rows(rows, data):
    """What Python's json writes with any indent, one after another, is what is read."""
    gap = data.draw(st.sampled_from(["", " ", "\n", "\n\n"]))
    indent = data.draw(st.sampled_from([None, 0, 2]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_text(gap.join(json.dumps(row, indent=indent) for row in rows), "utf-8")
        source = Source.open(str(path))
        found = [dict(row) for batch in source.batches() for row in batch.values(source.columns)]
    assert found == [{name: row.get(name) for name in source.columns} for row in rows]


def test_a_fault_in_the_middle_of_joined_objects_is_named(tmp_path):
    """With line and object."""
    path = tmp_path / "a.jsonl"
    for blank in (0, 2):
        path.write_text("\n" * blank + '{"a":\n1}\n{"a": 2}\n{"a": oops}\n')
        with pytest.raises(InputError, match=rf"a\.jsonl, line {4 + blank}, object 2 \(counted from 0\)"):
            Source.open(str(path))


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"q": [{"a": 1, "b": 0, "a": "2"}]}', '{"a" : "{\\"x\\":1}", "a":1}']
)
def test_a_key_that_stands_twice_costs_its_row(tmp_path, text):
    """One of the two values would be lost; the same value twice loses nothing, and keys inside a text are text."""
    path = tmp_path / "a.jsonl"
    path.write_text(f'{text}\n{{"a": 1, "a": 1}}\n{{"a": "\\"a\\":1, \\"a\\":2"}}\n')
    (batch,) = Source.open(str(path)).batches()
    assert list(batch.problems) == [0]
    assert "stands twice" in batch.problems[0]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"data": [{"a": 1}, {"a": 2}], "count": 2}, ["jq -c '.data[]'", ".jsonl"]),
        ({"a": [1, 2], "b": [3, 4]}, ["column by column"]),
        ({"text": {"0": "a", "1": "b"}}, ["column by column"]),
        ({"x1": {"text": "a"}, "x2": {"text": "b"}}, ["column by column"]),
        ({"schema": {"fields": []}, "data": [{"index": 0}]}, ["whole table"]),
    ],
)
def test_a_whole_table_in_one_object_is_no_row(tmp_path, table, words):
    """As a `.json` file; a line of a `.jsonl` file, or a conversation, is one row."""
    (tmp_path / "a.json").write_text(json.dumps(table))
    with pytest.raises(InputError) as caught:
        Source.open(str(tmp_path / "a.json"))
    assert all(word in str(caught.value) for word in ["a.json", *words])
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (tmp_path / "b.json").write_text(json.dumps(chat))
    assert Source.open(str(tmp_path / "b.json")).scan().rows == 1


def test_lists_nested_deeply_become_text(tmp_path):
    """Arrow's types, and what walks them, are bounded; the prompt sees the value itself."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": ' + "[" * 400 + "]" * 400 + "}\n")
    (batch,) = Source.open(str(path)).batches()
    assert batch.table.schema.field("a").type == pa.string()
    (row,) = batch.values(["a"])
    assert json.dumps(row["a"]) == "[" * 400 + "]" * 400


def test_a_file_in_another_encoding_is_refused(tmp_path):
    """Each of its rows would fail; the message has the key, with which it is read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"a": "中文内容很好"}\n{"a": "产品不错"}\n'.encode("gbk"))
    with pytest.raises(InputError, match="encoding"):
        Source.open(str(path))
    (batch,) = Source.open(str(path), reading=Reading(encoding="gbk")).batches()
    assert [row["a"] for row in batch.values(["a"])] == ["中文内容很好", "产品不错"]
