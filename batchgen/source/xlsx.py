"""Excel workbooks: the one sheet that holds something, as JSON objects, so that columns are typed as those of JSONL.

A sheet is in memory while it is read; Excel's own limit of a million rows bounds it.
"""

from __future__ import annotations

import datetime as dt
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import msgspec

from batchgen.errors import InputError
from batchgen.extras import missing
from batchgen.source.file import File
from batchgen.source.reader import check_names

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK"
_HEAD_BYTES = 64
_PIECE_BYTES = 1 << 20
_PLACE = re.compile(rb'\br="(\w+)"')
_WITHOUT_RESULT = re.compile(  # an empty text is a result, of its own type
    rb'<c(?: (?!t="str")[\w:]+="[^"]*")*>\s*<f(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v ?/>|<v></v>)?\s*</c>'
)

_WITH_RESULT = re.compile(rb"<c [^>]*>\s*<f(?:[^>]*/>|[^>]*>[^<]*</f>)\s*<v>([^<]*)</v>")
_WORKBOOK = "xl/workbook.xml"
_ERROR = re.compile(rb'<c ([^<>]*\bt="e"[^<>]*)>\s*(?:<f[^>]*/>|<f[^>]*>[^<]*</f>)?\s*<v>([^<]*)</v>')
_AT = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')
_SHEET = re.compile(rb'<sheet\b[^>]*\br:id="([^"]*)"')
_RELATION = re.compile(rb"<Relationship\b[^>]*>")
_PART = re.compile(rb'\b(Id|Target)="([^"]*)"')


def sheet_rows(file: File) -> Iterator[tuple[int, bytes]]:
    """Yield each row's number in the sheet and its cells as one JSON object by column; an empty cell is null."""
    number, header, rows = _sheet(file)
    filled = [(place, row) for place, row in enumerate(rows, number + 1) if any(cell != "" for cell in row)]
    if not filled:
        raise InputError(f"{file.path} has no row with anything in it below its header.")
    for place, row in filled:
        yield place, msgspec.json.encode(dict(zip(header, map(_value, row), strict=False)))


def _sheet(file: File) -> tuple[int, list[str], list[list[Any]]]:
    """Return the header's row number (from 1), the columns and the rows below."""
    try:
        from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum
    except ImportError:
        raise InputError(
            f"{file.path} is an Excel workbook: save the sheet as CSV (UTF-8), or install "
            f"{missing('xlsx', 'python_calamine')}"
        ) from None
    with open(file.copy or file.path, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith(_OLE):
        raise InputError(
            f"{file.path} is a workbook in the older format (.xls), or has a password: save it as .xlsx without "
            "one, or the sheet as CSV (UTF-8)."
        )
    if not head.startswith(_ZIP):
        raise InputError(
            f"{file.path} is no Excel workbook: it begins with {head[:20]!r}. Open it in the program that it comes "
            "from and save it as .xlsx; if it is text with delimiters, rename it to .csv."
        )
    try:
        with CalamineWorkbook.from_path(file.copy or file.path) as book:
            visible = {sheet.name for sheet in book.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible}
            sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names}
    except (CalamineError, OSError, ValueError) as error:
        raise InputError(f"{file.path} is not a readable Excel workbook: {error}.") from error
    filled = {name: rows for name, rows in sheets.items() if any(cell != "" for row in rows for cell in row)}
    if len(filled) > 1:  # what is hidden, such as the entries of a menu, is not meant
        filled = {name: rows for name, rows in filled.items() if name in visible} or filled
    if len(filled) != 1:
        raise InputError(
            f"{file.path} has {len(filled)} sheets with content ({', '.join(filled)}): save the one that is meant as "
            "CSV (UTF-8), or in a workbook of its own."
        )
    ((taken, rows),) = filled.items()
    _show_errors(file, list(sheets).index(taken), rows)
    place = next(index for index, row in enumerate(rows) if any(cell != "" for cell in row))
    width = max(index for row in rows[place:] for index, cell in enumerate(row, 1) if cell != "")
    first = next(index for index in range(width) if any(row[index] != "" for row in rows[place:]))
    _check_header(file, [row[first:width] for row in rows[place : place + 2]], place + 1)
    _check_formulas(file)
    names = [_name(cell, index) for index, cell in enumerate(rows[place][first:width], first + 1)]
    check_names(names, file.path)
    return place + 1, names, [row[first:width] for row in rows[place + 1 :]]


def _check_header(file: File, rows: list[list[Any]], number: int) -> None:
    """Raise for a title above the header."""
    width = len(rows[0])
    named = [cell for cell in rows[0] if cell != ""]
    gap = len(rows) > 1 and all(cell == "" for cell in rows[1])
    if len(named) == 1 and (width > 2 or (width > 1 and gap)):
        raise InputError(
            f'{file.path}: row {number} of the sheet holds only "{named[0]}", and the rows below {width} columns. '
            "Remove the rows above the header, and name every column."
        )


def _check_formulas(file: File) -> None:
    """Raise for a formula without its result, which would be read as empty, or as the 0 of XlsxWriter."""
    computed = first = None
    with zipfile.ZipFile(file.copy or file.path) as book:
        for part in book.namelist():
            if not part.startswith("xl/worksheets/sheet"):
                continue
            for cells in _stretches(book, part):
                found = _WITHOUT_RESULT.search(cells)
                if found is not None:
                    raise _not_calculated(file, _PLACE.search(found[0]))
                for formula in _WITH_RESULT.finditer(cells):
                    computed = computed or formula[1].strip() != b"0"
                    first = first or _PLACE.search(formula[0])
        if first is not None and not computed and b'fullCalcOnLoad="1"' in _read(book, _WORKBOOK):
            raise _not_calculated(file, first)


def _stretches(book: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    """Yield a sheet's XML in stretches, each from the beginning of the last cell of the one before."""
    kept = b""
    with book.open(part) as stream:
        while piece := stream.read(_PIECE_BYTES):
            kept += piece
            yield kept
            kept = kept[kept.rfind(b"<c ") :] if b"<c " in kept else b""


def _show_errors(file: File, sheet: int, rows: list[list[Any]]) -> None:
    """Put errors of formulas (`#N/A`, `#REF!`) into their cells as the sheet shows them, and as its CSV has them.

    The reader of workbooks gives an empty cell, so that a row would be asked as if nothing were wrong.
    """
    with zipfile.ZipFile(file.copy or file.path) as book:
        part = _part(book, sheet)
        for cells in () if part is None else _stretches(book, part):
            for attributes, said in _ERROR.findall(cells) if b't="e"' in cells else ():
                at = _AT.search(attributes)
                if at is None:
                    continue
                row, column = int(at[2]) - 1, 0
                for letter in at[1]:
                    column = column * 26 + letter - ord("A") + 1
                if row < len(rows) and column <= len(rows[row]):
                    rows[row][column - 1] = said.decode("utf-8", "replace")


def _part(book: zipfile.ZipFile, sheet: int) -> str | None:
    """Return the file in a workbook that holds its sheet with this number; None if it does not say so."""
    names = _SHEET.findall(_read(book, _WORKBOOK))
    parts = {
        found[b"Id"]: found.get(b"Target", b"")
        for relation in _RELATION.findall(_read(book, "xl/_rels/workbook.xml.rels"))
        if b"Id" in (found := dict(_PART.findall(relation)))
    }
    target = parts.get(names[sheet], b"").decode() if sheet < len(names) else ""
    part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
    return part if part in book.namelist() else None


def _read(book: zipfile.ZipFile, name: str) -> bytes:
    return book.read(name) if name in book.namelist() else b""


def _not_calculated(file: File, place: re.Match[bytes] | None) -> InputError:
    return InputError(
        f"{file.path}: the formula in cell {place[1].decode() if place else '?'} has no result, as the program that "
        "wrote the file does not calculate: open it in Excel or LibreOffice and save it."
    )


def _name(cell: Any, index: int) -> str:
    return f"column_{index}" if cell == "" else str(_value(cell))


def _value(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1 << 53:
        return int(cell)  # Excel knows only one kind of number
    if isinstance(cell, dt.datetime | dt.date | dt.time):
        return cell.isoformat()
    if isinstance(cell, dt.timedelta):
        return _duration(cell)
    return None if cell == "" else cell


def _duration(value: dt.timedelta) -> str:
    """Return a duration as a sheet shows it, in hours that go beyond a day: `30:05:00`."""
    seconds, rest = divmod(abs(value), dt.timedelta(seconds=1))
    clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    fraction = f".{rest.microseconds:06}".rstrip("0") if rest else ""
    return f"{'-' if value < dt.timedelta() else ''}{clock}{fraction}"
