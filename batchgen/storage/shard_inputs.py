"""The input columns of unfinished shards, kept beside the journal, which has answers only.

Whoever reads the answers of a shard before its part is out finds in here what they are joined with. An Arrow file for
each open shard, gone with its rows from the journal. It is written anew by every run, and without a sync: after a power
cut there may be none, until a run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.files.arrow import arrow_file
from batchgen.files.compute import pc
from batchgen.files.modes import open_file
from batchgen.storage.own_files import SHARD_INPUTS
from batchgen.storage.result_schema import Layout
from batchgen.storage.shards import Shard, ShardRecord

_NOTE = b"batchgen"
_ROW = "\0row"
"""The column of the rows' numbers: a pilot keeps the rows that it asks only."""


class _Note(Struct):
    """What the file says of itself."""

    carried: list[str]
    id: str | None


class ShardInputs(Struct, frozen=True):
    """What is known of a shard's rows: `table` has a line for each of `row_numbers`, which ascend."""

    table: pa.Table
    row_numbers: list[int]
    carried: list[str]
    id: str | None

    def shard(self, record: ShardRecord) -> Shard:
        """Return the shard, with nulls for the rows that are not known."""
        if len(self.row_numbers) == record.rows:
            return Shard(record.number, record.first_row, self.table)
        if not self.table.num_columns:
            return Shard(record.number, record.first_row, pa.table({_ROW: pa.nulls(record.rows)}).select([]))
        places: list[int | None] = [None] * record.rows
        for place, row in enumerate(self.row_numbers):
            places[row - record.first_row] = place
        return Shard(record.number, record.first_row, self.table.take(pa.array(places, pa.int64())))


def inputs_path(directory: Path, number: int) -> Path:
    """Return where the input columns of an open shard are."""
    return directory / SHARD_INPUTS.replace("*", f"{number:05d}")


def keep_inputs(directory: Path, shard: Shard, layout: Layout, only: AbstractSet[int] | None = None) -> None:
    """Write the input columns of a shard, `only` these of its rows. Raises `OSError`; what was written is gone then."""
    rows = pa.array(range(shard.first_row, shard.end_row), pa.int64())
    table = shard.table.append_column(_ROW, rows)
    if only is not None:
        table = table.filter(pc.is_in(rows, pa.array(sorted(only), pa.int64())))
    note = msgspec.json.encode(_Note(list(layout.carried.names), layout.id))
    schema = table.schema.with_metadata({**(table.schema.metadata or {}), _NOTE: note})
    path = inputs_path(directory, shard.number)
    aside = path.with_name(f".{path.name}.partial")
    try:
        os.close(open_file(aside, os.O_WRONLY | os.O_TRUNC))
        with pa.OSFile(os.fsencode(aside), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_table(table.replace_schema_metadata(schema.metadata))
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def read_inputs(directory: Path, number: int) -> ShardInputs | None:
    """Return the input columns of an open shard; None if there are none that can be read."""
    try:
        with pa.ipc.open_file(arrow_file(inputs_path(directory, number))) as file:
            table = file.read_all()
        note = msgspec.json.decode((table.schema.metadata or {})[_NOTE], type=_Note)
        rows = table.column(_ROW).to_pylist()
        table = table.replace_schema_metadata(None)  # a table without columns would forget its length here
        return ShardInputs(table.drop_columns([_ROW]), rows, note.carried, note.id)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None


def forget_inputs(directory: Path, number: int) -> None:
    """Remove the input columns of a shard whose part is out; the next run removes what the disk does not let go."""
    with suppress(OSError):
        os.unlink(inputs_path(directory, number))


def forget_sealed(directory: Path, numbers: AbstractSet[int]) -> None:
    """Remove those of some shards, where a kill has left them behind."""
    for path in {inputs_path(directory, number) for number in numbers} & {*directory.glob(SHARD_INPUTS)}:
        path.unlink()
