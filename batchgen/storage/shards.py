"""Cuts rows into shards: contiguous ranges of the input, the unit of order, memory and publication. Pure.

The boundaries of a shard are recorded when it is opened and reused by every later run, so that a source that hands
out batches of another size can never shift them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from msgspec import Struct

from batchgen.money.ledger import Sums

SHARD_ROWS = 10_000
SHARD_BYTES = 64 * 1024 * 1024


class PartRecord(Struct, frozen=True):
    """What a published part holds: `bytes` and `crc` (CRC-32) of the whole file, and the sums over its rows."""

    bytes: int
    crc: int
    sums: Sums


class ShardRecord(Struct, frozen=True):
    """A shard's boundaries as the journal keeps them; with `part` it is sealed: its part is published."""

    number: int
    first_row: int
    rows: int
    part: PartRecord | None = None

    @property
    def sealed(self) -> bool:
        """Whether all its rows are in a published part."""
        return self.part is not None

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
        return Shard(self.number, self.first_row, self.table.select(list(columns)))


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

    `batches` are (number of the first row, batch) without gaps; the first may start anywhere up to
    `first_needed_row(known)`. `known` are the recorded shards, contiguous from row 0. A new shard takes at most `rows`
    rows and `max_bytes` bytes; a single row may be larger. An input of no rows (one empty batch) gives one empty
    shard, so that its part carries the columns. Raises `ValueError` when batches leave a gap, start too late, or end
    before the last recorded row that has no part.
    """
    ahead = deque(known)
    number = known[-1].number + 1 if known else 0
    pieces: list[pa.RecordBatch] = []
    start = end = -1  # rows of the shard being gathered; start is -1 between shards
    room = max_bytes
    row = -1
    schema = None
    for first_row, source_batch in batches:
        batch, schema = source_batch, source_batch.schema
        if row < 0:
            row = first_row
            if row > first_needed_row(known):
                raise ValueError(f"the input starts at row {row}, but row {first_needed_row(known)} is needed")
            while ahead and ahead[0].end_row <= row and ahead[0].rows:
                ahead.popleft()
        elif first_row != row:
            raise ValueError(f"the input goes from row {row} to row {first_row}")
        while batch.num_rows:
            if ahead:
                taken = min(batch.num_rows, ahead[0].end_row - row)
                if not ahead[0].sealed:
                    pieces.append(batch.slice(0, taken))
                row += taken
                batch = batch.slice(taken)
                if row == ahead[0].end_row:
                    record = ahead.popleft()
                    if not record.sealed:
                        yield Shard(record.number, record.first_row, pa.Table.from_batches(pieces))
                    pieces = []
                continue
            if start < 0:
                start, end, room = row, row + rows, max_bytes
            taken = _fitting(batch, end - row, room)
            if taken == 0 and not pieces:
                taken = 1
            if taken:
                piece = batch.slice(0, taken)
                pieces.append(piece)
                room -= piece.nbytes
                row += taken
                batch = batch.slice(taken)
            if row == end or (batch.num_rows and not _fitting(batch, 1, room)):
                yield Shard(number, start, pa.Table.from_batches(pieces))
                number, start, pieces = number + 1, -1, []
    lost = [record for record in ahead if not record.sealed and record.rows]
    if lost:
        raise ValueError(f"the input ends before row {lost[-1].end_row - 1}, which an earlier run has seen")
    if pieces:
        yield Shard(number, start, pa.Table.from_batches(pieces))
    elif row == 0 and schema is not None and not first_needed_row(known) and not any(r.sealed for r in known):
        yield Shard(0, 0, pa.Table.from_batches([], schema=schema))


def _fitting(batch: pa.RecordBatch, rows: int, max_bytes: int) -> int:
    """Return how many of the batch's first rows, at most `rows`, fit into `max_bytes`."""
    rows = min(rows, batch.num_rows)
    if batch.slice(0, rows).nbytes <= max_bytes:
        return rows
    return bisect_right(range(1, rows + 1), max_bytes, key=lambda count: batch.slice(0, count).nbytes)


def without_gaps(records: Iterable[ShardRecord]) -> list[ShardRecord]:
    """Return the records with the missing ones between them filled in, contiguous from row 0.

    After damage only some boundaries are known. The numbers missing between two known shards share the rows between
    them. Raises `ValueError` when the known ones contradict each other.
    """
    whole: list[ShardRecord] = []
    row = number = 0
    for record in sorted(records, key=lambda record: record.number):
        missing, gap = record.number - number, record.first_row - row
        if gap < 0 or (gap == 0) != (missing == 0) or missing > gap:
            raise ValueError(f"shard {record.number} starts at row {record.first_row}, after row {row - 1}")
        for share in range(missing):
            rows = gap // missing + (share < gap % missing)
            whole.append(ShardRecord(number, row, rows))
            number, row = number + 1, row + rows
        whole.append(record)
        number, row = record.number + 1, record.end_row
    return whole
