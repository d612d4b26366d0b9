"""Parquet: plain types, bad text as a problem of its row, bounded memory."""

import datetime
import json
import subprocess
import sys
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import InputError
from batchgen.prompts.messages import without_nulls
from batchgen.source import Source

DATA = Path(__file__).parent / "data" / "input"


def write(path, table, **options):
    pq.write_table(pa.table(table), path, **options)
    return str(path)


def broken_text(*cells):
    """Return a string array over bytes that need not be UTF-8."""
    return pa.array(cells, pa.binary()).view(pa.string())


def test_types_are_made_plain(tmp_path):
    """Dictionaries, large and view strings come out as strings, nested ones too."""
    large = pa.large_list(pa.struct([("role", pa.large_string()), ("content", pa.string())]))
    table = {
        "d": pa.array(["a", None, "a"]).dictionary_encode(),
        "l": pa.array(["x", "y", "z"], pa.large_string()),
        "v": pa.array(["x", "y", "z"], pa.string_view()),
        "m": pa.array([[{"role": "user", "content": "hi"}], [], None], large),
        "a.b": [1, 2, 3],
    }
    source = Source.open(write(tmp_path / "a.parquet", table))
    plain = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    assert source.schema.types == [pa.string(), pa.string(), pa.string(), plain, pa.int64()]
    (batch,) = source.batches()
    assert batch.table.schema == source.schema
    assert batch.table.to_pydict() == pa.table(table).to_pydict()
    (narrow,) = source.batches(columns=["a.b", "d"])
    assert narrow.table.to_pydict() == {"a.b": [1, 2, 3], "d": ["a", None, "a"]}


@pytest.mark.parametrize("dictionary", [True, False])
def test_bad_text_costs_its_row(tmp_path, dictionary):
    """Text that is not UTF-8, nested text too, is a problem of its row with column and byte."""
    nested = pa.ListArray.from_arrays([0, 1, 2, 3, 3], broken_text(b"a", b"b", b"\xff"))
    table = {"body": broken_text(b"ok", b"caf\xe9", None, b"end"), "tags": nested, "n": [1, 2, 3, 4]}
    source = Source.open(write(tmp_path / "a.parquet", table, use_dictionary=dictionary))
    assert source.scan().rows == 4
    (batch,) = source.batches()
    assert sorted(batch.problems) == [1, 2]
    assert 'a.parquet, row 1 (counted from 0), column "body": byte 3' in batch.problems[1]
    assert 'column "tags"' in batch.problems[2]
    assert batch.table.to_pydict() == {
        "body": ["ok", "caf\ufffd", None, "end"],
        "tags": [["a"], ["b"], None, []],
        "n": [1, 2, 3, 4],
    }


def test_extension_types(tmp_path):
    """UUIDs and JSON are text, 8-bit booleans booleans; what nobody knows is carried and not asked."""
    one = uuid.UUID(int=5)
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([2, None], pa.int8()))
    texts = pa.array(['{"a": 1}', None], pa.json_())
    table = pa.table({"u": pa.array([one.bytes, None], pa.uuid()), "j": texts, "b": flags})
    table = table.append_column(
        pa.field("x", pa.int64(), metadata={"ARROW:extension:name": "nobody.knows"}), pa.array([1, 2])
    )
    source = Source.open(write(tmp_path / "a.parquet", table))
    (batch,) = source.batches()
    assert batch.values(source.columns) == [
        {"u": str(one), "j": '{"a": 1}', "b": True, "x": 1},
        {"u": None, "j": None, "b": None, "x": 2},
    ]
    source.check_readable(["u", "j", "b"])
    with pytest.raises(InputError, match=r'column "x" .* nobody\.knows'):
        source.check_readable(["x"])


def test_damage(tmp_path):
    """No Parquet at all, a cut file and a damaged page are sentences."""
    with pytest.raises(InputError, match="not a Parquet file"):
        Source.open(str(DATA / "text.parquet"))
    whole = Path(write(tmp_path / "a.parquet", {"x": [str(i) for i in range(20_000)]})).read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"cut\.parquet is not a readable Parquet file"):
        Source.open(str(cut))
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(whole[:4] + b"\xff" * 2000 + whole[2004:])
    with pytest.raises(InputError, match=r"damaged\.parquet is damaged"):
        Source.open(str(damaged)).scan()


def test_files_have_to_agree(tmp_path):
    """A file with another type is named; another order of columns or writer's type is not a difference."""
    write(tmp_path / "part-2.parquet", {"a": [1], "b": ["x"]})
    write(tmp_path / "part-10.parquet", {"b": pa.array(["y"], pa.large_string()), "a": [2]})
    source = Source.open(str(tmp_path))
    assert [row for batch in source.batches() for row in batch.table.to_pylist()] == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    write(tmp_path / "part-11.parquet", {"a": ["one"], "b": ["x"]})
    with pytest.raises(
        InputError, match=r'part-11\.parquet has string in column "a" instead of int64, unlike .*part-2'
    ):
        Source.open(str(tmp_path))


def test_nanoseconds_become_python_times(tmp_path):
    """Nanoseconds, which Python cannot hold, are cut for rendering and kept in the table."""
    kind = pa.timestamp("ns", "UTC")
    source = Source.open(write(tmp_path / "a.parquet", {"t": pa.array([1_000_000_001], kind)}))
    (batch,) = source.batches()
    assert batch.table.schema.field("t").type == kind
    assert batch.values(["t"])[0]["t"] == datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)
    assert batch.values([]) == [{}]


@pytest.mark.parametrize(("nested", "store_schema"), [(False, True), (True, True), (False, False)])
def test_a_parquet_bomb_stays_small(tmp_path, nested, store_schema):
    """A small file of 100,000 times the same megabyte is read in batches of 16 MB, whatever type the file says."""
    indices = pa.array([0] * 10 + [1] * 99_990, pa.int32())
    texts = pa.DictionaryArray.from_arrays(indices, pa.array(["short", "x" * 1_000_000]))
    nested = pa.ListArray.from_arrays(range(100_001), texts) if nested else texts
    table = {"x": nested, "n": range(100_000)}
    path = write(tmp_path / "a.parquet", table, dictionary_pagesize_limit=8 << 20, store_schema=store_schema)
    assert Path(path).stat().st_size < 1_000_000
    batches = Source.open(path).batches()
    found = [next(batches) for _ in range(3)]
    assert [batch.first_row for batch in found][1] == found[0].table.num_rows
    assert all(batch.table.num_rows >= 10 and batch.table.nbytes <= 16 << 20 for batch in found)
    assert all(batch.table.get_total_buffer_size() <= 32 << 20 for batch in found)  # slices keep no more alive
    assert len(str(found[2].table.column("x")[0])) >= 1_000_000


def test_large_cells_are_bounded(tmp_path):
    """Unique cells of 300 KB come in batches of about 16 MB."""
    path = write(tmp_path / "a.parquet", {"x": [f"{i:06}" * 50_000 for i in range(200)]})
    assert max(batch.table.nbytes for batch in Source.open(path).batches()) < 20 << 20


PEAK = """
import json, sys
from batchgen.source import Source
source = Source.open(sys.argv[1], id_column="id")
rows = source.scan().rows
for batch in source.batches():
    pass
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([rows, int(peak.split()[1])]))
"""


def peak_kb(path):
    """Return rows and peak memory of a process that scans and reads the input (ru_maxrss would be the parent's)."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, check=True, cwd=Path.cwd())
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_memory_does_not_grow_with_rows(tmp_path, form):
    """Four times the rows (400,000 of 500 bytes, one row group) cost the ids' 8 bytes a row, and little else."""
    peaks = []
    for rows in (100_000, 400_000):
        path = tmp_path / f"{rows}.{form}"
        body = "lorem ipsum dolor sit amet " * 18
        if form == "parquet":
            table = {"id": [str(i) for i in range(rows)], "body": [f"{i} {body}" for i in range(rows)]}
            write(path, table, row_group_size=rows)
        else:
            line = '{{"id": "{0}", "body": "{0} {1}"}}\n' if form == "jsonl" else "{0},{0} {1}\n"
            with path.open("w") as stream:
                stream.write("" if form == "jsonl" else "id,body\n")
                stream.writelines(line.format(i, body) for i in range(rows))
        found, peak = peak_kb(path)
        assert found == rows
        peaks.append(peak)
    assert peaks[1] < 300_000
    assert peaks[1] - peaks[0] < 50_000


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([None, None], pa.null()), pa.array(["x", None])),
        (pa.array([1, None]), pa.array([1.5, None])),
        (pa.array([1, None], pa.int8()), pa.array([70000, None], pa.int32())),
        (pa.array([{"a": 1, "b": "x"}]), pa.array([{"b": "y", "a": 2}])),
        (pa.array([{"a": 1}]), pa.array([{"a": 2, "b": "y"}])),
        (pa.array([[], None], pa.list_(pa.null())), pa.array([["x"], None])),
        (pa.array([1], pa.timestamp("us")), pa.array([1001], pa.timestamp("ns"))),
        (pa.array([1], pa.decimal128(10, 2)), pa.array([1], pa.decimal128(12, 4))),
    ],
)
def test_parts_of_different_types(tmp_path, first, second):
    """Parts that differ as writers make them differ come back with every value, whichever is the first."""
    for number, pair in enumerate([(first, second), (second, first)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for place, column in enumerate(pair):
            write(folder / f"part-{place}.parquet", {"x": column})
        found = [value for batch in Source.open(str(folder)).batches() for value in batch.table.column("x").to_pylist()]
        given = [value for column in pair for value in column.to_pylist()]
        assert [without_nulls(value) for value in found] == [without_nulls(value) for value in given]


def test_numbers_that_do_not_fit_together(tmp_path):
    """A whole number that the other parts' type cannot hold is told, not rounded."""
    write(tmp_path / "part-0.parquet", {"x": [2**53 + 1]})
    write(tmp_path / "part-1.parquet", {"x": [0.5]})
    with pytest.raises(InputError, match=r'part-0\.parquet: column "x" does not fit'):
        Source.open(str(tmp_path)).scan()


def test_nested_views_and_dictionaries_are_made_plain(tmp_path):
    """In lists of fixed size and in maps too."""
    views = pa.array([["x"], ["y"]], pa.list_(pa.string_view()))
    words = pa.array(["x", "y", "x", "y"]).dictionary_encode()
    table = {
        "views": views,
        "fixed": pa.FixedSizeListArray.from_arrays(words, 2),
        "map": pa.MapArray.from_arrays([0, 1, 2], pa.array(["k", "l"], pa.large_string()), words.slice(0, 2)),
    }
    (batch,) = Source.open(write(tmp_path / "a.parquet", table)).batches()
    assert batch.table.schema.types == [
        pa.list_(pa.string()),
        pa.list_(pa.string(), 2),
        pa.map_(pa.string(), pa.string()),
    ]
    assert batch.values(["views", "fixed", "map"]) == [
        {"views": ["x"], "fixed": ["x", "y"], "map": {"k": "x"}},
        {"views": ["y"], "fixed": ["x", "y"], "map": {"l": "y"}},
    ]


def test_a_value_outside_its_type_costs_its_row(tmp_path):
    """A time of 24 hours, as a broken writer stores it."""
    path = write(tmp_path / "a.parquet", {"t": pa.array([0, 86_400_000_000], pa.int64()).view(pa.time64("us"))})
    (batch,) = Source.open(path).batches()
    assert list(batch.problems) == [1]
    assert "its type does not allow its value" in batch.problems[1]


def test_rows_that_a_file_promises_and_does_not_hold_are_missed(tmp_path):
    """pyarrow writes no page for a single null list in pages of one byte, and reads no row back."""
    path = write(tmp_path / "a.parquet", {"x": pa.array([None], pa.list_(pa.int64()))}, data_page_size=1)
    if pq.read_table(path).num_rows:
        pytest.skip("this pyarrow writes it rightly")
    with pytest.raises(InputError, match="should have 1 row, and 0 can be read"):
        Source.open(path).scan()
