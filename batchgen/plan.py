"""Rows into shards: contiguous ranges of the input, the unit of order, of memory and of publication. Pure.

The boundaries of a shard are recorded when it is opened and reused by every later run, so that a source that hands
out batches of another size can never shift them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from msgspec import Struct

SHARD_ROWS = 10_000
SHARD_BYTES = 64 * 1024 * 1024


class ShardRecord(Struct, frozen=True):
    """A shard's boundaries as the journal keeps them; `sealed` once its part is published."""

    number: int
    first_row: int
    rows: int
    sealed: bool = False

    @property
    def end_row(self) -> int:
        """The row after the last one."""
        return self.first_row + self.rows


class Shard(Struct, frozen=True):
    """An open shard. `table` has one line per row in input order; `first_row` is the 0-based number of its first."""

    number: int
    first_row: int
    table: pa.Table

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(self.table.num_rows)

    @property
    def end_row(self) -> int:
        """The row after the last one."""
        return self.first_row + self.rows

    def select(self, columns: Sequence[str]) -> Shard:
        """Return the shard with these columns only: what need not be carried leaves memory."""
        return Shard(self.number, self.first_row, self.table.select(columns))


def first_needed_row(known: Sequence[ShardRecord]) -> int:
    """Return the first row that is in no sealed shard: where the source may start reading."""
    row = 0
    for record in known:
        if not record.sealed:
            break
        row = record.end_row
    return row


def cut(
    batches: Iterable[tuple[int, pa.RecordBatch]],
    *,
    rows: int = SHARD_ROWS,
    max_bytes: int = SHARD_BYTES,
    known: Sequence[ShardRecord] = (),
) -> Iterator[Shard]:
    """Yield the shards that are not sealed, in input order.

    `batches` are (number of the first row, batch), without gaps; they may start late, at `first_needed_row(known)`,
    and then only there. `known` are the recorded shards, contiguous from row 0. A new shard takes at most `rows` rows
    and about `max_bytes` bytes (a single row may be larger). Raises `ValueError` when the batches have a gap, start
    inside a shard that is not sealed, or end inside a known one.
    """
    raise NotImplementedError
