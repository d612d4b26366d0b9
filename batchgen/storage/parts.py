"""Results into Parquet: the columns of the contract, a part per shard, the cost summary.

A part is written aside under a name that no reader of `*.parquet` or of a directory takes up, synced, and renamed: it
appears whole or not at all. Every page carries a checksum, and the footer what the part holds, so that a run can be
taken up from its parts alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from batchgen import __version__
from batchgen.errors import OutputError
from batchgen.files.replace import ReplacementFile, replace_file, replacing
from batchgen.money.ledger import Sums
from batchgen.storage.shards import PartRecord, Shard, ShardRecord
from batchgen.values import FailureKind, Result, Status

_WORD = pa.dictionary(pa.int32(), pa.string())
_MONEY = pa.decimal128(20, 12)
_MONEY_SUM = pa.decimal128(38, 12)

RESULT_COLUMNS = pa.schema(
    [
        ("row_id", pa.string()),
        ("status", _WORD),
        ("completion", pa.string()),
        ("reasoning", pa.string()),
        ("tool_calls", pa.string()),
        ("finish_reason", _WORD),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("total_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("cost", _MONEY),
        ("model", pa.string()),
        ("request_id", pa.string()),
        ("attempts", pa.int32()),
        ("latency_ms", pa.float64()),
        ("http_status", pa.int16()),
        ("error_kind", _WORD),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("finished_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""The result columns in their order; `parsed`, when there is one, comes after `tool_calls`."""

_PARSED_AFTER = "tool_calls"
_FREE_TEXT = frozenset({"row_id", "completion", "reasoning", "tool_calls", "request_id", "error_message"})
_LONGEST_WORD = 64  # bytes, on average
_LABEL_MEASURES = ("confidence", "agreement")
_NOTE, _NOTE_CRC = b"batchgen", b"batchgen.crc"
_READ_BYTES = 1 << 20


class Parsed(Struct, frozen=True):
    """The `parsed` column: its Arrow type and how the answers of a shard become it (same length, null where none)."""

    type: pa.DataType
    read: Callable[[Sequence[Result]], pa.Array]


class Layout(Struct, frozen=True):
    """The columns of a part: `carried` input columns (names and types), `id` the column that gives `row_id`."""

    carried: pa.Schema
    id: str | None = None
    parsed: Parsed | None = None


class PriceLabel(Struct, frozen=True):
    """Where a model's price comes from; all None when it has none."""

    currency: str | None = None
    date: date | None = None
    source: str | None = None


class _Note(Struct):
    """What a part says about itself in its footer."""

    version: str
    number: int
    first_row: int
    rows: int
    sums: msgspec.Raw


class DamagedPartError(Exception):
    """A part that cannot be read or is not what its footer says."""


def part_path(directory: Path, number: int) -> Path:
    """Return where a shard's part is published."""
    return directory / f"part-{number:05d}.parquet"


def part_numbers(directory: Path) -> list[int]:
    """Return the numbers of the parts published in a directory, in order."""
    names = (path.stem.removeprefix("part-") for path in directory.glob("part-*.parquet"))
    return sorted(int(name) for name in names if name.isdecimal())


def part_schema(layout: Layout) -> pa.Schema:
    """Return the columns of a part, carried ones first."""
    schema = pa.schema([field.remove_metadata() for field in layout.carried])
    for field in RESULT_COLUMNS:
        schema = schema.append(field)
        if field.name == _PARSED_AFTER and layout.parsed is not None:
            schema = schema.append(pa.field("parsed", layout.parsed.type))
    return schema


def write_part(directory: Path, shard: Shard, slices: Iterable[Sequence[Result]], layout: Layout) -> PartRecord:
    """Publish a shard: its carried columns joined with its results, which come in order, a row group to each slice.

    A slice or two are in memory at a time. The rename and its directory are synced when this returns. Raises
    `OSError` when the disk refuses; nothing is published then, and what was written aside is replaced by the next try.
    """
    sums = Sums()
    schema = part_schema(layout)
    writer: pq.ParquetWriter | None = None
    row = 0
    with replacing(part_path(directory, shard.number)) as file, ExitStack() as stack:
        for results in slices:
            sums.add_all(results)
            table = _joined(shard, row, results, layout, schema)
            row += len(results)
            if writer is None:
                writer = stack.enter_context(_open_writer(file, schema, table))
            writer.write_table(table, row_group_size=max(1, table.num_rows))
        if writer is None or row != shard.rows:
            raise ValueError(f"shard {shard.number} has {shard.rows} rows, and {row} results came")
        note = msgspec.json.encode(
            _Note(__version__, shard.number, shard.first_row, shard.rows, msgspec.Raw(sums.to_json()))
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
        use_dictionary=[name for name in schema.names if _is_worded(name, first)],
        write_statistics=[field.name for field in RESULT_COLUMNS if field.name not in _FREE_TEXT],
        write_page_checksum=True,
    )


def _joined(shard: Shard, start: int, results: Sequence[Result], layout: Layout, schema: pa.Schema) -> pa.Table:
    """Return the shard's rows from its row `start` on, as many as there are results, joined with these."""
    rows = Shard(shard.number, shard.first_row + start, shard.table.slice(start, len(results)))
    columns = {name: rows.table.column(name) for name in layout.carried.names} | _result_columns(rows, results, layout)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _result_columns(shard: Shard, results: Sequence[Result], layout: Layout) -> dict[str, pa.Array]:
    """Return the result columns by name; conversion is by column, which costs a third of conversion by row."""

    def column(name: str) -> pa.Array:
        return pa.array(list(map(attrgetter(name), results)), RESULT_COLUMNS.field(name).type)

    columns = {name: column(name) for name in RESULT_COLUMNS.names if name in Result.__struct_fields__}
    columns["cost"] = pa.array(
        [None if r.input_cost is None or r.output_cost is None else r.input_cost + r.output_cost for r in results],
        _MONEY,
    )
    columns["finished_at"] = pa.array([result.finished_at_us for result in results], pa.int64()).cast(
        RESULT_COLUMNS.field("finished_at").type
    )
    if layout.id is None:
        numbers: Any = pa.array(range(shard.first_row, shard.end_row), pa.int64())
    else:
        numbers = shard.table.column(layout.id)
    columns["row_id"] = numbers.cast(pa.string())
    if layout.parsed is not None:
        columns["parsed"] = layout.parsed.read(results)
    return columns


def _is_worded(name: str, table: pa.Table) -> bool:
    """Whether a column is worth a Parquet dictionary: hashing long texts costs 3 µs a row and saves nothing."""
    short = table.column(name).nbytes <= _LONGEST_WORD * table.num_rows
    return short and name not in _FREE_TEXT and name != "parsed"


def read_part(path: Path) -> tuple[ShardRecord, pa.Table]:
    """Return what a part is and all its columns, every page checked. Raises `DamagedPartError`, `FileNotFoundError`."""
    record, slices = read_part_slices(path)
    return record, pa.concat_tables(slices)


def read_part_slices(path: Path) -> tuple[ShardRecord, Iterator[pa.Table]]:
    """Return what a part is, and its rows as they are asked for, a row group at a time: long answers are many groups.

    Every page is checked. Raises `DamagedPartError` (the iterator too), `FileNotFoundError`.
    """
    size, crc = _checksum(path)
    with _as_damage(path), pq.ParquetFile(path) as file:
        record = _record(file, size, crc)
        if file.metadata.num_rows != record.rows or not _has_result_columns(file.schema_arrow):
            raise ValueError("it does not have the rows and columns that its footer names")
    return record, _row_groups(path)


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with _as_damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)
        if not file.num_row_groups:
            yield file.schema_arrow.empty_table()


def read_part_record(path: Path, crc: int) -> ShardRecord:
    """Return what a part is, the whole file being checked by its CRC-32. Raises `DamagedPartError`."""
    size, found = _checksum(path)
    if found != crc:
        raise DamagedPartError(f"{path.name} has changed since it was written")
    with _as_damage(path), pq.ParquetFile(path) as file:
        return _record(file, size, crc)


def _checksum(path: Path) -> tuple[int, int]:
    """Return a file's size and CRC-32."""
    size = crc = 0
    with open(path, "rb") as stream:
        while piece := stream.read(_READ_BYTES):
            size += len(piece)
            crc = zlib.crc32(piece, crc)
    return size, crc


def _record(file: pq.ParquetFile, size: int, crc: int) -> ShardRecord:
    notes = file.metadata.metadata or {}
    text = notes.get(_NOTE, b"")
    if notes.get(_NOTE_CRC) != b"%d" % zlib.crc32(text):
        raise ValueError("its footer is damaged or not batchgen's")
    note = msgspec.json.decode(text, type=_Note)
    part = PartRecord(size, crc, Sums.from_json(bytes(note.sums)))
    return ShardRecord(note.number, note.first_row, note.rows, part)


@contextmanager
def _as_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # msgspec's and Unicode errors are ValueErrors
        raise DamagedPartError(f"{path.name} cannot be read ({error})") from None


def _has_result_columns(schema: pa.Schema) -> bool:
    return all(schema.get_field_index(f.name) >= 0 and schema.field(f.name).type == f.type for f in RESULT_COLUMNS)


def part_results(
    slices: Iterable[pa.Table], first_row: int, input_cost: Callable[[Result], Decimal | None]
) -> Iterator[Result]:
    """Yield the rows of a part's slices as results again, see `table_results`."""
    for table in slices:
        yield from table_results(table, first_row, input_cost)
        first_row += table.num_rows


def table_results(table: pa.Table, first_row: int, input_cost: Callable[[Result], Decimal | None]) -> Iterator[Result]:
    """Yield a part's rows as results again.

    A part has only the row's cost: `input_cost` computes the input's share of it anew from the row's tokens; the rest
    is the output's, so that the total never changes. How sure a label is stands in `parsed`.
    """
    names = [name for name in Result.__struct_fields__ if name in RESULT_COLUMNS.names]
    columns = [table.column(name).to_pylist() for name in names]
    kinds = columns[names.index("error_kind")]
    costs = table.column("cost").to_pylist()
    times = table.column("finished_at").cast(pa.int64()).to_pylist()
    measures = _label_measures(table)
    for place, values in enumerate(zip(*columns, strict=True)):
        fields = dict(zip(names, values, strict=True))
        fields["status"] = Status(fields["status"])
        fields.update((name, values[place]) for name, values in measures.items())
        fields["error_kind"] = None if kinds[place] is None else FailureKind(kinds[place])
        result = Result(row=first_row + place, finished_at_us=times[place], **fields)
        cost = costs[place]
        if cost is not None:
            share = min(max(input_cost(result) or Decimal(0), Decimal(0)), cost)
            result = msgspec.structs.replace(result, input_cost=share, output_cost=cost - share)
        yield result


def _label_measures(table: pa.Table) -> dict[str, list[float | None]]:
    """Return what `parsed` says of labels beside the label itself, by field of `Result`."""
    if table.schema.get_field_index("parsed") < 0:
        return {}
    fields = {field.name: field.type for field in table.schema.field("parsed").type}
    if not fields.keys() <= {"label", *_LABEL_MEASURES}:
        return {}  # a schema's own fields
    parsed = table.column("parsed").combine_chunks()
    names = [name for name in _LABEL_MEASURES if fields.get(name) == pa.float64()]
    return {name: pc.struct_field(parsed, name).to_pylist() for name in names}


def write_cost_summary(path: Path, sums: Sums, label: Callable[[str | None], PriceLabel]) -> None:
    """Write the cost summary: a row per group, sorted; `label` gives currency, date and source of a model's price."""
    groups = sorted(sums, key=lambda pair: tuple(word or "" for word in pair[0]))
    labels = [label(group.model) for group, _ in groups]
    fields: Mapping[str, tuple[list[Any], pa.DataType]] = {
        "model": ([g.model for g, _ in groups], pa.string()),
        "status": ([g.status for g, _ in groups], pa.string()),
        "finish_reason": ([g.finish_reason for g, _ in groups], pa.string()),
        "error_kind": ([g.error_kind for g, _ in groups], pa.string()),
        "rows": ([t.rows for _, t in groups], pa.int64()),
        "attempts": ([t.attempts for _, t in groups], pa.int64()),
        "input_tokens": ([t.input_tokens for _, t in groups], pa.int64()),
        "output_tokens": ([t.output_tokens for _, t in groups], pa.int64()),
        "total_tokens": ([t.total_tokens for _, t in groups], pa.int64()),
        "cached_tokens": ([t.cached_tokens for _, t in groups], pa.int64()),
        "reasoning_tokens": ([t.reasoning_tokens for _, t in groups], pa.int64()),
        "input_cost": ([t.input_cost for _, t in groups], _MONEY_SUM),
        "output_cost": ([t.output_cost for _, t in groups], _MONEY_SUM),
        "cost": ([t.cost for _, t in groups], _MONEY_SUM),
        "currency": ([label.currency for label in labels], pa.string()),
        "price_date": ([label.date for label in labels], pa.date32()),
        "price_source": ([label.source for label in labels], pa.string()),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: pa.array(values, kind) for name, (values, kind) in fields.items()}), sink)
    replace_file(path, sink.getvalue())


def read_results(path: Path | str) -> pa.Table:
    """Return the published rows of an output directory (or of its `results`) in input order.

    Raises `OutputError` when there is none yet or a part is damaged.
    """
    directory = Path(path)
    if (directory / "results").is_dir():
        directory = directory / "results"
    parts = [part_path(directory, number) for number in part_numbers(directory)]
    if not parts:
        raise OutputError(f"{path}: no part has been published there yet")
    try:
        return pa.concat_tables([read_part(part)[1].replace_schema_metadata(None) for part in parts])
    except DamagedPartError as error:
        raise OutputError(f"{directory}: {error}. Run the job again to do its rows anew.") from None
