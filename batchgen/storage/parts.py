"""Writes and reads parts: one Parquet file of results for each shard.

A part is written aside under a name that no reader of `*.parquet` or of a directory takes up, synced, and renamed: it
appears whole or not at all. Every page carries a checksum, and the footer what the part holds, so that a run can be
taken up from its parts alone.

A run that stops leaves an unfinished part of each shard that it could not finish, under the name of the whole one,
which replaces it later: whoever reads the directory finds every row once at any time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.files.arrow import arrow_file
from batchgen.files.checksum import checksum
from batchgen.files.disk_errors import is_refusal, naming
from batchgen.files.replace import ReplacementFile, replacing
from batchgen.money.ledger import Sums, columns_of
from batchgen.storage.identity import RunIdentity
from batchgen.storage.result_schema import (
    _FREE_TEXT,
    RESULT_COLUMNS,
    Layout,
    as_portable,
    has_result_columns,
    is_worded,
    part_schema,
    result_columns,
    table_results,
)
from batchgen.storage.shards import PartRecord, Shard, ShardRecord
from batchgen.values import Result
from batchgen.version import __version__

PIECE_ROWS = 500
"""Rows whose columns are made together: so few are still in the core's caches when the next column is made of them,
which saves a quarter of the time."""

_NOTE, _NOTE_CRC = b"batchgen", b"batchgen.crc"


class _Note(Struct):
    """What a part says about itself in its footer."""

    version: str
    number: int
    first_row: int
    rows: int
    sums: msgspec.Raw
    run: RunIdentity = RunIdentity()
    columns: list[str] = []
    present: bytes | None = None
    """Of an unfinished part: a bit for each row of the shard, set where the part has it."""

    @property
    def row_numbers(self) -> Sequence[int]:
        """The numbers of the rows in the part, in order."""
        if self.present is None:
            return range(self.first_row, self.first_row + self.rows)
        return [self.first_row + place for place in range(self.rows) if self.present[place >> 3] >> (place & 7) & 1]


class PartContent(NamedTuple):
    """What is in a part: its shard, sealed if all rows of it are there; the numbers of the rows; the rows in slices."""

    record: ShardRecord
    row_numbers: Sequence[int]
    slices: Iterator[pa.Table]


class DamagedPartError(Exception):
    """A part that cannot be read or is not what its footer says."""


def part_path(directory: Path, number: int) -> Path:
    """Return where a shard's part is published."""
    return directory / f"part-{number:05d}.parquet"


def unfinished_parts(directory: Path, whole: Container[int] = ()) -> list[Path]:
    """Return the parts that lack rows of their shard; damaged ones are not among them, nor those known as `whole`."""
    found = []
    for number in part_numbers(directory):
        if number in whole:
            continue
        with suppress(DamagedPartError, FileNotFoundError):
            if is_unfinished(part_path(directory, number)):
                found.append(part_path(directory, number))
    return found


def are_whole(directory: Path, expected: Sequence[int]) -> bool:
    """Whether a complete run's parts are all there as they were written; `expected` are their CRC-32."""
    return part_numbers(directory) == list(range(len(expected))) and all(
        zlib.crc32(part_path(directory, number).read_bytes()) == crc for number, crc in enumerate(expected)
    )


def part_numbers(directory: Path) -> list[int]:
    """Return the numbers of the parts published in a directory, in order."""
    names = (path.stem.removeprefix("part-") for path in directory.glob("part-*.parquet"))
    return sorted(int(name) for name in names if name.isdecimal())


def write_part(
    directory: Path,
    shard: Shard,
    slices: Iterable[Sequence[Result]],
    layout: Layout,
    identity: RunIdentity = RunIdentity(),  # noqa: B008 - frozen
    *,
    unfinished: bool = False,
) -> PartRecord:
    """Publish a shard: its carried columns joined with its results, which come in order, a row group to each slice.

    All rows have to come, or those there are of an `unfinished` one. A slice or two are in memory at a time. The rename
    and its directory are synced when this returns. Raises `OSError` when the disk refuses; nothing is published then,
    and what was written aside is replaced by the next try.
    """
    sums = Sums()
    schema = part_schema(layout)
    writer: pq.ParquetWriter | None = None
    count = 0
    present = bytearray(-(-shard.rows // 8))
    with replacing(part_path(directory, shard.number)) as file, ExitStack() as stack:
        for results in slices:
            table = _joined(shard, results, layout, schema, sums)
            count += len(results)
            if unfinished:
                for result in results:
                    place = result.row - shard.first_row
                    present[place >> 3] |= 1 << (place & 7)
            if writer is None:
                writer = stack.enter_context(_open_writer(file, schema, table))
            writer.write_table(table, row_group_size=max(1, table.num_rows))
        if writer is None or (count != shard.rows and not unfinished):
            raise ValueError(f"shard {shard.number} has {shard.rows} rows, and {count} results came")
        note = msgspec.json.encode(
            _Note(
                __version__,
                shard.number,
                shard.first_row,
                shard.rows,
                msgspec.Raw(sums.to_json()),
                identity,
                schema.names,
                bytes(present) if unfinished else None,
            )
        )
        writer.add_key_value_metadata({_NOTE: note, _NOTE_CRC: str(zlib.crc32(note))})
        stack.close()
        return PartRecord(file.size, file.crc, sums)


def _open_writer(file: ReplacementFile, schema: pa.Schema, first: pa.Table) -> pq.ParquetWriter:
    """Open a Parquet file in `file`; its first rows tell which columns are worth a dictionary."""
    return pq.ParquetWriter(
        pa.PythonFile(file, "w"),
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if is_worded(name, first)],
        write_statistics=[field.name for field in RESULT_COLUMNS if field.name not in _FREE_TEXT],
        write_page_checksum=True,
    )


def _joined(shard: Shard, results: Sequence[Result], layout: Layout, schema: pa.Schema, sums: Sums) -> pa.Table:
    """Return the results joined with their rows of the shard, and add them to `sums`."""
    starts = range(0, max(1, len(results)), PIECE_ROWS)
    pieces = [_piece(shard, results[start : start + PIECE_ROWS], layout, schema, sums) for start in starts]
    return pa.concat_tables(pieces).unify_dictionaries()


def _piece(shard: Shard, results: Sequence[Result], layout: Layout, schema: pa.Schema, sums: Sums) -> pa.Table:
    """Return some results joined with their rows of the shard; nearly always these follow each other."""
    found = columns_of(results)
    sums.add_columns(found)
    places = [row - shard.first_row for row in found["row"]]
    if not places or places[-1] - places[0] == len(places) - 1:
        rows = shard.table.slice(places[0] if places else 0, len(places))
    else:
        rows = shard.table.take(places)
    columns = {name: rows.column(name) for name in layout.carried.names}
    columns |= result_columns(rows, results, found, layout)
    return pa.Table.from_arrays([as_portable(columns[field.name], field.type) for field in schema], schema=schema)


def read_part(path: Path) -> tuple[ShardRecord, pa.Table]:
    """Return what a part is and all its columns, every page checked. Raises `DamagedPartError`, `OSError`."""
    content = read_part_slices(path)
    return content.record, pa.concat_tables(content.slices)


def read_part_slices(path: Path) -> PartContent:
    """Return what a part is, and its rows as they are asked for, a row group at a time: long answers are many groups.

    Every page is checked. Raises `DamagedPartError`, `OSError` (the iterator too).
    """
    size, crc = checksum(path)
    with _as_damage(path), pq.ParquetFile(arrow_file(path)) as file:
        record, rows = _record(file, size, crc)
        if file.metadata.num_rows != len(rows) or not has_result_columns(file.schema_arrow):
            raise ValueError("it does not have the rows and columns that its footer names")
    return PartContent(record, rows, _row_groups(path))


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with _as_damage(path), pq.ParquetFile(arrow_file(path), page_checksum_verification=True) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)
        if not file.num_row_groups:
            yield file.schema_arrow.empty_table()


def read_part_record(path: Path, crc: int) -> ShardRecord:
    """Return what a part is, the whole file being checked by its CRC-32. Raises `DamagedPartError`, `OSError`."""
    size, found = checksum(path)
    if found != crc:
        raise DamagedPartError(f"{path.name} has changed since it was written")
    with _as_damage(path), pq.ParquetFile(arrow_file(path)) as file:
        return _record(file, size, crc)[0]


def part_identity(path: Path) -> RunIdentity:
    """Return which run a part belongs to. Raises `DamagedPartError`, `OSError`."""
    with _as_damage(path), pq.ParquetFile(arrow_file(path)) as file:
        return _note(file).run


def is_unfinished(path: Path) -> bool:
    """Whether a part lacks rows of its shard; a later one replaces it. Raises `DamagedPartError`, `OSError`."""
    with _as_damage(path), pq.ParquetFile(arrow_file(path)) as file:
        return _note(file).present is not None


def row_numbers(file: pq.ParquetFile) -> Sequence[int]:
    """Return the numbers of the rows in an open part, in order. Raises `ValueError` for a damaged footer."""
    return _note(file).row_numbers


def _note(file: pq.ParquetFile) -> _Note:
    notes = file.metadata.metadata or {}
    text = notes.get(_NOTE, b"")
    if notes.get(_NOTE_CRC) != b"%d" % zlib.crc32(text):
        raise ValueError("its footer is damaged or not batchgen's")
    return msgspec.json.decode(text, type=_Note)


def _record(file: pq.ParquetFile, size: int, crc: int) -> tuple[ShardRecord, Sequence[int]]:
    note = _note(file)
    if note.columns and file.schema_arrow.names != note.columns:  # names are in no page, so that no checksum has them
        raise ValueError("its columns are not those that its footer names")
    part = PartRecord(size, crc, Sums.from_json(bytes(note.sums))) if note.present is None else None
    return ShardRecord(note.number, note.first_row, note.rows, part), note.row_numbers


@contextmanager
def _as_damage(path: Path) -> Iterator[None]:
    """Tell what is wrong with a file's content from a disk that does not give it now: only the rows of the first are
    asked again."""
    with naming(path):
        try:
            yield
        except (pa.ArrowException, OSError, ValueError) as error:  # msgspec's and Unicode errors are ValueErrors
            if is_refusal(error):
                raise
            raise DamagedPartError(f"{path.name} cannot be read ({error})") from None


def part_results(content: PartContent, input_cost: Callable[[Result], Decimal | None]) -> Iterator[Result]:
    """Yield the rows of a part as results again, see `table_results`."""
    done = 0
    for table in content.slices:
        yield from table_results(table, content.row_numbers[done : done + table.num_rows], input_cost)
        done += table.num_rows


def published_parts(directory: Path, run: str = "") -> list[Path]:
    """Return the parts in a directory, in order. Raises `OutputError` if one of them is of another run.

    `run` is the run whose directory it is; without it the parts have to be of one run.
    """
    found = [part_path(directory, number) for number in part_numbers(directory)]
    for part in found:
        try:
            named = part_identity(part).run
        except (DamagedPartError, FileNotFoundError):
            continue  # who reads it will say so; or it was taken back by a run that goes on
        run = run or named
        if named != run:
            raise OutputError(
                f"{part} is a part of another run. Run the job again to have it set aside and its rows done anew."
            )
    return found
