"""Results as a file for other tools: CSV, Excel, JSON lines or Parquet, in memory that does not grow with the rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.errors import OutputError, UsageError
from batchgen.files.replace import named_file
from batchgen.files.table import parquet_file
from batchgen.results.cells import LIKE_FORMULA, csv_cell, jsonable, without_formula
from batchgen.results.flat import FlatRows
from batchgen.results.workbook import CELL_LETTERS, SHEET_ROWS, workbook
from batchgen.text.arrow_values import python_values
from batchgen.text.figures import quantity
from batchgen.text.storable import json_bytes

_ROWS_AT_ONCE = 1_000


class Exported(Struct):
    """How many rows and columns were written; `notes` say what the format could not hold."""

    rows: int
    columns: int
    notes: list[str]


def export(rows: FlatRows, path: Path) -> Exported:
    """Write the rows to `path`, whose ending names the format; the file appears whole or not at all.

    Raises `UsageError` for another ending, `OutputError` when the disk or its permissions refuse.
    """
    if path.suffix.lower() not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise UsageError(f"{path}: the name's ending says what is written; it has to be one of {known}.")
    exported = Exported(0, len(rows.columns), [])
    try:
        with _FORMATS[path.suffix.lower()](rows, path, exported) as add:
            for batch in rows.batches():
                add(batch)
                exported.rows += batch.num_rows
    except OSError as error:  # a workbook's temporary files stand elsewhere
        raise OutputError(f"{path} cannot be written: {error}. Mend that, or name another file.") from error
    return exported


Adder = Callable[[pa.RecordBatch], None]


@contextmanager
def _csv(rows: FlatRows, path: Path, exported: Exported) -> Iterator[Adder]:
    with named_file(path) as file:
        text = io.StringIO(newline="")
        writer, quoting = csv.writer(text), csv.writer(text, quoting=csv.QUOTE_ALL)

        def write() -> None:
            file.write(text.getvalue().encode())
            text.seek(0)
            text.truncate()

        def add(batch: pa.RecordBatch) -> None:
            for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                piece = batch.slice(start, _ROWS_AT_ONCE)
                cells = [*map(_csv_cells, piece.columns)]
                table = zip(*cells, strict=True)
                if any(first.startswith("#") for first in cells[0]):  # DuckDB takes such a line for a comment
                    for row in table:
                        (quoting if row[0].startswith("#") else writer).writerow(row)
                else:
                    writer.writerows(table)
                write()

        text.write("\ufeff")  # without it Excel takes UTF-8 for something else
        # Programs that look at the first rows alone, such as DuckDB, learn from the header that cells may be quoted.
        quoting.writerow([without_formula(column.name) for column in rows.columns])
        write()
        yield add


@contextmanager
def _xlsx(rows: FlatRows, path: Path, exported: Exported) -> Iterator[Adder]:
    with named_file(path) as file, workbook(file, [column.name for column in rows.columns]) as book:

        def add(batch: pa.RecordBatch) -> None:
            for values in _rows(batch):
                book.add(values)

        yield add
        if book.sheets > 1:
            exported.notes.append(f"A sheet has room for {SHEET_ROWS - 1:,} rows: there are {book.sheets} of them.")
        if book.cut:
            exported.notes.append(
                f"{quantity(book.cut, 'cell has', 'cells have')} only the first {CELL_LETTERS:,} letters, which is "
                "Excel's limit; the other formats have the whole."
            )


@contextmanager
def _jsonl(rows: FlatRows, path: Path, exported: Exported) -> Iterator[Adder]:
    names = [column.name for column in rows.columns]
    with named_file(path) as file:

        def add(batch: pa.RecordBatch) -> None:
            for values in _rows(batch):
                file.write(json_bytes(dict(zip(names, map(jsonable, values), strict=True))) + b"\n")

        yield add


@contextmanager
def _parquet(rows: FlatRows, path: Path, exported: Exported) -> Iterator[Adder]:
    with parquet_file(path, rows.schema) as writer:
        yield writer.write_batch


_FORMATS = {".csv": _csv, ".xlsx": _xlsx, ".jsonl": _jsonl, ".parquet": _parquet}


def _csv_cells(column: pa.Array) -> list[str]:
    """Return a column as cells; text and whole numbers, which most cells are, a column at a time."""
    if pa.types.is_string(column.type):
        cells: list[str] = pc.fill_null(column, "").to_pylist()
        for place in pc.indices_nonzero(pc.match_substring_regex(column, LIKE_FORMULA)).to_pylist():
            cells[place] = without_formula(cells[place])
        return cells
    if pa.types.is_integer(column.type):
        return list(pc.fill_null(column.cast(pa.string()), "").to_pylist())
    return [csv_cell(value) for value in python_values(column)]


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[object, ...]]:
    """Yield the rows as Python objects, some at a time."""
    for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
        piece = batch.slice(start, _ROWS_AT_ONCE)
        yield from zip(*map(python_values, piece.columns), strict=True)
