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


def test_doubt_is_said(tmp_path, monkeypatch):
    """Two sheets, a file that is no workbook, and a missing reader are sentences."""
    with pytest.raises(InputError, match=r"2 sheets with content \(a, b\)"):
        Source.open(book(tmp_path / "two.xlsx", a=[["x"], [1]], b=[["y"], [2]]))
    (tmp_path / "no.xlsx").write_text("id,text\n")
    with pytest.raises(InputError, match="not a readable Excel workbook"):
        Source.open(str(tmp_path / "no.xlsx"))
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(InputError, match=r"python-calamine \(extra xlsx\): "):
        Source.open(str(tmp_path / "two.xlsx"))
