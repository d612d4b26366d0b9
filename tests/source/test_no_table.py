"""What only looks like a table, or has more in it than the table: refused in words that say what to do, or left out."""

from __future__ import annotations

import bz2
import datetime as dt
import lzma

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import InputError
from batchgen.source import Source


def rows(path):
    return [row for batch in Source.open(str(path)).batches() for row in batch.table.to_pylist()]


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


KINDS = {
    "bzip2": (bz2.compress(b"id,text\n1,a\n"), "add .bz2 to its name"),
    "xz": (lzma.compress(b"id,text\n1,a\n"), "packed with xz"),
    "Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "older Excel"),
    "Avro": (b"Obj\x01\x04\x14avro.codec\x08null", "Avro"),
    "ORC": (b"ORC\x08\x03\x10", "ORC"),
    "Arrow": (b"ARROW1\0\0xxxx", "Arrow"),
    "SQLite": (b"SQLite format 3\0" + bytes(90), "SQLite"),
    "a piece of HTML, as some programs call a workbook": (b"<table><tr><td>a</td></tr></table>", "HTML"),
    "nothing but blanks": (b"   \n", "no columns"),
}


@pytest.mark.parametrize(("content", "words"), KINDS.values(), ids=KINDS.keys())
def test_a_file_of_another_kind_is_called_by_its_kind(tmp_path, content, words):
    """Whatever its name says."""
    with pytest.raises(InputError, match=words):
        rows(written(tmp_path, "a.csv", content))


@pytest.mark.parametrize("name", ["ORCID", "ORC", "PAR1", "BZhang"])
@pytest.mark.parametrize("ending", [b"", b"\r\n\x1a\0\0"])
def test_a_column_may_begin_as_the_mark_of_another_format(tmp_path, name, ending):
    """These marks are letters: a binary file also has bytes that no text has."""
    assert rows(written(tmp_path, "a.csv", f"{name},text\n1,a".encode() + ending)) == [{name: "1", "text": "a"}]


@pytest.mark.parametrize("ending", [b"\0" * 50, b"\x1a", b"\r\n\x1a\0\0"])
def test_what_fills_up_a_file_of_objects_is_no_line(tmp_path, ending):
    """A crash leaves zeros, old programs a mark; delimited files are read so too."""
    assert rows(written(tmp_path, "a.jsonl", b'{"a": 1}\n{"a": 2}\n' + ending)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jl", '{"a": "x"}\n'), ("a.jsonlines", '{"a": "x"}\n'), ("a.tab", "a\nx\n"), ("a.csv", "sep=;\ra\rx\r")],
)
def test_other_names_and_line_ends_of_the_same_formats(tmp_path, name, content):
    """Scrapy's and the older name of JSON lines, a table with tabs, Excel's first line as a Mac writes it."""
    assert rows(written(tmp_path, name, content)) == [{"a": "x"}]


def test_a_folder_of_json_files_says_how_to_name_them(tmp_path):
    """They are left out of folders, as the message says."""
    written(tmp_path, "a.json", '{"a": 1}')
    with pytest.raises(InputError, match=r"name those that are meant with a glob"):
        rows(tmp_path)


TITLES = {
    "a title in a line of its own": ("Report 2026\n\nid,text\n1,a\n", "remove the lines above the header"),
    "a title in a row as wide as the table": ("Report;;\n;;\nid;text;n\n1;a;2\n", "remove the lines above the header"),
    "comments": ("# by a program\n# today\nid,text\n1,a\n", "remove the lines above the header"),
    "a note below": ("id,text\n1,a\n2,b\n(2 rows affected)\n", "Remove the line"),
    "names of rows without a name of their own": ('"id","text"\n"1",1,"a"\n"2",2,"b"\n', "name its first column"),
}


@pytest.mark.parametrize("name", TITLES)
def test_lines_round_a_table(tmp_path, name):
    content, remedy = TITLES[name]
    with pytest.raises(InputError, match=remedy):
        rows(written(tmp_path, "a.csv", content))


def test_columns_that_are_empty_to_the_end_are_no_title(tmp_path):
    """Spreadsheets write them for cells that once had a content or a colour."""
    found = rows(written(tmp_path, "a.csv", "text,,,\nhello,,,\nworld,,,\n"))
    assert [row["text"] for row in found] == ["hello", "world"]


@pytest.mark.parametrize("end", [b"\x1a", b"\0" * 40, b"\n\x1a\n", b"  \x1a"])
def test_the_marks_that_old_programs_end_a_file_with_are_no_row(tmp_path, end):
    """The end of a file as DOS has it, and zeros up to the end of a block."""
    assert rows(written(tmp_path, "a.csv", b"id,text\r\n1,a\r\n" + end)) == [{"id": "1", "text": "a"}]


@pytest.mark.parametrize("start", ["\ufeff\ufeffid", '"\ufeffid"', '\ufeff"\ufeffid"'])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path, start):
    """Nobody sees it, and `{{ id }}` would not be found."""
    assert rows(written(tmp_path, "a.csv", f"{start},text\n1,a\n")) == [{"id": "1", "text": "a"}]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.tsv"])
def test_a_pointer_in_place_of_a_file(tmp_path, name):
    """Repositories of data have them until the files are fetched."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"
    with pytest.raises(InputError, match="git lfs pull"):
        rows(written(tmp_path, name, pointer))


def test_a_name_that_says_more_than_the_bytes(tmp_path):
    with pytest.raises(InputError, match="not compressed as its name says"):
        rows(written(tmp_path, "a.csv.gz", "id,text\n1,a\n"))


@pytest.mark.parametrize(("log", "kind"), [("_delta_log", "Delta Lake"), (".hoodie", "Hudi")])
def test_a_folder_with_several_versions_of_a_table(tmp_path, log, kind):
    """Rows that were changed or deleted are still in it; one that names the files says which are meant."""
    (tmp_path / log).mkdir()
    (tmp_path / log / "00.json").write_text("{}")
    for part in (1, 2):
        pq.write_table(pa.table({"a": [part]}), tmp_path / f"part-{part}.parquet")
    with pytest.raises(InputError, match=f"is a {kind} table.*glob"):
        rows(tmp_path)
    assert rows(tmp_path / "*.parquet") == [{"a": 1}, {"a": 2}]


def test_what_office_programs_leave_beside_a_file_is_no_input(tmp_path):
    """While it is open there is a lock file of the same extension."""
    written(tmp_path, "a.csv", "id\n1\n")
    written(tmp_path, "~$a.xlsx", b"\0")
    assert rows(tmp_path) == [{"id": "1"}]


def test_a_tab_in_a_text_of_json(tmp_path):
    """JSON wants it escaped; what is meant is plain."""
    assert rows(written(tmp_path, "a.jsonl", '{"a":"x\ty"}\n{"a":"z"}\n')) == [{"a": "x\ty"}, {"a": "z"}]


def workbook(tmp_path, *lines):
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    book.save(tmp_path / "a.xlsx")
    return tmp_path / "a.xlsx"


def test_a_formula_without_its_result_is_not_an_empty_cell(tmp_path):
    """Programs that write workbooks do not calculate; an empty text as a result is one."""
    path = workbook(tmp_path, ["id", "text"], [1, "a"], [2, '=CONCATENATE("a","b")'])
    with pytest.raises(InputError, match=r"cell B3 has no result.*save it"):
        rows(path)
    assert rows(workbook(tmp_path, ["id", "text"], [1, "a"], [2, dt.date(2026, 1, 2)]))[1]["text"] == "2026-01-02"


@pytest.mark.parametrize("lines", [(["Report"], [], ["id", "text"], [1, "a"]), (["Report"], ["id", "text", "n"])])
def test_a_title_in_a_workbook(tmp_path, lines):
    with pytest.raises(InputError, match="Remove the rows above the header"):
        rows(workbook(tmp_path, *lines))
    assert rows(workbook(tmp_path, ["text"], ["a"])) == [{"text": "a"}]


def test_an_older_workbook_or_one_with_a_password(tmp_path):
    with pytest.raises(InputError, match=r"has a password: save it as \.xlsx"):
        rows(written(tmp_path, "a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600))


def test_a_name_is_judged_only_where_there_is_a_file(tmp_path):
    """A mistyped extension is told as what it is."""
    written(tmp_path, "rows.csv", "id\n1\n")
    with pytest.raises(InputError, match=r"rows\.cvs does not exist\. Did you mean .*rows\.csv"):
        rows(tmp_path / "rows.cvs")


def test_lines_that_were_quoted_as_a_whole_are_refused(tmp_path):
    """A table that was pasted into the first column of a sheet: it would be one column with commas in it."""
    with pytest.raises(InputError, match="take the outer quotes away"):
        rows(written(tmp_path, "a.csv", '"name,age"\n"Ann,34"\n"Bob,35"\n'))
    assert rows(written(tmp_path, "b.csv", '"name,age"\n"Ann,34"\n"Bob, the builder, 35"\n')) == [
        {"name,age": "Ann,34"},
        {"name,age": "Bob, the builder, 35"},
    ]
