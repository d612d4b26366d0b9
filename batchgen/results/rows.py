"""The committed rows of one run or several, streamed: only the columns asked for, a batch at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import InputError, OutputError
from batchgen.files.arrow import arrow_file
from batchgen.files.disk_errors import REPEAT, unreadable
from batchgen.results.committed import Committed
from batchgen.storage.mirror import local_directory
from batchgen.storage.own_files import is_no_run
from batchgen.storage.parts import row_numbers
from batchgen.storage.result_schema import OWN_COLUMNS
from batchgen.stores.address import is_address
from batchgen.text.columns import missing_column

_BATCH_ROWS = 20_000
_BATCH_BYTES = 16 * 1024 * 1024
_PARSED = "parsed"
_CORE_COLUMNS = ("row_id", "status", "completion", "finished_at")
"""Every version of batchgen has written them."""


def carried_columns(schema: pa.Schema) -> list[str]:
    """Return the input columns among those of results."""
    return [name for name in schema.names if name not in OWN_COLUMNS]


def directories_of(*named: Path | str) -> list[Path]:
    """Return the output directories that paths and globs name, in order. Raises `OutputError` for none."""
    found: list[Path] = []
    for name in named:
        if is_address(str(name)) or Path(name).exists() or not has_magic(str(name)):
            found.append(local_directory(name))
            continue
        matching = sorted(path for path in map(Path, glob(str(name))) if path.is_dir())
        if not matching:
            raise OutputError(f"{name}: there is no such directory.")
        found += matching
    return list(dict.fromkeys(found))


class ResultRows:
    """The committed rows of output directories, one run after the other, each in input order.

    `schema` has the columns of all of them; where a run lacks one its rows have null.
    """

    def __init__(self, *named: Path | str) -> None:
        """Take paths and globs. Raise `OutputError` when nothing is answered there, or a part cannot be opened."""
        self.runs = [Committed(directory) for directory in directories_of(*named)]
        self.name = ", ".join(str(name) for name in named)
        for run in self.runs:
            if not run.parts:
                why = is_no_run(run.directory)
                hint = "" if why is None else f" {why}"
                raise OutputError(
                    f"{run.directory}: no row is answered there yet{_reason(run)}; run the job first.{hint}"
                )
        self.schema = _common_schema({run.directory: _opened(run.parts[0]).schema_arrow for run in self.runs})
        for run in self.runs:
            absent = [name for name in _CORE_COLUMNS if name not in _opened(run.parts[0]).schema_arrow.names]
            if absent:
                raise OutputError(f"{run.parts[0]} holds no results of batchgen: it has no column {absent[0]!r}.")
        self.rows = sum(_opened(part).metadata.num_rows for run in self.runs for part in run.parts)

    @property
    def notes(self) -> list[str]:
        """What could not be read."""
        return [note for run in self.runs for note in run.notes]

    @property
    def carried(self) -> list[str]:
        """The input columns that were carried into the results."""
        return carried_columns(self.schema)

    @property
    def answer_column(self) -> str:
        """The column that holds the answers: `parsed`, or the completion when the job had no `[response]`."""
        return _PARSED if _PARSED in self.schema.names else "completion"

    @property
    def parsed_fields(self) -> dict[str, pa.DataType]:
        """The fields of `parsed` and their types, none when the job had no `[response]`."""
        return (
            {field.name: field.type for field in self.schema.field(_PARSED).type}
            if _PARSED in self.schema.names
            else {}
        )

    def check_carried(self, columns: Sequence[str]) -> None:
        """Raise `InputError` for a column that the results do not have."""
        for column in columns:
            if column not in self.carried:
                raise InputError(
                    f"{self.name}: {missing_column(column, self.carried)} "
                    "Gold columns have to be among output.columns of the job."
                )

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches of about 16 MB, every page checked. Raises `OutputError` for a damaged part."""
        for run in self.runs:
            yield from self.batches_of(run, columns)

    def batches_of(self, run: Committed, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one of the runs in the same way."""
        wanted = pa.schema([self.schema.field(name) for name in dict.fromkeys(columns) if name in self.schema.names])
        for part in run.parts:
            file = _opened(part)
            present = [name for name in wanted.names if name in file.schema_arrow.names]
            try:
                for group in range(file.num_row_groups):
                    found = file.metadata.row_group(group)
                    at_once = max(1, min(_BATCH_ROWS, _BATCH_BYTES * found.num_rows // max(1, found.total_byte_size)))
                    for batch in file.iter_batches(at_once, row_groups=[group], columns=present):
                        yield _with_schema(batch, wanted)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise _damage(part, error) from None

    def at(self, run: Committed, places: Collection[int]) -> Iterator[tuple[int, int, pa.RecordBatch]]:
        """Yield those rows of a run with all their columns: (place in the run, row number, a batch of one row)."""
        wanted = sorted(places)
        start = 0
        for part in run.parts:
            file = _opened(part)
            first = start
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                here = [place for place in wanted if start <= place < end]
                if here:
                    try:
                        rows = file.read_row_group(group).take([place - start for place in here]).combine_chunks()
                    except (pa.ArrowException, OSError, ValueError) as error:
                        raise _damage(part, error) from None
                    batch = _with_schema(rows.to_batches()[0], self.schema)
                    rows_of = row_numbers(file)
                    for number, place in enumerate(here):
                        yield place, rows_of[place - first], batch.slice(number, 1)
                start = end


def iter_results(*named: Path | str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the committed rows of output directories in batches of about 16 MB, in memory that no number of rows needs.

    Paths and globs may be given; `columns` are all by default. Raises `OutputError` when nothing is answered there yet
    or a part is damaged, `InputError` for a column that there is not.
    """
    rows = ResultRows(*named)
    for column in columns or ():
        if column not in rows.schema.names:
            raise InputError(f"{rows.name}: {missing_column(column, rows.schema.names)}")
    return rows.batches(rows.schema.names if columns is None else columns)


def _damage(part: Path, error: Exception) -> OutputError:
    return OutputError(unreadable(part, error, REPEAT))


def _reason(run: Committed) -> str:
    return f" ({' '.join(run.notes)})" if run.notes else ""


def _with_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with just the columns of `schema`."""
    if batch.schema.equals(schema):
        return batch
    names = batch.schema.names
    columns = [
        _cast(batch.column(field.name), field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def _common_schema(schemas: dict[Path, pa.Schema]) -> pa.Schema:
    """Return a schema that all are read in; a column that is a number here and text there is text."""
    common: dict[str, pa.Field] = {}
    for directory, schema in schemas.items():
        for field in schema.remove_metadata():
            before = common.get(field.name, field)
            try:
                [common[field.name]] = pa.unify_schemas(
                    [pa.schema([before]), pa.schema([field])], promote_options="permissive"
                )
            except pa.ArrowException:
                if pa.types.is_nested(before.type) or pa.types.is_nested(field.type):
                    raise OutputError(
                        f"{directory}: column {field.name!r} is {field.type} there and {before.type} in the runs "
                        "before it; they cannot be read as one table."
                    ) from None
                common[field.name] = pa.field(field.name, pa.string())
    return pa.schema(list(common.values()))


def _opened(part: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(arrow_file(part), page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damage(part, error) from None
