"""Excel workbooks: cells by their types, and a sentence where it is not clear what is meant."""

import datetime as dt
import sys

import pytest

from batchgen.errors import InputError
from batchgen.source import Source

openpyxl = pytest.importorskip("openpyxl")


def book(path, **sheets):
    """Write a workbook of these sheets."""
    found = openpyxl.Workbook()
    found.remove(found.active)
    for name, rows in sheets.items():
        sheet = found.create_sheet(name)
        for row in rows:
            sheet.append(row)
    found.save(path)
    return str(path)


def test_cells(tmp_path):
    """Numbers, texts, booleans, dates and empty cells come as they are; blank rows are no rows."""
    rows = [
        ["id", "text", None, "flag", "day"],
        [1, 'a, "b"\nc', 1.5, True, dt.datetime.fromisoformat("2024-06-03T10:30:00")],
        [None] * 5,
        [2, "007", None, None, None],
    ]
    source = Source.open(book(tmp_path / "a.xlsx", data=rows, empty=[]), id_column="id")
    assert source.scan().rows == 2
    (batch,) = source.batches()
    assert batch.values(source.columns) == [
        {"id": 1, "text": 'a, "b"\nc', "column_3": 1.5, "flag": True, "day": "2024-06-03T10:30:00"},
        {"id": 2, "text": "007", "column_3": None, "flag": None, "day": None},
    ]


def test_durations(tmp_path):
    """They are written as the sheet shows them: hours beyond a day, one sign; also in a workbook with macros."""
    spans = [dt.timedelta(hours=30, minutes=5), dt.timedelta(hours=-6), dt.timedelta(seconds=1.5)]
    source = Source.open(book(tmp_path / "a.xlsm", data=[["d"], *([span] for span in spans)]))
    (batch,) = source.batches()
    assert [row["d"] for row in batch.values(["d"])] == ["30:05:00", "-6:00:00", "0:00:01.5"]


def test_doubt_is_said(tmp_path, monkeypatch):
    """Two sheets, a file that is no workbook, and a missing reader are sentences."""
    with pytest.raises(InputError, match=r"2 sheets with content \(a, b\)"):
        Source.open(book(tmp_path / "two.xlsx", a=[["x"], [1]], b=[["y"], [2]]))
    (tmp_path / "no.xlsx").write_text("id,text\n")
    with pytest.raises(InputError, match=r"no Excel workbook: it begins with b'id,text.*\.csv"):
        Source.open(str(tmp_path / "no.xlsx"))
    (tmp_path / "cut.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="not a readable Excel workbook"):
        Source.open(str(tmp_path / "cut.xlsx"))
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(InputError, match=r"python-calamine \(extra xlsx\): "):
        Source.open(str(tmp_path / "two.xlsx"))


def test_what_is_hidden_is_not_meant(tmp_path):
    """The entries of a menu stand in a sheet that is not shown; of sheets that are all hidden none is passed over."""
    path = book(tmp_path / "a.xlsx", data=[["x"], [1]], menu=[["y"], [2]])
    found = openpyxl.load_workbook(path)
    found["menu"].sheet_state = "hidden"
    found.save(path)
    assert Source.open(path).columns == ["x"]
    assert Source.open(book(tmp_path / "b.xlsx", none=[], only=[["x"], [1]])).columns == ["x"]


def test_empty_columns_before_a_table_are_none(tmp_path):
    """A table may begin anywhere in its sheet."""
    rows = [[], [None, None, "a", "b", None], [None, None, 1, 2, 3]]
    assert Source.open(book(tmp_path / "a.xlsx", data=rows)).columns == ["a", "b", "column_5"]
    assert Source.open(book(tmp_path / "b.xlsx", data=[[None, None, "a"], [None, None, 1]])).columns == ["a"]


def test_a_table_without_rows_is_said_to_have_none(tmp_path):
    """Its message speaks of rows and not of lines."""
    with pytest.raises(InputError, match="no row with anything in it below its header"):
        Source.open(book(tmp_path / "a.xlsx", data=[["a", "b"]]))


@pytest.mark.parametrize("result", [0, 2])
def test_formulas_that_a_library_has_not_calculated_are_no_zeros(tmp_path, result):
    """XlsxWriter, and so pandas and polars, puts 0 for a result that nobody has calculated."""
    xlsxwriter = pytest.importorskip("xlsxwriter")
    with xlsxwriter.Workbook(tmp_path / "a.xlsx") as written:
        sheet = written.add_worksheet()
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write(1, 0, 1)
        sheet.write_formula(1, 1, "=A2*2", None, result)
    if result:
        (batch,) = Source.open(str(tmp_path / "a.xlsx")).batches()
        assert batch.values(["b"]) == [{"b": 2}]
    else:
        with pytest.raises(InputError, match="the formula in cell B2 has no result"):
            Source.open(str(tmp_path / "a.xlsx"))


def test_errors_of_formulas_are_what_the_sheet_shows(tmp_path):
    """An empty cell in their place would be asked as if nothing were wrong, and a row of nothing else be dropped."""
    rows = [["id", "text"], [1, "a"], [2, "#N/A"], ["#REF!", "#DIV/0!"], [None, "#NAME?"]]
    source = Source.open(book(tmp_path / "a.xlsx", empty=[], data=rows))
    (batch,) = source.batches()
    assert batch.values(source.columns) == [
        {"id": 1, "text": "a"},
        {"id": 2, "text": "#N/A"},
        {"id": "#REF!", "text": "#DIV/0!"},
        {"id": None, "text": "#NAME?"},
    ]
