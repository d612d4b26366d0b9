"""CSV and TSV, every cell as the text it is: `007`, `NA`, `null` and the empty cell are never guessed at.

Python's own csv module reads them: it streams, has no block that a 10 MB cell could straddle and knows line numbers;
pyarrow's reader was 1.4 times as fast on small rows and fails on a cell longer than its block. Rules: quoted cells may
hold line breaks and doubled quotes; blank lines are no rows, and blank cells beyond the header no cells; a column
without a name is called `column_N`, N counted from 1. Delimiter, quotes and encoding: see `dialect`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, ClassVar

import pyarrow as pa

from batchgen.errors import InputError
from batchgen.source.dialect import LINE_BREAK, NAMES, Dialect, check_encoding, find_dialect, swallowed
from batchgen.source.file import FILLING, File, UnpackedBytes, open_bytes
from batchgen.source.reader import BATCH_BYTES, BATCH_ROWS, CELL_CAP, Piece, check_agreement, check_names

_ROWS_BELOW_TITLE = 100
_FILLING = FILLING.decode()
_QUALTRICS = '{"ImportId":'
_FRAME = re.compile(r"\+(?:[-=]{2,}\+)+")  # the upper edge of a table that a database shell has drawn
_RULE = re.compile(r"(?::?-{2,}:?)?")  # a cell of the line under a header


class DelimitedReader:
    """CSV or TSV files with a header line each."""

    proven = False
    whole: frozenset[str] = frozenset()
    unreadable: ClassVar[dict[str, str]] = {}

    def __init__(self, files: Sequence[File]) -> None:
        csv.field_size_limit(max(CELL_CAP, csv.field_size_limit()))  # the module knows only one limit per process
        self._dialects = {file.name: find_dialect(file) for file in files}
        self._headers = {file.name: _header(file, self._dialects[file.name]) for file in files}
        self._judged: set[str] = set()  # files with bytes that are not UTF-8, and that are UTF-8 all the same
        self.schema = _schema(self._headers[files[0].name])
        for file in files[1:]:
            check_agreement((files[0], self.schema), (file, _schema(self._headers[file.name])))

    def rows(self, file: File) -> int | None:
        return None

    def how(self, file: File) -> str:
        dialect = self._dialects[file.name]
        return f"{dialect.delimiter} {'text' if dialect.quotes_are_text else 'csv'} {file.encoding or 'utf-8'}"

    def read(self, file: File, skip: int, most: int, columns: Sequence[str]) -> Iterator[Piece]:
        header = self._headers[file.name]
        width = len(header)
        places = [header.index(column) for column in columns]
        schema = _schema(columns)
        dialect = self._dialects[file.name]
        row = -1  # the header
        rows: list[list[str]] = []
        with open_bytes(file) as stream:
            raw = stream.raw
            assert isinstance(raw, UnpackedBytes)
            records = _Records(dialect.records(stream))
            line = before = 0  # the last line of the record, and of those before the batch
            mark = 0
            try:
                for record in records:
                    if len(record) != width:
                        if _is_blank(record):
                            line = records.line_num
                            continue
                        if len(record) < width or any(map(str.strip, record[width:])):
                            raise _ragged(file, row, line + 1, header, record)
                        del record[width:]
                    line = records.line_num
                    row += 1
                    if row <= skip:  # the header was row 0 of this count
                        mark = raw.taken
                        before = line
                        continue
                    rows.append(record)
                    if row == skip + most:
                        break
                    if len(rows) == BATCH_ROWS or raw.taken - mark >= BATCH_BYTES:
                        if line - before > len(rows):
                            self._check_long_rows(file, row - len(rows), rows, before, line)
                        yield self._piece(file, row - len(rows), rows, places, schema)
                        rows = []
                        before = line
                        mark = raw.taken
            except csv.Error as error:
                raise _malformed(file, row, line + 1, str(error)) from error
        if rows:
            if line - before > len(rows):
                self._check_long_rows(file, row - len(rows), rows, before, line)
            yield self._piece(file, row - len(rows), rows, places, schema)

    def _check_long_rows(self, file: File, first: int, rows: Sequence[Sequence[str]], before: int, last: int) -> None:
        """Raise for a row of several lines that look like rows of their own."""
        if file.reading.quotes is not None:
            return
        delimiter = self._dialects[file.name].delimiter
        lines = [1 + sum(len(LINE_BREAK.findall(cell)) for cell in record) for record in rows]
        for index, record in enumerate(rows):
            if lines[index] > 1 and swallowed(record, delimiter):
                exact = before + sum(lines) == last  # there are no blank lines among them
                place = f", which begins in line {before + sum(lines[:index]) + 1}" if exact else ""
                raise InputError(
                    f"{file.path}, row {first + index} (counted from 0){place}: a double quote at the start of a cell "
                    "joins lines that look like rows of their own. Double the quote if it is text; if the cell is "
                    'meant so, say quotes = "csv" under [input].'
                )

    def _piece(self, file: File, first: int, rows: list[list[str]], places: Sequence[int], schema: pa.Schema) -> Piece:
        cells = list(zip(*rows, strict=True))
        header = self._headers[file.name]
        if len(header) > 1 and (header[0] in cells[0] or f"\ufeff{header[0]}" in cells[0]):
            _check_header_once(file, first, rows, header)
        if first == 0 and len(header) > 1 and all(_RULE.fullmatch(cell.strip()) for cell in rows[0]) and any(rows[0]):
            raise InputError(
                f"{file.path}, row 0 (counted from 0) is a line of dashes under the header, as database shells and "
                "Markdown write it: remove it, or export the table as CSV."
            )
        for index, record in enumerate(rows[:2] if first == 0 else ()):
            if all(cell.startswith(_QUALTRICS) for cell in record):
                raise InputError(
                    f"{file.path}, row {index} (counted from 0) and those above it are a second header, as Qualtrics "
                    "writes it: remove the lines between the first line and the answers."
                )
        problems: dict[int, str] = {}
        arrays = []
        for place, name in zip(places, schema.names, strict=True):
            values: Sequence[str] = cells[place]
            try:
                array = pa.array(values, pa.string())
            except UnicodeEncodeError:
                if file.name not in self._judged and file.encoding is None and file.reading.encoding is None:
                    check_encoding(file)
                self._judged.add(file.name)
                array = pa.array(_mended(file, first, name, values, problems), pa.string())
            arrays.append(array)
        return Piece(pa.RecordBatch.from_arrays(arrays, schema=schema), problems)


class _Records:
    """The records of a file without the empty ones before its header and after its last row.

    Spreadsheets write these where cells once held something. Those between rows keep their place as rows of empty
    cells, so that the rows after them keep their numbers.
    """

    def __init__(self, records: Any) -> None:
        self._records = records

    @property
    def line_num(self) -> int:
        """The last line of the record."""
        number: int = self._records.line_num
        return number

    def __iter__(self) -> Iterator[list[str]]:
        begun, empty, width = False, 0, 0
        for record in self._records:
            if not any(record) and record != [""]:  # an empty text in quotes, alone in its line, is a row
                empty += begun and len(record) > 1
                continue
            if not begun and _is_blank(record):
                continue
            while empty:
                yield [""] * width
                empty -= 1
            width = width or len(record)
            begun = True
            yield record


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def _header(file: File, dialect: Dialect) -> list[str]:
    with open_bytes(file) as stream:
        try:
            records = iter(_Records(dialect.records(stream)))
            header: list[str] = next(records, [])
        except csv.Error as error:
            raise _malformed(file, -1, 1, str(error)) from error
        title = _is_title(header, records)
        if (mark := _quoted_whole(header, records)) is not None:
            raise InputError(
                f"{file.path}: each line is one cell in quotes, and in it are the cells of a row, separated by "
                f"{NAMES[mark]}: take the outer quotes away, or export the table again."
            )
    if len(header) == 1 and _FRAME.fullmatch(header[0].strip()):
        raise InputError(
            f"{file.path} is a table drawn with lines, as database shells show it: export the table as CSV (mysql: "
            "--batch, and the file named .tsv)."
        )
    if any(_bad_byte(name) is not None for name in header):
        if file.encoding is None and file.reading.encoding is None:
            check_encoding(file)
        raise InputError(f"{file.path}, line 1: the header is not {file.encoding or 'UTF-8'}. Save the file as UTF-8.")
    header[:1] = [name.lstrip("\ufeff") for name in header[:1]]  # a mark that was written twice, or into the quotes
    if title:
        raise InputError(
            f'{file.path}: "{header[0]}" is the only name in a header of {len(header)} columns. If it is a title, '
            "remove the lines above the header; else name every column."
        )
    names = [name or f"column_{index}" for index, name in enumerate(header, 1)]
    check_names(names, file.path)
    return names


def _quoted_whole(header: Sequence[str], records: Iterator[Sequence[str]]) -> str | None:
    """Return what separates the cells of a table whose lines were quoted as a whole, so that it has one column."""
    if len(header) != 1:
        return None
    counts = {mark: header[0].count(mark) for mark in NAMES if mark in header[0] and f"{mark} " not in header[0]}
    rows = 0
    with suppress(csv.Error):  # told where the row is read
        for record in islice(records, _ROWS_BELOW_TITLE if counts else 0):
            counts = {mark: most for mark, most in counts.items() if [cell.count(mark) for cell in record] == [most]}
            rows += 1
            if not counts:
                break
    return next(iter(counts), None) if rows else None


def _is_title(header: Sequence[str], records: Iterator[Sequence[str]]) -> bool:
    """Whether a line with one name stands above columns; spreadsheets also write columns that are empty to the end."""
    if len(header) < 3 or not header[0] or any(header[1:]):
        return False
    with suppress(csv.Error):  # told where the row is read
        return any(any(map(str.strip, record[1:])) for record in islice(records, _ROWS_BELOW_TITLE))
    return False


def _mended(file: File, first: int, column: str, values: Sequence[str], problems: dict[int, str]) -> list[str]:
    """Return the cells with U+FFFD for each byte that is not UTF-8, and note the rows they are in."""
    mended = []
    for index, value in enumerate(values):
        offset = _bad_byte(value)
        if offset is not None:
            problems.setdefault(
                index,
                f'{file.name}, row {first + index} (counted from 0), column "{column}": byte {offset} of the cell is '
                f"not {file.encoding or 'UTF-8'}. Save the file as UTF-8.",
            )
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # noqa: PLW2901
        mended.append(value)
    return mended


def _bad_byte(cell: str) -> int | None:
    """Return the offset, in bytes, of the first byte of a cell that is not UTF-8."""
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        return len(cell[: error.start].encode())
    return None


def _is_blank(record: Sequence[str]) -> bool:
    """Whether a line is none: there is nothing in it but what fills up a file."""
    return not record or (len(record) == 1 and not record[0].strip(_FILLING).strip())


def _check_header_once(file: File, first: int, rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """Raise if a row is the header once more, perhaps with the byte order mark of a file that was appended."""
    for row, record in enumerate(rows, first):
        if [record[0].removeprefix("\ufeff"), *record[1:]] == header:
            raise InputError(
                f"{file.path}, row {row} (counted from 0) repeats the header: several files were put together. Remove "
                "that line, or name the files themselves with a glob."
            )


def _ragged(file: File, row: int, line: int, header: Sequence[str], record: Sequence[str]) -> InputError:
    what = f"{file.path}, line {line} (row {row}, counted from 0): {len(record)} cells where the header has"
    if len(header) == 1 and len(record) > 1:
        return InputError(
            f'{what} one, "{header[0]}". If that is a title or a comment, remove the lines above the header; if it is '
            "the name of the only column, put cells that hold a separator into double quotes."
        )
    hint = ""
    if row == 0 and len(record) == len(header) + 1:
        hint = " If every row has one more, name its first column in the header (R: row.names = FALSE leaves it out)."
    if len(record) == 1:
        hint = " Remove the line if it is a note below the table."
    return InputError(
        f"{what} {len(header)}. Put cells that hold a separator or a line break into double quotes, and look for a "
        f"quote that is not closed.{hint}"
    )


def _malformed(file: File, row: int, line: int, error: str) -> InputError:
    place = (
        f"{file.path}, row {row} (counted from 0), which begins in line {line}" if row >= 0 else f"{file.path}, line 1"
    )
    if "end of data" in error:
        return InputError(f"{place}: a double quote is opened and never closed. Close it, or double it if it is text.")
    if "field limit" in error:
        return InputError(
            f"{place}: a cell is longer than {CELL_CAP} characters, so a double quote was probably never closed."
        )
    hint = ""
    if row < 0:  # in a header of names there is hardly a quote
        hint = " If another character separates the cells, name it under [input], as delimiter."
    return InputError(f"{place}: {error}. A double quote inside a quoted cell has to be doubled.{hint}")
