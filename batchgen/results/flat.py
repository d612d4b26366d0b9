"""Results as one flat table for people's tools: the fields of `parsed` as columns of their own, words as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.results.committed import Committed
from batchgen.results.rows import ResultRows
from batchgen.results.where import Where
from batchgen.storage.result_schema import TURNS_COLUMN
from batchgen.text.arrow_values import map_type
from batchgen.text.columns import missing_column

_PARSED = "parsed"
_RUN = "run"


class FlatColumn(Struct, frozen=True):
    """A column of the table: a result column, or a `field` of `parsed`; with neither it names the row's directory."""

    name: str
    type: pa.DataType
    column: str | None
    field: str | None = None


class FlatRows:
    """The committed rows of `rows` as a flat table, `columns` of it, those that `failed` and `where` leave.

    The answers that came before a row's last one are in the table only where they are named.
    """

    def __init__(
        self, rows: ResultRows, *, columns: Sequence[str] = (), failed: bool = False, where: str | None = None
    ) -> None:
        """`columns`: names of the flat table, or `parsed.FIELD`. Raises `UsageError` for one that is not there."""
        self._rows = rows
        every = _columns(rows)
        self.columns = [_named(name, every) for name in columns] or [
            column for column in every if column.column != TURNS_COLUMN.name
        ]
        self._failed = failed
        self._where = None if where is None else Where(where, rows.schema)
        twice = [column.name for place, column in enumerate(self.columns) if column in self.columns[:place]]
        if twice:
            raise UsageError(f"--columns names {twice[0]!r} twice.")
        self.schema = pa.schema([(column.name, column.type) for column in self.columns])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches of about 16 MB."""
        wanted = [column.column for column in self.columns if column.column is not None] or ["row_id"]
        if self._failed:
            wanted.append("status")
        if self._where is not None:
            wanted += self._where.columns
        for run in self._rows.runs:
            for batch in self._rows.batches_of(run, wanted):
                yield self._flat(run, self._kept(batch))

    def _kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._failed:
            batch = batch.filter(pc.equal(batch.column("status").cast(pa.string()), "failed"))
        return batch if self._where is None else batch.filter(self._where.mask(batch))

    def _flat(self, run: Committed, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = []
        for column in self.columns:
            if column.column is None:
                array = pa.repeat(str(run.directory), batch.num_rows)
            else:
                array = batch.column(column.column)
                if column.field is not None:
                    array = pc.struct_field(array, column.field)
            arrays.append(array if array.type == column.type else array.cast(column.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _columns(rows: ResultRows) -> list[FlatColumn]:
    """Return all columns of the table; a name that is taken gets `parsed_` before it."""
    taken = {*rows.schema.names} - {_PARSED}
    found = []
    if len(rows.runs) > 1:
        found.append(FlatColumn(_free(_RUN, "batchgen", taken), pa.string(), None))
    for field in rows.schema:
        if field.name != _PARSED:
            found.append(FlatColumn(field.name, _plain(field.type), field.name))
            continue
        for inner in field.type:
            found.append(FlatColumn(_free(inner.name, _PARSED, taken), _plain(inner.type), _PARSED, inner.name))
    return found


def _free(name: str, prefix: str, taken: set[str]) -> str:
    while name in taken:
        name = f"{prefix}_{name}"
    taken.add(name)
    return name


def _named(name: str, columns: Sequence[FlatColumn]) -> FlatColumn:
    for column in columns:
        if name in (column.name, f"{column.column}.{column.field}"):
            return column
    raise UsageError(f"--columns: {missing_column(name, [column.name for column in columns])}")


def _plain(kind: pa.DataType) -> pa.DataType:
    return map_type(kind, lambda leaf: leaf.value_type if pa.types.is_dictionary(leaf) else leaf)
