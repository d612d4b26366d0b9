"""The source over all formats: finding files, resume, limit, ids, fingerprint."""

import gzip
import json
import os
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import InputError
from batchgen.source import KEPT_BYTES, Reading, Source
from batchgen.source.files import natural_key
from batchgen.source.ids import IdCheck

DATA = Path(__file__).parent / "data" / "input"
ROWS = 2500


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The same 2,500 rows in every format, Parquet also as three files with small row groups."""
    folder = tmp_path_factory.mktemp("tables")
    ids = [f"id-{i}" for i in range(ROWS)]
    (folder / "a.csv").write_text("id,body\n" + "".join(f'{i},"text\n{i}"\n' for i in ids))
    (folder / "a.tsv.gz").write_bytes(
        gzip.compress(("id\tbody\n" + "".join(f'{i}\t"text\n{i}"\n' for i in ids)).encode())
    )
    (folder / "a.jsonl").write_text("".join(json.dumps({"id": i, "body": f"text\n{i}"}) + "\n" for i in ids))
    table = pa.table({"id": ids, "body": [f"text\n{i}" for i in ids]})
    pq.write_table(table, folder / "a.parquet", row_group_size=300)
    for extension, write in (("parquet", pq.write_table), ("csv", write_csv)):
        parts = folder / f"parts-{extension}"
        parts.mkdir()
        for number, (start, stop) in enumerate([(0, 700), (700, 701), (701, ROWS)], 8):
            write(table.slice(start, stop - start), parts / f"part-{number}.{extension}")
        (parts / "_SUCCESS").touch()
    return folder


def write_csv(table, path):
    path.write_text("id,body\n" + "".join(f'{row["id"]},"{row["body"]}"\n' for row in table.to_pylist()))


def read(source, start_row=0, columns=None):
    """Return all rows from `start_row` on, checking that the batches follow one another."""
    found = []
    for batch in source.batches(start_row, columns):
        assert batch.first_row == start_row + len(found)
        assert batch.table.num_rows
        found += batch.table.to_pylist()
    return found


FORMS = ["a.csv", "a.tsv.gz", "a.jsonl", "a.parquet", "parts-parquet", "parts-csv", "parts-*/*.csv"]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_resume_is_a_slice(tables, form, data):
    """Reading from a row on gives what a slice of the whole gives, scanned or not, under any limit."""
    limit = data.draw(st.none() | st.integers(1, ROWS + 10))
    start = data.draw(st.sampled_from([0, 299, 300, 699, 700, 701, 1999, 2000, ROWS]) | st.integers(0, ROWS + 10))
    source = Source.open(str(tables / form), id_column="id", limit=limit)
    if data.draw(st.booleans()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("batchgen.source.KEPT_BYTES", data.draw(st.sampled_from([0, 30_000, KEPT_BYTES])))
            assert source.scan().rows == min(ROWS, limit or ROWS)
    whole = [{"id": f"id-{i}", "body": f"text\nid-{i}"} for i in range(ROWS)][:limit]
    assert read(source, start) == whole[start:]


@pytest.mark.parametrize("form", ["a.csv", "a.parquet", "parts-parquet"])
def test_a_small_input_is_decoded_once(tables, form, monkeypatch):
    """After a scan the rows of a small input come from memory, those of a large one from the files again."""
    small, large = Source.open(str(tables / form)), Source.open(str(tables / form))
    small.scan()
    monkeypatch.setattr("batchgen.source.KEPT_BYTES", 30_000)
    large.scan()
    reads = []
    for source in (small, large):
        decode = source._reader.read
        monkeypatch.setattr(source._reader, "read", lambda *args, decode=decode: reads.append(1) or decode(*args))
    rows = [row["body"] for row in read(small)]
    assert read(small, 800, ["body"]) == [{"body": text} for text in rows[800:]]
    assert not reads
    assert [row["body"] for row in read(large)] == rows
    assert reads


def test_what_is_wrong_with_kept_rows(tmp_path):
    """A row that cannot be read is named with its number, from memory too."""
    texts = pa.array([b"a", b"b", b"c\xff", b"d"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    source = Source.open(str(tmp_path / "a.parquet"))
    source.scan()
    assert [list(batch.problems) for batch in source.batches(1)] == [[2]]
    assert [list(batch.problems) for batch in source.batches(3)] == [[]]


@pytest.mark.parametrize("form", FORMS)
def test_columns_and_ids(tables, form):
    """Only the wanted columns are read, the id always; without one the row number is the id."""
    source = Source.open(str(tables / form), id_column="id")
    batch = next(source.batches(700, columns=["body"]))
    assert batch.table.schema.names == ["body", "id"]
    assert source.row_ids(batch)[0].as_py() == "id-700"
    source = Source.open(str(tables / form))
    assert source.row_ids(next(source.batches(700, columns=["body"])))[0].as_py() == "700"


def test_files_in_natural_order(tables):
    """part-9 is read before part-10, and names that begin with an underscore are left out."""
    assert [file.name for file in Source.open(str(tables / "parts-csv")).scan().files] == [
        "part-8.csv",
        "part-9.csv",
        "part-10.csv",
    ]
    assert sorted(["b10", "b9", "a", "b"], key=natural_key) == ["a", "b", "b9", "b10"]


def test_fingerprint(tables, tmp_path):
    """The fingerprint is that of content and limit, wherever the files lie and whatever they are called."""

    def fingerprint(path, **options):
        return Source.open(str(path), **options).scan().fingerprint

    copy = tmp_path / "a.csv"
    copy.write_bytes((tables / "a.csv").read_bytes())
    first = fingerprint(tables / "a.csv")
    assert fingerprint(copy) == first
    assert fingerprint(copy.rename(copy.with_name("b.csv"))) == first
    copy = copy.with_name("b.csv")
    assert fingerprint(copy, limit=5) != first
    copy.write_bytes(copy.read_bytes().replace(b'id-2499"', b'id-249X"'))
    assert fingerprint(copy) != first


def test_a_file_changed_meanwhile(tmp_path):
    """A file that changes between scan and reading is noticed."""
    path = tmp_path / "a.csv"
    path.write_text("id\n1\n")
    source = Source.open(str(path))
    source.scan()
    path.write_text("id\n1\n2\n")
    with pytest.raises(InputError, match="was changed while"):
        read(source)
    path.unlink()
    with pytest.raises(InputError, match="is not now"):
        read(source)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nowhere.csv", ["nowhere.csv does not exist"]),
        ("*.nothing", ["No file matches the glob"]),
        ("book.ods", ["is not read", ".ods", "save the sheet as .xlsx"]),
        ("mails.PST", ["`batchgen mail`"]),
        ("table.sav", ["Parquet"]),
        ("book.xyz", ['not known by its extension ".xyz"', ".parquet"]),
        ("empty", ["holds no input file"]),
        ("mixed", ["mixes CSV (a.csv) and JSONL (b.jsonl)"]),
        ("pipe.csv", ["not a regular file"]),
    ],
)
def test_no_usable_files(tmp_path, name, parts):
    """A path that means no usable file is one sentence."""
    for book in ("book.ods", "mails.PST", "table.sav", "book.xyz"):
        (tmp_path / book).write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    (tmp_path / "empty" / "metadata.json").write_text("{}")
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.csv").write_text("id\n1\n")
    (tmp_path / "mixed" / "b.jsonl").write_text('{"id": 1}\n')
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError) as caught:
        Source.open(str(tmp_path / name))
    for part in parts:
        assert part in str(caught.value)


def test_permissions(tmp_path):
    """A file that may not be read is one sentence."""
    path = tmp_path / "a.csv"
    path.write_text("id\n1\n")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read anything: be somebody else for a moment
        os.seteuid(65534)
    try:
        with pytest.raises(InputError, match="may not be read"):
            Source.open(str(path))
    finally:
        os.seteuid(user)


def test_missing_id_column():
    """A missing id column names the nearest one and all there are."""
    with pytest.raises(InputError, match=r'no column "ids" .*did you mean "id"\? The columns are "id", "body"'):
        Source.open(str(DATA / "duplicate_ids.csv"), id_column="ids")
    with pytest.raises(InputError, match="an id is a text or a number"):
        Source.open(str(DATA / "types.jsonl"), id_column="tags")


def test_duplicate_ids():
    """A repeated id is named with its rows; within the limit it may be fine."""
    with pytest.raises(
        InputError, match=r'has "a" more than once, in row 0, row 2 and row 4 \(rows are counted from 0\)'
    ):
        Source.open(str(DATA / "duplicate_ids.csv"), id_column="id").scan()
    assert Source.open(str(DATA / "duplicate_ids.csv"), id_column="id", limit=2).scan().rows == 2


@pytest.mark.parametrize("ids", [[5, -1, 5], ["5", "x", "5"], [0.5, 1.0, 0.5]])
def test_duplicate_ids_over_files(tmp_path, ids):
    """Ids of any type are compared over all files, and the files are named."""
    pq.write_table(pa.table({"id": ids[:2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ids[2:]}), tmp_path / "b.parquet")
    with pytest.raises(
        InputError, match=rf'has "{ids[0]}" more than once, in row 0 of a\.parquet and row 0 of b\.parquet'
    ):
        Source.open(str(tmp_path), id_column="id").scan()


def test_empty_and_null_ids(tmp_path):
    """An empty CSV cell or a null is no id."""
    with pytest.raises(InputError, match=r'row 1 \(counted from 0\) has nothing in column "id"'):
        Source.open(str(DATA / "empty_id.csv"), id_column="id").scan()
    pq.write_table(pa.table({"id": pa.array([1, 2, None])}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"row 2 \(counted from 0\) has nothing"):
        Source.open(str(tmp_path / "a.parquet"), id_column="id").scan()


def test_equal_hashes_are_no_duplicates():
    """-1 and -2 have the same hash in Python; so could two ids, which are then looked at again."""

    class Collided(str):
        __slots__ = ()

        def __hash__(self):
            return 7

    class Ids:
        """Stands in for an Arrow array of colliding strings."""

        type = pa.string()

        def __init__(self, *values):
            self.values = [Collided(value) for value in values]

        def to_pylist(self):
            return self.values

    for values, expected in ((("a", "b"), None), (("a", "b", "a"), ("a", [0, 2]))):
        check = IdCheck()
        check.add(Ids(*values))
        assert check.duplicate(lambda values=values: iter([(0, Ids(*values))])) == expected


@pytest.mark.slow
def test_many_ids():
    """One duplicate among five million integers is found, in shares."""
    rows = 5_000_000
    ids = pa.array(range(rows))
    with closing(IdCheck()) as check:
        check.add(ids)
        assert check.duplicate(lambda: iter(())) is None
        check.add(pa.array([4_999_998]))
        found = check.duplicate(lambda: iter([(0, ids), (rows, pa.array([4_999_998]))]))
    assert found == ("4999998", [4_999_998, rows])


def test_folders_as_columns(tmp_path):
    """Folders named after a column's value are columns; a part without rows, and metadata beside, are no data."""
    for day, lang, ids in (("1", "de", ["a", "b"]), ("2", "__HIVE_DEFAULT_PARTITION__", ["c"]), ("2", "x%2Fy", ["d"])):
        folder = tmp_path / "t" / f"day={day}" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": ids}), folder / "part-0.parquet")
    source = Source.open(str(tmp_path / "t"), id_column="id")
    assert source.columns == ["id", "day", "lang"]
    assert sorted(tuple(row.values()) for row in read(source)) == [
        ("a", "1", "de"),
        ("b", "1", "de"),
        ("c", "2", None),
        ("d", "2", "x/y"),
    ]
    assert [row["lang"] for row in read(source, 0, ["lang"])].count("de") == 2
    before = source.scan().fingerprint
    (tmp_path / "t" / "day=2").rename(tmp_path / "t" / "day=3")
    assert Source.open(str(tmp_path / "t"), id_column="id").scan().fingerprint != before


def test_parts_of_json_and_empty_parts(tmp_path):
    """A folder of part-*.json is data, as Spark writes it; text files of 0 bytes are parts that had no rows."""
    for name, text in (("part-0.json", '{"id": 1}\n'), ("part-1.json", '{"id": 2}\n'), ("part-2.json", "")):
        (tmp_path / name).write_text(text)
    (tmp_path / "_SUCCESS").touch()
    assert [row["id"] for row in read(Source.open(str(tmp_path)))] == [1, 2]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.xlsx"])
@pytest.mark.parametrize("reading", [Reading(delimiter=";"), Reading(quotes="csv"), Reading(encoding="cp1252")])
def test_keys_of_delimited_files_are_refused_for_others(tmp_path, name, reading):
    """They would be ignored; the message names key, format and what to do. JSON lines have an encoding too."""
    path = tmp_path / name
    if name == "a.jsonl":
        path.write_bytes('{"x": "caf\xe9"}\n'.encode("cp1252"))
    elif name == "a.parquet":
        pq.write_table(pa.table({"x": ["y"]}), path)
    else:
        path.write_bytes(b"PK\x03\x04")
    key = next(key for key in ("delimiter", "quotes", "encoding") if getattr(reading, key))
    if (name, key) == ("a.jsonl", "encoding"):
        assert read(Source.open(str(path), reading=reading)) == [{"x": "café"}]
        return
    with pytest.raises(InputError, match=rf"input\.{key} is for delimited text.*leave input\.{key} out"):
        Source.open(str(path), reading=reading)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory, and a way to fill it with tables of one row that holds the file's name."""

    def fill(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"n\n{os.fsencode(name).decode('utf-8', 'replace')}\n", "utf-8")

    monkeypatch.chdir(tmp_path)
    return fill


def names(path):
    return [row["n"] for row in read(Source.open(path))]


def test_a_file_that_is_reached_twice_is_read_once(place):
    """By a link to a folder above, a link to a folder beside, and a link to the file."""
    place("d/x.csv", "d/sub/y.csv")
    os.symlink(".", "d/again")
    os.symlink("sub", "d/beside")
    os.symlink("x.csv", "d/z.csv")
    assert names("d") == names("d/**/*.csv") == ["d/sub/y.csv", "d/x.csv"]


def test_brackets_in_names_are_taken_literally_where_such_a_name_exists(place):
    """In a file, a folder, and a folder before a glob; else they are a class of characters."""
    place("a[1]/x[2].csv", "a[1]/x3.csv", "b/x1.csv", "b/x2.csv")
    assert names("a[1]/x[2].csv") == ["a[1]/x[2].csv"]
    assert names("a[1]/*.csv") == names("a[1]") == ["a[1]/x3.csv", "a[1]/x[2].csv"]
    assert names("b/x[12].csv") == names("[b]/x?.csv") == ["b/x1.csv", "b/x2.csv"]


def test_a_glob_of_folders_means_their_files(place):
    """Spark writes a folder for each table; where files match too, the folders are left alone."""
    place("t/a.csv/part-0.csv", "t/b.csv/part-0.csv", "t/b.csv/_SUCCESS")
    assert names("t/*.csv") == ["t/a.csv/part-0.csv", "t/b.csv/part-0.csv"]
    place("t/c.csv")
    assert names("t/*.csv") == ["t/c.csv"]


def test_folders_that_name_columns_count_from_the_glob_on(place):
    """Also if only one of them matches; escapes are undone, and bytes that are not UTF-8 written as such."""
    place("p/y=1/x.csv", "p/y=de%2FAT/x.csv", "q/y=caf\udce9/x.csv")
    assert [row["y"] for row in read(Source.open("p/*/x.csv"))] == ["1", "de/AT"]
    assert [row["y"] for row in read(Source.open("p/y=1*/x.csv"))] == ["1"]
    assert [row["y"] for row in read(Source.open("q"))] == [r"caf\xe9"]


def test_links_that_lead_nowhere_say_so(place):
    """A broken link and one to itself, alone and in a folder."""
    os.symlink("gone.csv", "a.csv")
    os.symlink("b.csv", "b.csv")
    for path, words in (("a.csv", "link to gone.csv, which does not exist"), ("b.csv", "Too many levels")):
        with pytest.raises(InputError, match=words):
            Source.open(path)
    with pytest.raises(InputError, match=r"input\.path is empty"):
        Source.open("")


def test_names_with_other_digits_have_an_order(place):
    """A superscript is a digit to Python, and no number."""
    place("d/1\u00b22.csv", "d/1\u06632.csv", "d/10.csv", "d/9.csv")
    assert len(names("d")) == 4


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_a_file_that_is_replaced_between_batches_is_noticed(tmp_path, extension, monkeypatch):
    """Its later rows would be those of another table."""
    monkeypatch.setattr("batchgen.source.KEPT_BYTES", 0)
    path = tmp_path / f"a.{extension}"

    def write(word):
        aside = tmp_path / "aside"
        if extension == "parquet":
            pq.write_table(pa.table({"n": [f"{word}{n}" for n in range(5_000)]}), aside, row_group_size=1_000)
        elif extension == "csv":
            aside.write_text("n\n" + "".join(f"{word}{n}\n" for n in range(5_000)))
        else:
            aside.write_text("".join(f'{{"n": "{word}{n}"}}\n' for n in range(5_000)))
        aside.replace(path)

    write("old")
    source = Source.open(str(path))
    source.scan()
    batches = source.batches()
    assert next(batches).table.column("n")[0].as_py() == "old0"
    write("new")
    with pytest.raises(InputError, match="was changed while"):
        list(batches)


@pytest.mark.parametrize("zone", ["Mars/Phobos", "+05", "UTC+3"])
def test_ids_may_be_moments_of_a_zone_that_nobody_knows(tmp_path, zone):
    """They are the same moments in UTC."""
    table = pa.table({"id": pa.array([0, 1], pa.timestamp("s", zone))})
    pq.write_table(table, tmp_path / "a.parquet")
    source = Source.open(str(tmp_path / "a.parquet"), id_column="id")
    source.scan()
    (batch,) = source.batches()
    assert [text[:19] for text in source.row_ids(batch).to_pylist()] == ["1970-01-01 00:00:00", "1970-01-01 00:00:01"]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1.0, float("nan")]), r"row 1 .* has nothing in column"),
        (pa.array([b"\xff\xfe", b"ab"], pa.binary(2)), "an id is a text or a number"),
    ],
)
def test_what_is_no_id(tmp_path, column, words):
    """NaN stands where a number is missing; bytes need not be text."""
    pq.write_table(pa.table({"id": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=words):
        Source.open(str(tmp_path / "a.parquet"), id_column="id").scan()
