"""Where rows come from: Parquet, CSV, TSV or JSONL files as one table, streamed in bounded batches.

`open` finds the files and fixes the schema, `scan` reads everything once before anything is sent, `batches` gives the
rows. Rows are numbered from 0 over all files, in natural order of the files' names.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any, Self

import pyarrow as pa
from msgspec import Struct

from batchgen.errors import InputError
from batchgen.files.compute import pc
from batchgen.source.delimited import DelimitedReader
from batchgen.source.file import File, Format, Reading, check_unchanged, content_digest
from batchgen.source.ids import Chunks, IdCheck
from batchgen.source.jsonl import JsonlReader
from batchgen.source.kept_scan import KeptScan, ScannedFile, as_bytes, from_bytes, stamps_of
from batchgen.source.parquet import ParquetReader
from batchgen.source.partitions import PartitionedReader
from batchgen.source.reader import Piece, Reader
from batchgen.source.remote import find_input
from batchgen.source.row_values import WholeNumbers, mark_whole, row_values, with_known_zones
from batchgen.stores.address import shown
from batchgen.text.columns import missing_column

__all__ = ["Batch", "Reading", "Scan", "ScannedFile", "Source", "row_values"]

KEPT_BYTES = 64 * 1024 * 1024
"""Most bytes of decoded rows that `scan` keeps, so that a small input is decoded once only (a row of 2 KB: 2 µs in
Parquet, 11 in CSV). The shards of a run are slices of them then and take no memory of their own."""


class Batch(Struct, frozen=True):
    """Consecutive rows from `first_row` on: at most 2,000 and about 16 MB, unless one row is larger.

    `problems`: row number → why the row cannot be read (text that is not UTF-8, with column and byte); such a row
    fails alone, of kind `prompt`. In `table` it stands mended, so that its columns can still be carried.
    """

    first_row: int
    table: pa.RecordBatch
    problems: dict[int, str]

    def values(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return each row's values in these columns as Python objects, for rendering."""
        return row_values(self.table, columns)


class Scan(Struct, frozen=True):
    """What reading everything once has shown. `fingerprint` changes with any byte or order of the files, and with the
    limit, but not with their names: the same bytes at another path are the same input."""

    rows: int
    fingerprint: str
    schema: pa.Schema
    files: tuple[ScannedFile, ...]


class Source:
    """The input table."""

    def __init__(
        self, path: str, files: Sequence[File], reader: Reader, id_column: str | None, limit: int | None
    ) -> None:
        self._path = path
        self._files = files
        self._reader = reader
        self._id_column = id_column
        self._limit = sys.maxsize if limit is None else limit
        self._used = set(reader.schema.names)
        self._rows: dict[str, int] = {}  # of files that were read to their end
        self._kept: dict[str, list[Piece]] = {}  # by file; all files that were scanned, or none
        self._whole = set(reader.whole)
        self._scan: Scan | None = None
        self._opened_ns = time.time_ns()

    @classmethod
    def open(
        cls, path: str, *, id_column: str | None = None, limit: int | None = None, reading: Reading | None = None
    ) -> Self:
        """Find the files that `path` means and read the schema; of JSONL, every line.

        `limit`: the first so many rows are the whole input. `reading`: what is known of delimited files. Raises
        `InputError` naming file, column and fix.
        """
        files = find_input(path, reading or Reading())
        reader: Reader
        if files[0].format is Format.PARQUET:
            reader = ParquetReader(files)
        elif files[0].format in (Format.JSONL, Format.XLSX):
            reader = JsonlReader(files, limit)
        else:
            reader = DelimitedReader(files)
        if any("=" in file.name for file in files):
            reader = PartitionedReader(reader, files)
        if id_column is not None:
            if id_column not in reader.schema.names:
                raise InputError(f"input.id: {missing_column(id_column, reader.schema.names)}")
            kind = reader.schema.field(id_column).type
            found = reader.unreadable.get(id_column)
            if found is not None:
                raise InputError(f"input.id: {found}; an id is a text or a number.")
            if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
                raise InputError(f'input.id: column "{id_column}" of {path} is {kind}; an id is a text or a number.')
        return cls(shown(path), files, reader, id_column, limit)

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return self._reader.schema

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        names: list[str] = self.schema.names
        return names

    @property
    def stamps(self) -> list[tuple[str, int, int]]:
        """Name, size and time of change of each file: while they stay, so do its rows."""
        return [(file.name, file.size, file.modified_ns) for file in self._files]

    @property
    def whole_columns(self) -> list[str]:
        """The float columns that a scan has shown to hold only whole numbers and gaps: prompts show them as these."""
        return sorted(self._whole)

    def check_readable(self, columns: Collection[str]) -> None:
        """Raise `InputError` for a column of which no prompt can be made."""
        for name, reason in self._reader.unreadable.items():
            if name in columns:
                raise InputError(f"{reason}, which only its own program can read. Write it with a plain type.")

    def use_only(self, columns: Collection[str]) -> None:
        """Say which columns will be asked for: `scan` does not fetch the others of a Parquet file in a store."""
        if all(file.remote is not None for file in self._files):
            self._used &= {*columns, *([] if self._id_column is None else [self._id_column])}

    def scan(self) -> Scan:
        """Read everything once: count the rows, prove them readable, check the ids, take the fingerprint.

        Kept, so that a second call costs nothing. Raises `InputError` for unreadable rows and for null, empty or
        duplicate ids, naming file and rows.
        """
        if self._scan is None:
            with closing(IdCheck()) as check:
                self._scan = self._read_everything(check)
        return self._scan

    def take_scan(self, kept: bytes) -> None:
        """Take what `kept_scan` gave for these files earlier instead of reading them, if they are still the same."""
        found = from_bytes(kept)
        if found is None or found.reading != self._how_scanned():
            return
        if found.stamps == stamps_of(self._files):
            self._rows = {file.name: file.rows for file in found.files}
            self._whole = {*found.whole}
            rows = sum(self._rows.values())
            self._scan = Scan(rows, found.fingerprint, self.schema, found.files)

    def kept_scan(self) -> bytes | None:
        """Return the scan for `take_scan`; None where it is no use: the input is small, or was changed just now."""
        stamps = stamps_of(self._files, self._opened_ns)
        if self._scan is None or stamps is None:
            return None
        whole = self.whole_columns
        return as_bytes(KeptScan(stamps, self._how_scanned(), self._scan.files, self._scan.fingerprint, whole))

    def _how_scanned(self) -> str:
        how = [(file.name, self._reader.how(file)) for file in self._files]
        return repr((self._id_column, self._limit, how, sorted(self._used), str(self.schema)))

    def batches(self, start_row: int = 0, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield the rows from `start_row` on, in input order; of `columns` (all by default) and always of the id.

        Parquet row groups before `start_row` are not read. Raises `InputError` when a file was changed meanwhile.
        """
        wanted = self.columns if columns is None else list(columns)
        if self._id_column is not None and self._id_column not in wanted:
            wanted.append(self._id_column)
        whole = self._whole.intersection(wanted)
        for first_row, piece in self._pieces(start_row, wanted):
            table = mark_whole(piece.table, whole) if whole else piece.table
            problems = {first_row + index: problem for index, problem in piece.problems.items()}
            yield Batch(first_row, table, problems)

    def row_ids(self, batch: Batch) -> pa.Array:
        """Return the ids of a batch's rows as strings: the id column, or the row numbers."""
        if self._id_column is None:
            first = batch.first_row
            return pa.array([str(row) for row in range(first, first + batch.table.num_rows)], pa.string())
        return pc.cast(with_known_zones(batch.table.column(self._id_column)), pa.string())

    def _pieces(self, start_row: int, columns: Sequence[str]) -> Iterator[tuple[int, Piece]]:
        """Yield pieces from `start_row` to the limit, each with the number of its first row."""
        if start_row >= self._limit:
            return
        row = 0  # that the file begins with
        for file in self._files:
            left = self._limit - row
            if left <= 0:
                return
            known = self._rows.get(file.name, self._reader.rows(file))
            if known is not None and row + known <= start_row:
                row += known
                continue
            # the reader skips rows itself only where it is sure that the file has them
            skip = max(0, start_row - row) if known is not None or file is self._files[-1] else 0
            row += skip
            check_unchanged(file)
            for piece in self._read(file, skip, left - skip, columns):
                if file.name not in self._kept:
                    check_unchanged(file)  # a reader may open the file anew for each part of it
                count = piece.table.num_rows
                ahead = max(0, start_row - row)
                if ahead < count:
                    yield row + ahead, _cut(piece, ahead, count)
                row += count

    def _read(self, file: File, skip: int, most: int, columns: Sequence[str]) -> Iterator[Piece]:
        """As `Reader.read`, from memory where the scan has kept the file."""
        kept = self._kept.get(file.name)
        if kept is None or not self._used.issuperset(columns):
            yield from self._reader.read(file, skip, most, columns)
            return
        for piece in kept:
            count = piece.table.num_rows
            if skip < count:
                cut = _cut(piece, skip, count)
                yield Piece(cut.table.select(columns), cut.problems)
            skip = max(0, skip - count)

    def _read_everything(self, check: IdCheck) -> Scan:
        kept: dict[str, list[Piece]] = {}
        room = KEPT_BYTES
        ids = [] if self._id_column is None else [self._id_column]
        columns = ids if self._reader.proven else [name for name in self.columns if name in self._used]
        files: list[ScannedFile] = []
        whole = WholeNumbers(pa.schema([self.schema.field(name) for name in columns]))
        row = 0
        for file in self._files:
            left = self._limit - row
            if left <= 0:
                break
            check_unchanged(file)
            known = self._reader.rows(file) if self._reader.proven else None
            if known is None or ids:
                known = 0
                for piece in self._reader.read(file, 0, left, columns):
                    if ids:
                        check.add(self._ids(file, known, piece))
                    whole.add(piece.table)
                    known += piece.table.num_rows
                    room -= piece.table.nbytes
                    if room >= 0:
                        kept.setdefault(file.name, []).append(piece)
                    else:
                        kept.clear()
            digest = content_digest(file)
            check_unchanged(file)
            files.append(ScannedFile(file.name, known, file.size, digest))
            self._rows[file.name] = known
            row += known
        if ids and (found := check.duplicate(self._all_ids)):
            value, rows = found
            raise InputError(
                f'input.id: column "{self._id_column}" of {self._path} has "{value}" more than once, in '
                f"{_places(files, rows)} (rows are counted from 0). Ids have to differ: remove the repeated rows, or "
                "leave out input.id so that the row numbers serve."
            )
        if not self._reader.proven:
            self._kept = kept
            self._whole = whole.columns
        how = [self._reader.how(file) for file in self._files]
        return Scan(row, _fingerprint(files, how, self._limit), self.schema, tuple(files))

    def _all_ids(self) -> Chunks:
        assert self._id_column is not None
        for row, piece in self._pieces(0, [self._id_column]):
            yield row, _comparable(piece.table.column(self._id_column))

    def _ids(self, file: File, row: int, piece: Piece) -> pa.Array:
        """Return a piece's ids for comparing; raise `InputError` if a row has none."""
        column = piece.table.column(self._id_column)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        ids = _comparable(column)
        empty = pc.equal(ids, "") if pa.types.is_string(ids.type) else pa.scalar(False)
        place = pc.index(pc.or_(pc.is_null(ids), pc.fill_null(empty, False)), True).as_py()
        if place >= 0:
            raise InputError(
                f'input.id: {file.path}, row {row + place} (counted from 0) has nothing in column "{self._id_column}". '
                "Give it an id, or leave out input.id so that the row numbers serve."
            )
        return ids


def _comparable(ids: pa.Array) -> pa.Array:
    """Return ids as 64-bit integers if they are integers, else as the strings that they become."""
    if pa.types.is_integer(ids.type) and not pa.types.is_uint64(ids.type):
        return pc.cast(ids, pa.int64())
    return pc.cast(with_known_zones(ids), pa.string())


def _cut(piece: Piece, start: int, stop: int) -> Piece:
    if start == 0 and stop == piece.table.num_rows:
        return piece
    problems = {index - start: problem for index, problem in piece.problems.items() if start <= index < stop}
    return Piece(piece.table.slice(start, stop - start), problems)


def _places(files: Sequence[ScannedFile], rows: Sequence[int]) -> str:
    """Return `rows 3 and 17`, or with several files `row 3 of a.csv and row 0 of b.csv`; the first five at most."""
    named = []
    for row in rows[:5]:
        place = row
        for file in files:
            if place < file.rows:
                named.append(f"row {place} of {file.name}" if len(files) > 1 else f"row {place}")
                break
            place -= file.rows
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return ", ".join(named) + more if more else f"{', '.join(named[:-1])} and {named[-1]}"


def _fingerprint(files: Sequence[ScannedFile], how: Sequence[str], limit: int) -> str:
    digest = hashlib.sha256(f"limit {limit}\n".encode())
    for file, read in zip(files, how, strict=False):  # the limit may leave files out
        digest.update(f"{file.size} {file.sha256} {read}\n".encode())
    return digest.hexdigest()
