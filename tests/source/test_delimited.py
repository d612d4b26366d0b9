"""CSV and TSV: every cell stays the text it is, and each fault names file, line, column and fix."""

import csv
import gzip
import io
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import InputError
from batchgen.source import Reading, Source, file

DATA = Path(__file__).parent / "data" / "input"


def rows(path, **options):
    return [row for batch in Source.open(str(path), **options).batches() for row in batch.table.to_pylist()]


def test_cells_stay_text():
    """No cell is guessed at: leading zeros, NA, null, empty, booleans and blanks are kept."""
    assert [(row["code"], row["note"]) for row in rows(DATA / "as_text.csv")] == [
        ("007", "NA"),
        ("null", ""),
        ("1e5", "True"),
        ("-0", " padded "),
    ]


def test_byte_order_mark_and_crlf():
    """A byte order mark is no part of the first name; quoted line breaks and doubled quotes survive."""
    assert rows(DATA / "utf8_bom_crlf.csv") == [
        {"id": "1", "body": 'naïve\r\n"quoted" 你好'},
        {"id": "2", "body": "plain"},
    ]


def test_tsv():
    """A .tsv file is separated by tabs; commas are text."""
    assert [row["body"] for row in rows(DATA / "tabs.tsv")] == ['a, "b"', "c\nd"]


def test_nul_in_a_cell_is_kept():
    """A NUL inside a later cell is data."""
    assert rows(DATA / "nul.csv") == [{"id": "1", "body": "a\0b"}]


def test_blank_lines_are_no_rows():
    """Blank lines before the header, between rows and at the end are skipped."""
    assert [row["id"] for row in rows(DATA / "blank_lines.csv")] == ["1", "2"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_rows_of_empty_cells_round_a_table_are_no_rows(tmp_path, mark):
    """Spreadsheets write them where cells once held something; one between rows keeps the numbers of those below."""
    path = tmp_path / "a.csv"
    path.write_text(",,\n,,\nid,text,n\n1,a,\n,,\n2,b,3\n,\n,,,,\n".replace(",", mark) + f"{mark}{mark}\n" * 5_000)
    found = [tuple(row.values()) for row in rows(path)]
    assert found == [("1", "a", ""), ("", "", ""), ("2", "b", "3")]
    assert Source.open(str(path), limit=2).scan().rows == 2


def test_unnamed_column():
    """The index that pandas writes without a name gets one."""
    assert rows(DATA / "unnamed_column.csv") == [{"column_1": "0", "body": "x"}]


def test_header_only():
    """A header alone is an input of no rows, with its schema."""
    source = Source.open(str(DATA / "header_only.csv"), id_column="id")
    assert source.scan().rows == 0
    assert source.schema == pa.schema([("id", pa.string()), ("body", pa.string())])
    assert list(source.batches()) == []


def test_bad_bytes_cost_their_row(tmp_path):
    """In a file that is UTF-8 otherwise, a byte that is not is a problem of its row, with column and offset."""
    path = tmp_path / "a.csv"
    path.write_bytes((DATA / "bad_bytes.csv").read_bytes() + "4,naïve\n".encode())
    (batch,) = Source.open(str(path)).batches()
    assert list(batch.problems) == [1]
    assert 'a.csv, row 1 (counted from 0), column "body": byte 3' in batch.problems[1]
    assert batch.table.column("body").to_pylist() == ["fine", "caf\ufffd au lait", "fine too", "naïve"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("empty.csv", ["empty.csv is empty (0 bytes)"]),
        ("bad_header.csv", ["not UTF-8", "encoding = "]),
        ("bad_bytes.csv", ["not UTF-8", "encoding = ", "cp1252"]),
        ("ragged.csv", ["line 4", "row 1", "3 cells", "has 2"]),
        ("unclosed_quote.csv", ["row 1", "line 3", "never closed"]),
        ("stray_quote.csv", ["row 0", "line 2", "doubled"]),
        ("duplicate_columns.csv", ['two columns named "id"', "the second is column", "rename"]),
        ("parquet_inside.csv", ["rename it to .parquet"]),
        ("excel.csv", ["Excel", "save the sheet as CSV"]),
    ],
)
def test_faults(name, parts):
    """What no row can survive is refused before anything is sent, with file, place and fix."""
    with pytest.raises(InputError) as caught:
        Source.open(str(DATA / name)).scan()
    for part in [name, *parts]:
        assert part in str(caught.value)


def test_ragged_row_in_a_later_batch(tmp_path):
    """The line is right beyond the first batch too, with line breaks in cells on the way."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + '1,"x\ny"\n' * 2500 + "1\n")
    with pytest.raises(InputError, match=r"line 5002 \(row 2500, counted from 0\): 1 cells"):
        Source.open(str(path)).scan()


def test_cells_of_ten_megabytes(tmp_path):
    """A 12 MB cell is read whole, among small ones."""
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "body"], ["1", "x"], ["2", 'a,"\n' * 3_000_000], ["3", "y"]])
    assert [len(row["body"]) for row in rows(path)] == [1, 12_000_000, 1]


def test_batches_are_bounded(tmp_path):
    """A batch has at most 2,000 rows and about 16 MB."""
    path = tmp_path / "a.csv"
    path.write_text("id,body\n" + "".join(f"{i},{'x' * 1_000_000}\n" for i in range(40)) + "1,x\n" * 4100)
    batches = list(Source.open(str(path)).batches())
    assert max(batch.table.nbytes for batch in batches) < 18_000_000
    assert max(batch.table.num_rows for batch in batches) == 2000
    assert sum(batch.table.num_rows for batch in batches) == 4140


@pytest.mark.parametrize("extension", ["gz", "zst"])
def test_compressed(tmp_path, extension):
    """.gz and .zst are unpacked on the way."""
    path = tmp_path / f"a.csv.{extension}"
    with pa.output_stream(str(path), compression={"gz": "gzip", "zst": "zstd"}[extension]) as stream:
        stream.write((DATA / "as_text.csv").read_bytes())
    assert rows(path) == rows(DATA / "as_text.csv")


PACKED = gzip.compress(b"3,c\n", mtime=0)


@pytest.mark.parametrize("ending", [bytes(700), PACKED, bytes(5) + PACKED + bytes(1)])
def test_zeros_and_members_behind_a_gzip_file(tmp_path, ending):
    """Tapes and disks fill their blocks up, and `cat` puts files one behind the other."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,body\n1,a\n2,b\n") + ending)
    found = [row["body"] for batch in Source.open(str(path)).batches() for row in batch.table.to_pylist()]
    assert found == (["a", "b", "c"] if any(ending) else ["a", "b"])


@pytest.mark.parametrize("ending", [b"x", b"\0x", PACKED[:12]])
def test_anything_else_behind_a_gzip_file_is_damage(tmp_path, ending):
    """It may be what is left of more rows."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,body\n1,a\n2,b\n") + ending)
    with pytest.raises(InputError, match="cannot be read after"):
        Source.open(str(path)).scan()


def test_cut_gzip(tmp_path):
    """A cut archive is a sentence, not a traceback."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,body\n" + bytes(range(48, 58)) * 9999)[:-20])
    with pytest.raises(InputError, match=r"a\.csv\.gz cannot be read after"):
        Source.open(str(path)).scan()


def test_decompression_bomb(tmp_path, monkeypatch):
    """Text that unpacks to more than 200 times its size is refused, once it is large."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,body\n" + b"1,x\n" * 400_000))
    assert Source.open(str(path)).scan().rows == 400_000
    monkeypatch.setattr(file, "EXPANSION_FLOOR", 1_000_000)
    with pytest.raises(InputError, match="bomb"):
        Source.open(str(path)).scan()


def test_wrong_compression_extension(tmp_path):
    """A packed file without .gz in its name says what to do."""
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(b"id,body\n1,x\n"))
    with pytest.raises(InputError, match=r"gzip: add \.gz"):
        Source.open(str(path))


def assert_same_or_refused(path, table, **options):
    try:
        found = rows(path, **options)
    except InputError:
        return
    assert [list(row.values()) for row in found] == table


CELLS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["NA", "007", '"', "\r", "\n", ",", "\ufeff"]
)


@settings(max_examples=150, deadline=None)
@given(table=st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width))))
def test_what_csv_writes_is_what_is_read(table, tmp_path_factory):
    """Any table of texts that csv.writer writes comes back the same, but for empty rows at its end."""
    width = len(table[0]) if table else 1
    names = [f"c{index}" for index in range(width)]
    text = io.StringIO()
    csv.writer(text).writerows([names, *table])
    path = tmp_path_factory.mktemp("round") / "a.csv"
    path.write_bytes(text.getvalue().encode())
    while width > 1 and table and not any(table[-1]):
        table.pop()
    assert_same_or_refused(path, table)


WRITERS = {
    "pandas": lambda frame, path, mark: frame.to_csv(path, sep=mark, index=False),
    "pandas quoted": lambda frame, path, mark: frame.to_csv(path, sep=mark, index=False, quoting=csv.QUOTE_ALL),
    "polars": lambda frame, path, mark: polars.from_pandas(frame).write_csv(path, separator=mark),
    "duckdb": lambda frame, path, mark: duckdb.sql("from frame").write_csv(str(path), sep=mark),
    "datasets": lambda frame, path, mark: frame.to_csv(path, sep=mark, index=False, lineterminator="\r\n"),
}
PLAIN = st.text("ab1 é", max_size=6) | st.sampled_from(
    ['"x"', 'a "b" c', "x,y", "a;b", "5", "2024-06-03", 'say ""hi""']
)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=30, deadline=None)
@given(table=st.lists(st.tuples(st.integers(0, 99).map(str), PLAIN, PLAIN).map(list), min_size=1, max_size=6))
def test_what_other_programs_write(writer, mark, table, tmp_path_factory):
    """A table that another program writes comes back cell for cell, or is refused before anything is sent."""
    path = tmp_path_factory.mktemp("write") / ("a.tsv" if mark == "\t" else "a.csv")
    WRITERS[writer](pandas.DataFrame(table, columns=["id", "text", "note"], dtype=str), path, mark)
    assert_same_or_refused(path, table)
    assert_same_or_refused(path, table, reading=Reading(delimiter=mark, quotes="csv"))


@pytest.mark.parametrize(
    ("name", "content", "table"),
    [
        ("a.csv", b"id;text\n1;a, b\n2;c\n", [["1", "a, b"], ["2", "c"]]),
        ("a.csv", b"sep=;\r\nid;text\r\n1;x\r\n", [["1", "x"]]),
        ("a.csv", b"sep=,\nid,text\n1,x\n", [["1", "x"]]),
        ("a.csv", b'"sep=;"\r\nid;text\r\n1;x\r\n', [["1", "x"]]),
        ("a.csv", b"sep=\\t\nid\ttext\n1\tx\n", [["1", "x"]]),
        ("a.csv", b"id|text\n1|x;y\n2|z\n", [["1", "x;y"], ["2", "z"]]),
        ("a.csv", b"id;price (EUR, net)\n1;12,50\n2;3,20\n", [["1", "12,50"], ["2", "3,20"]]),
        ("a.csv", b"id,text\n1,first,\n2,second,,\n", [["1", "first"], ["2", "second"]]),
        ("a.csv", b"id,text\n1,x\n   \n2,y\n", [["1", "x"], ["2", "y"]]),
        ("a.csv", "id,text\n1,caf\xe9 \u4f60\n".encode("utf-16"), [["1", "caf\xe9 \u4f60"]]),
        ("a.csv", "id,text\n1,plain\n".encode("utf-16-le"), [["1", "plain"]]),
        ("a.csv", "id,text\n1,plain\n".encode("utf-32"), [["1", "plain"]]),
        ("a.txt", 'id\ttext\r\n1\t"a, b"\r\n'.encode("utf-16"), [["1", "a, b"]]),
        ("a.tsv", b'id\ttext\n1\t"Great" product\n2\tok\n', [["1", '"Great" product'], ["2", "ok"]]),
        ("a.tsv", b'id\ttext\n1\t"Great"\n2\tok\n', [["1", '"Great"'], ["2", "ok"]]),
        ("a.tsv", b'id\ttext\n1\t"so it\n2\tbegan"\n3\tc\n', [["1", '"so it'], ["2", 'began"'], ["3", "c"]]),
        ("a.tsv", b'"id"\t"text"\n"1"\t"x"\n', [["1", "x"]]),
        ("a.csv", b'id,text\n1,"Dear Sir,\nplease, help"\n', [["1", "Dear Sir,\nplease, help"]]),
    ],
)
def test_habits(tmp_path, name, content, table):
    """Separators, encodings and quotes are found where the file leaves no doubt."""
    path = tmp_path / name
    path.write_bytes(content)
    assert [list(row.values()) for row in rows(path)] == table


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b'id,text\n1,a\n2,"So it\n3,began\n4,here"\n5,b\n', ["line 3", "quotes"]),
        (b'id,score,text\n1,4,a\n2,5,"So it\n3,1,began\n4,2,here"\n', ["line 3", "quotes"]),
        (b"id,text\n1,a\n\xef\xbb\xbfid,text\n2,b\n", ["row 1", "repeats the header"]),
        (b"a,b;c\n1,2;3\n4,5;6\n", ["delimiter", "commas", "semicolons"]),
        (b"id|text\n--|----\n1|a\n", ["dashes"]),
        (b"| id | text |\n|---|:---:|\n| 1 | a |\n", ["dashes"]),
        (b"+----+------+\n| id | text |\n+----+------+\n|  1 | a    |\n+----+------+\n", ["drawn with lines", "CSV"]),
        (b'"id" "text"\n1 "a b"\n', ["line 1", "delimiter"]),
        (b'Q1,Q2\nHow?,Why?\n"{""ImportId"":""QID1""}","{""ImportId"":""QID2""}"\na,b\n', ["row 1", "second header"]),
        ("番号,本文\n1,お客様\n".encode("iso2022_jp"), ["encoding", "iso2022_jp"]),
        ("id,text\n1,Müller grüßt\n".encode("cp850"), ["cp850: "]),
        ("id,text\n1,Müller grüßt\n".encode("mac_roman"), ["mac_roman: "]),
        (b'{"id": 1}\n{"id": 2}\n', ["holds JSON", ".jsonl"]),
        (b'\xef\xbb\xbf[{"id": 1}]', ["holds JSON", ".jsonl"]),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n", ["HTML"]),
        ("id,text\n1,caf\xe9\n".encode("cp1252"), ["cp1252", "encoding"]),
        ("id,text\n1,\u4ea7\u54c1\u5f88\u597d\n".encode("gbk"), ["gb18030", "encoding"]),
    ],
)
def test_doubt_is_said(tmp_path, content, parts):
    """What can be read in two ways is refused, with the key that settles it."""
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        Source.open(str(path)).scan()
    for part in ["a.csv", *parts]:
        assert part in str(caught.value)


def test_what_the_job_says(tmp_path):
    """The job's own delimiter, encoding and quotes are used as they are, and count as part of the input."""
    path = tmp_path / "a.dat"
    path.write_bytes("id\x01text\n1\x01caf\xe9\n".encode("cp1252"))
    reading = Reading(delimiter="\x01", encoding="cp1252")
    assert rows(path, reading=reading) == [{"id": "1", "text": "café"}]
    scans = [Source.open(str(path), reading=Reading("\x01", encoding)).scan() for encoding in ("cp1252", "cp1251")]
    assert scans[0].fingerprint != scans[1].fingerprint
    with pytest.raises(InputError, match=r"input\.encoding"):
        Source.open(str(path), reading=Reading("\x01", "no such thing"))
    joined = tmp_path / "b.csv"
    joined.write_bytes(b'id,text\n2,"So it\n3,began\n4,here"\n')
    assert len(rows(joined, reading=Reading(quotes="csv"))) == 1
    assert len(rows(joined, reading=Reading(quotes="text"))) == 3
