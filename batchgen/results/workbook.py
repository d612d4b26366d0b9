"""An Excel workbook written row by row: what is written is on the disk, not in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from batchgen.errors import UsageError
from batchgen.extras import missing
from batchgen.files.replace import ReplacementFile
from batchgen.results.cells import sheet_value

SHEET_ROWS = 1_048_576
SHEET_COLUMNS = 16_384
CELL_LETTERS = 32_767
"""Excel's own limits; letters are counted in UTF-16."""

_WIDTH = 24
_TIME_FORMAT, _DATE_FORMAT = "yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd"


class WorkbookRows:
    """Takes rows; another sheet begins where one is full. `cut` cells were too long, `sheets` have rows."""

    def __init__(self, book: Any, names: Sequence[str]) -> None:
        self._book = book
        self._names = names
        self._bold = book.add_format({"bold": True})
        self._time = book.add_format({"num_format": _TIME_FORMAT})
        self._date = book.add_format({"num_format": _DATE_FORMAT})
        self.sheets = self.cut = 0
        self._next_sheet()

    def _next_sheet(self) -> None:
        self.sheets += 1
        self._sheet = self._book.add_worksheet("results" if self.sheets == 1 else f"results {self.sheets}")
        self._sheet.freeze_panes(1, 0)
        self._sheet.set_column(0, len(self._names) - 1, _WIDTH)
        self._row = 0
        for place, name in enumerate(self._names):
            self._text(place, str(sheet_value(name)), self._bold)
        self._row = 1

    def add(self, values: Sequence[Any]) -> None:
        """Write a row."""
        if self._row == SHEET_ROWS:
            self._next_sheet()
        sheet, row = self._sheet, self._row
        for place, found in enumerate(values):
            value = sheet_value(found)
            if value is None or value == "":
                continue
            if isinstance(value, str):
                self._text(place, value)
            elif isinstance(value, bool):
                sheet.write_boolean(row, place, value)
            elif isinstance(value, dt.date):
                sheet.write_datetime(row, place, value, self._time if isinstance(value, dt.datetime) else self._date)
            else:
                sheet.write_number(row, place, value)
        self._row += 1

    def _text(self, place: int, text: str, look: Any = None) -> None:
        """Write text as text, whatever it looks like."""
        if self._sheet.write_string(self._row, place, text, look):
            self.cut += 1


@contextmanager
def workbook(file: ReplacementFile, names: Sequence[str]) -> Iterator[WorkbookRows]:
    """Yield what takes the rows of a workbook that is written to `file`. Raises `UsageError` where it cannot be one."""
    try:
        import xlsxwriter
    except ImportError:
        raise UsageError(f"Export to .csv, or install {missing('xlsx', 'xlsxwriter')}") from None
    if len(names) > SHEET_COLUMNS:
        raise UsageError(f"Excel has {SHEET_COLUMNS:,} columns at most, and there are {len(names):,}: use --columns.")
    book = xlsxwriter.Workbook(file, {"constant_memory": True, "use_zip64": True})
    try:
        yield WorkbookRows(book, names)
    finally:  # its temporary files go too
        try:
            book.close()
        except xlsxwriter.exceptions.XlsxFileError as error:
            raise OSError(str(error)) from error
