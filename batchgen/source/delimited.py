"""CSV and TSV, every cell as the text it is: `007`, `NA`, `null` and the empty cell are never guessed at.

Python's own csv module reads them: it streams, has no block that a 10 MB cell could straddle and knows line numbers;
pyarrow's reader was 1.4 times as fast on small rows and fails on a cell longer than its block. Rules: UTF-8 with or
without byte order mark; quoted cells may hold line breaks and doubled quotes; wholly blank lines are no rows; a column
without a name is called `column_N`, N counted from 1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from batchgen.errors import InputError
from batchgen.source.files import File, Format, UnpackedBytes, open_bytes
from batchgen.source.reader import BATCH_BYTES, BATCH_ROWS, CELL_CAP, Piece, check_agreement, check_names

_DELIMITERS = {Format.CSV: ",", Format.TSV: "\t"}


class DelimitedReader:
    """CSV or TSV files with a header line each."""

    proven = False
    whole: frozenset[str] = frozenset()

    def __init__(self, files: Sequence[File]) -> None:
        csv.field_size_limit(max(CELL_CAP, csv.field_size_limit()))  # the module knows only one limit per process
        self._headers = {file.name: _header(file) for file in files}
        self.schema = _schema(self._headers[files[0].name])
        for file in files[1:]:
            check_agreement((files[0], self.schema), (file, _schema(self._headers[file.name])))

    def rows(self, file: File) -> int | None:
        return None

    def read(self, file: File, skip: int, most: int, columns: Sequence[str]) -> Iterator[Piece]:
        header = self._headers[file.name]
        width = len(header)
        places = [header.index(column) for column in columns]
        schema = _schema(columns)
        row = -1  # the header
        rows: list[list[str]] = []
        with open_bytes(file) as stream:
            raw = stream.raw
            assert isinstance(raw, UnpackedBytes)
            records = _records(stream, file)
            line = 0
            mark = 0
            try:
                for record in records:
                    if len(record) != width:
                        if not record:
                            line = records.line_num
                            continue
                        raise _ragged(file, row, line + 1, header, record)
                    line = records.line_num
                    row += 1
                    if row <= skip:  # the header was row 0 of this count
                        mark = raw.taken
                        continue
                    rows.append(record)
                    if row == skip + most:
                        break
                    if len(rows) == BATCH_ROWS or raw.taken - mark >= BATCH_BYTES:
                        yield _piece(file, row - len(rows), rows, places, schema)
                        rows = []
                        mark = raw.taken
            except csv.Error as error:
                raise _malformed(file, row, line + 1, str(error)) from error
        if rows:
            yield _piece(file, row - len(rows), rows, places, schema)


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def _records(stream: io.BufferedReader, file: File) -> Any:
    # surrogateescape keeps bytes that are not UTF-8 recognisable, so that they cost one row and not the file
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    return csv.reader(text, delimiter=_DELIMITERS[file.format], strict=True)


def _header(file: File) -> list[str]:
    with open_bytes(file) as stream:
        try:
            header: list[str] = next((record for record in _records(stream, file) if record), [])
        except csv.Error as error:
            raise _malformed(file, -1, 1, str(error)) from error
    if any(_bad_byte(name) is not None for name in header):
        raise InputError(f"{file.path}, line 1: the header is not UTF-8. Save the file as UTF-8.")
    if len(header) == 1 and (header[0].count(";") or header[0].count("\t")):
        found = "semicolons" if ";" in header[0] else "tabs"
        fix = "rename it to .tsv" if found == "tabs" else "save it with commas"
        raise InputError(f"{file.path}: the header line is separated by {found}, not by commas: {fix}.")
    names = [name or f"column_{index}" for index, name in enumerate(header, 1)]
    check_names(names, file.path)
    return names


def _piece(file: File, first: int, rows: list[list[str]], places: Sequence[int], schema: pa.Schema) -> Piece:
    cells = list(zip(*rows, strict=True))
    problems: dict[int, str] = {}
    arrays = []
    for place, name in zip(places, schema.names, strict=True):
        values: Sequence[str] = cells[place]
        try:
            array = pa.array(values, pa.string())
        except UnicodeEncodeError:
            array = pa.array(_mended(file, first, name, values, problems), pa.string())
        arrays.append(array)
    return Piece(pa.RecordBatch.from_arrays(arrays, schema=schema), problems)


def _mended(file: File, first: int, column: str, values: Sequence[str], problems: dict[int, str]) -> list[str]:
    """Return the cells with U+FFFD for each byte that is not UTF-8, and note the rows they are in."""
    mended = []
    for index, value in enumerate(values):
        offset = _bad_byte(value)
        if offset is not None:
            problems.setdefault(
                index,
                f'{file.name}, row {first + index} (counted from 0), column "{column}": byte {offset} of the cell is '
                "not UTF-8. Save the file as UTF-8.",
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


def _ragged(file: File, row: int, line: int, header: Sequence[str], record: Sequence[str]) -> InputError:
    return InputError(
        f"{file.path}, line {line} (row {row}, counted from 0): {len(record)} cells where the header has "
        f"{len(header)}. Put cells that hold a separator or a line break into double quotes, and look for a quote "
        "that is not closed."
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
    return InputError(f"{place}: {error}. A double quote inside a quoted cell has to be doubled.")
