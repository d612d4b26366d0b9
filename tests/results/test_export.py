"""Exports hold the same cells as the results, counted with other readers, and nothing that a spreadsheet would run."""

import csv
import datetime as dt
import io
import json
import re
from decimal import Decimal

import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import OutputError, UsageError
from batchgen.results import workbook
from batchgen.results.cells import csv_cell, sheet_value, without_formula
from batchgen.results.export import _csv_cells, export
from batchgen.results.flat import FlatRows
from batchgen.results.rows import ResultRows
from tests.evaluation.publishing import publish

WORD = pa.dictionary(pa.int32(), pa.string())
PARSED = pa.struct(
    [
        ("urgency", WORD),
        ("tags", pa.list_(pa.string())),
        ("due", pa.date32()),
        ("status", pa.string()),
        ("n", pa.int64()),
    ]
)
BERLIN = pa.timestamp("us", tz="Europe/Berlin")
CARRIED = {
    "id": [1, 2**60, -7, None],
    "text": ['=HYPERLINK("x")', 'plain, with "quotes"\r\nand lines', "-5.50", None],
    "at": pa.array([dt.datetime(2026, 7, 1, 14, 30, tzinfo=dt.UTC), None, None, None], BERLIN),
    "on": pa.array([dt.date(2026, 1, 31), dt.date(1066, 10, 14), None, None]),
    "ok": [True, False, None, True],
    "x": [1.5, float("nan"), float("inf"), None],
    "deep": [[{"a": [1, 2]}], [], None, None],
}
ANSWERS = ["one", "two", "\x1b[31mdrei\x00", "vier"]
FIELDS = [
    {"urgency": "high", "tags": ["a", "=b"], "due": dt.date(2026, 2, 3), "status": "open", "n": 9},
    {"urgency": "low", "tags": [], "due": None, "status": None, "n": None},
    {"urgency": None, "tags": None, "due": None, "status": "＝1+1", "n": -3},
    None,
]


naive = dt.datetime.fromisoformat


@pytest.fixture
def run(tmp_path):
    """Four rows with cells of all kinds; one failed."""
    return publish(tmp_path / "run", CARRIED, ANSWERS, (PARSED, FIELDS), failed=(3,), per_part=4)


def written(directory, path, **options):
    """Export and return what was said."""
    return export(
        FlatRows(ResultRows(*([directory] if not isinstance(directory, list) else directory)), **options), path
    )


def csv_table(path):
    """Return a CSV as the standard library reads it: the header and the rows."""
    text = path.read_bytes().decode()
    assert text.startswith("\ufeff")
    head, *rows = csv.reader(io.StringIO(text[1:], newline=""))
    return head, [dict(zip(head, row, strict=True)) for row in rows]


def sheet_tables(path):
    """Return the rows of each sheet as openpyxl reads them."""
    book = openpyxl.load_workbook(path)
    return [[[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in book]


def test_csv_is_read_by_programs_that_guess_its_form_from_the_first_rows(tmp_path):
    """Quotes that come late, and a first cell that looks like a comment, cost no row."""
    ids = [f"r{number}" for number in range(21_000)]
    ids[1], ids[-1] = "#1", 'the "last",\none'
    run = publish(tmp_path / "run", {"id": ids}, ["word"] * len(ids), per_part=len(ids))
    written(run, tmp_path / "out.csv")
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        found = connection.execute("select id from read_csv(?)", [str(tmp_path / "out.csv")]).fetchall()
    assert [value for (value,) in found] == ids
    assert list(pd.read_csv(tmp_path / "out.csv", dtype=str)["id"]) == ids


def test_csv(run, tmp_path):
    """UTF-8 with a mark, times in UTC without a zone, what could be a formula behind an apostrophe."""
    said = written(run, tmp_path / "out.csv")
    head, rows = csv_table(tmp_path / "out.csv")
    assert (said.rows, said.columns, said.notes) == (4, len(head), [])
    assert head[: len(CARRIED)] == list(CARRIED)
    assert [name for name in head if name in ("urgency", "tags", "due", "parsed_status", "n", "parsed")] == [
        "urgency",
        "tags",
        "due",
        "parsed_status",
        "n",
    ]
    assert [row["id"] for row in rows] == ["1", str(2**60), "-7", ""]
    assert [row["text"] for row in rows] == ['\'=HYPERLINK("x")', CARRIED["text"][1], "-5.50", ""]
    assert [row["at"] for row in rows] == ["2026-07-01 14:30:00", "", "", ""]
    assert [row["on"] for row in rows] == ["2026-01-31", "1066-10-14", "", ""]
    assert [row["ok"] for row in rows] == ["true", "false", "", "true"]
    assert [row["x"] for row in rows] == ["1.5", "", "inf", ""]
    assert [json.loads(row["deep"] or "null") for row in rows] == CARRIED["deep"]
    assert [json.loads(row["tags"] or "null") for row in rows] == [["a", "=b"], [], None, None]
    assert [row["parsed_status"] for row in rows] == ["open", "", "'＝1+1", ""]
    assert [row["status"] for row in rows] == ["succeeded"] * 3 + ["failed"]
    assert [row["completion"] for row in rows] == ANSWERS
    assert pl.read_csv(tmp_path / "out.csv", infer_schema=False).height == 4
    assert list(pd.read_csv(tmp_path / "out.csv", dtype=str)["completion"]) == ANSWERS


def test_workbook(run, tmp_path):
    """Numbers, dates and truth values as such; long numbers and old dates as text; refused letters mended."""
    written(run, tmp_path / "out.xlsx")
    [[head, *lines]] = sheet_tables(tmp_path / "out.xlsx")
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    assert [row["id"] for row in rows] == [1, str(2**60), -7, None]
    assert [row["text"] for row in rows] == ['=HYPERLINK("x")', 'plain, with "quotes"\nand lines', "-5.50", None]
    assert [row["at"] for row in rows] == [naive("2026-07-01T14:30"), None, None, None]
    assert [row["on"] for row in rows] == [naive("2026-01-31"), "1066-10-14", None, None]
    assert [row["ok"] for row in rows] == [True, False, None, True]
    assert [row["x"] for row in rows] == [1.5, None, "inf", None]
    assert [row["completion"] for row in rows] == ["one", "two", "\ufffd[31mdrei\ufffd", "vier"]
    assert [row["parsed_status"] for row in rows] == ["open", None, "＝1+1", None]
    assert [row["due"] for row in rows] == [naive("2026-02-03"), None, None, None]
    kinds = {cell.data_type for sheet in openpyxl.load_workbook(tmp_path / "out.xlsx") for row in sheet for cell in row}
    assert kinds <= {"s", "inlineStr", "n", "d", "b"}  # and no formula
    assert pd.read_excel(tmp_path / "out.xlsx", engine="calamine").shape == (4, len(head))


def test_json_lines_and_parquet(run, tmp_path):
    """Types, nesting and zones stay; the words of a dictionary are plain text."""
    written(run, tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [row["id"] for row in rows] == CARRIED["id"]
    assert [row["text"] for row in rows] == CARRIED["text"]
    assert [row["x"] for row in rows] == [1.5, None, None, None]
    assert rows[0]["at"] == "2026-07-01T16:30:00+02:00"
    assert [row["tags"] for row in rows] == [["a", "=b"], [], None, None]
    written(run, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["urgency"].to_pylist() == ["high", "low", None, None]
    assert table.schema.field("urgency").type == pa.string()
    assert table["text"].to_pylist() == CARRIED["text"]
    assert table.schema.field("at").type == BERLIN
    assert pl.read_parquet(tmp_path / "out.parquet").height == 4


def test_columns_and_rows_are_chosen(run, tmp_path):
    """In the order asked for; a field by its whole name too; failed rows alone."""
    path = tmp_path / "out.csv"
    written(run, path, columns=["parsed.status", "row_id", "urgency"])
    assert csv_table(path) == (
        ["parsed_status", "row_id", "urgency"],
        [
            {"parsed_status": "open", "row_id": "0", "urgency": "high"},
            {"parsed_status": "", "row_id": "1", "urgency": "low"},
            {"parsed_status": "'＝1+1", "row_id": "2", "urgency": ""},
            {"parsed_status": "", "row_id": "3", "urgency": ""},
        ],
    )
    written(run, path, columns=["row_id"], failed=True)
    assert csv_table(path)[1] == [{"row_id": "3"}]
    written(run, path, columns=["row_id"], where="n < 0")
    assert csv_table(path)[1] == [{"row_id": "2"}]
    with pytest.raises(UsageError, match='no column "urgncy"'):
        written(run, path, columns=["urgncy"])
    with pytest.raises(UsageError, match="'row_id' twice"):
        written(run, path, columns=["row_id", "row_id"])
    with pytest.raises(UsageError, match=r"has to be one of \.csv, \.xlsx, \.jsonl, \.parquet"):
        written(run, tmp_path / "out.xls")


def test_several_runs_make_one_table(run, tmp_path):
    """A column names the directory; fields that one run does not have are empty there."""
    other = publish(
        tmp_path / "other", {"text": ["x"], "run": ["mine"]}, ["y"], (pa.struct([("mood", WORD)]), [{"mood": "good"}])
    )
    written([run, other], tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["batchgen_run"].to_pylist() == [str(run)] * 4 + [str(other)]
    assert table["run"].to_pylist() == [None] * 4 + ["mine"]
    assert table["mood"].to_pylist() == [None] * 4 + ["good"]
    assert table["urgency"].to_pylist() == ["high", "low", None, None, None]


def test_what_excel_has_no_room_for_is_said(tmp_path, monkeypatch):
    """Long cells are cut at its limit of UTF-16 letters, more rows than a sheet has go to the next one."""
    monkeypatch.setattr(workbook, "SHEET_ROWS", 4)
    answers = ["x" * 40_000, "\U0001f600" * 20_000, *"cdefg"]
    run = publish(tmp_path / "run", {"t": list("abcdefg")}, answers)
    said = written(run, tmp_path / "out.xlsx", columns=["t", "completion"])
    sheets = sheet_tables(tmp_path / "out.xlsx")
    assert [len(rows) for rows in sheets] == [4, 4, 2]
    assert [rows[0] for rows in sheets] == [["t", "completion"]] * 3
    cells = [row for rows in sheets for row in rows[1:]]
    assert [row[0] for row in cells] == list("abcdefg")
    assert cells[0][1] == "x" * 32_767
    assert cells[1][1] == "\U0001f600" * 16_383
    assert len(said.notes) == 2
    assert "2 cells" in said.notes[1]


def test_a_file_appears_whole_or_not_at_all(run, tmp_path, monkeypatch):
    """What was there before stays when a row cannot be written, and nothing is left beside it."""
    broken = FlatRows(ResultRows(run))
    batches = list(broken.batches())
    monkeypatch.setattr(broken, "batches", lambda: (batch or 1 / 0 for batch in [*batches, None]))
    endings = ("csv", "xlsx", "jsonl", "parquet")
    for ending in endings:
        path = tmp_path / f"out.{ending}"
        path.write_bytes(b"before")
        with pytest.raises(ZeroDivisionError):
            export(broken, path)
        assert path.read_bytes() == b"before"
        with pytest.raises(OutputError, match="cannot be written"):
            written(run, tmp_path / "none" / f"out.{ending}")
    assert {path.name for path in tmp_path.iterdir()} == {
        "run",
        *(f"out.{e}" for e in ("csv", "xlsx", "jsonl", "parquet")),
    }


@pytest.mark.parametrize("number", ["-5", "+1", "-1,234.56", "+.5", "-1e-5", "-12 %", "-0"])
def test_plain_numbers_stay_numbers(number):
    """A sign before digits alone is no formula."""
    assert without_formula(number) == number


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize("before", ["", " ", "\u00a0", "\ufeff", "\u3000\t"])
@pytest.mark.parametrize("rest", ["1+1", "cmd|' /C calc'!A0", "SUM(A1)", "x", "5-3", "1=1"])
def test_formulas_are_text(first, before, rest):
    """In any writing and behind blanks, which programs pass over."""
    if (before + first).strip("\t\r\n \u00a0\ufeff\u3000"):
        assert without_formula(before + first + rest) == f"'{before}{first}{rest}"


CELLS = (
    st.none()
    | st.text()
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.decimals(allow_nan=False, allow_infinity=False)
)


@given(st.lists(st.none() | st.text(alphabet=st.sampled_from("=+-@＝＋－＠ \t\r\n\ufeff\u3000a1.\"'")), max_size=9))
def test_columns_become_cells_as_their_values_do(texts):
    """The quick way for whole columns changes the same texts."""
    assert _csv_cells(pa.array(texts, pa.string())) == [csv_cell(text) for text in texts]


@settings(max_examples=300)
@given(CELLS)
def test_any_cell_is_safe_and_loses_nothing(value):
    """Text but for the apostrophe, numbers exactly; Excel's number is the same number or text."""
    cell = csv_cell(value)
    if isinstance(value, str):
        assert cell in (value, f"'{value}")
        assert cell.startswith("'") or cell[:1] not in "=@＝＋－＠\t\r\n" or not cell
    elif isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        assert Decimal(cell) == value
        found = sheet_value(value)
        assert Decimal(found) == value if isinstance(found, str) else Decimal(repr(found)) == value
    if isinstance(value, str):
        assert not re.search("[\x00-\x08\x0b-\x1f\ufffe\uffff]", sheet_value(value))
