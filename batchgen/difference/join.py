"""Two streams of rows → batches of rows with the same `row_id`, side by side, in bounded memory."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

Pair = tuple[pa.RecordBatch, pa.RecordBatch]

MOST_WAITING = 50_000
"""Rows that wait for their other half in memory, both sides together."""

_MOST_WAITING_BYTES = 128 * 1024 * 1024

_FILES = 64  # a side; 50 million rows give 800,000 a file


def joined(
    a: Iterator[pa.RecordBatch], b: Iterator[pa.RecordBatch], most_waiting: int = MOST_WAITING
) -> Iterator[Pair]:
    """Yield batches of A and of B whose rows have the same `row_id`, each pair once both its rows are read.

    Rows of one side alone are left out.
    """
    sides = (a, b)
    waiting: list[pa.RecordBatch | None] = [None, None]
    read = [0, 0]
    live = [True, True]
    while live[0] or live[1]:
        side = 0 if live[0] and (read[0] <= read[1] or not live[1]) else 1
        batch = next(sides[side], None)
        if batch is None:
            live[side] = False
            continue
        read[side] += batch.num_rows
        other = waiting[1 - side]
        if other is not None:
            mine, theirs, batch, waiting[1 - side] = _matched(batch, other)
            if mine.num_rows:
                yield (mine, theirs) if side == 0 else (theirs, mine)
        if not live[1 - side]:
            continue
        earlier = waiting[side]
        waiting[side] = batch if earlier is None else pa.concat_batches([earlier, batch])
        held = [found for found in waiting if found is not None]
        too_large = sum(found.nbytes for found in held) > _MOST_WAITING_BYTES
        if too_large or sum(found.num_rows for found in held) > most_waiting:
            rest = [chain([] if found is None else [found], sides[place]) for place, found in enumerate(waiting)]
            yield from _joined_by_files(*rest)
            return


def _matched(
    batch: pa.RecordBatch, other: pa.RecordBatch
) -> tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch, pa.RecordBatch]:
    """Return the rows of `batch` that `other` has, those of `other` beside them, and what is left of both."""
    places = pc.index_in(batch.column("row_id"), value_set=other.column("row_id"))
    found = pc.is_valid(places)
    mine = batch.filter(found)
    taken = pc.is_in(other.column("row_id"), value_set=mine.column("row_id"))
    return mine, other.take(places.drop_null()), batch.filter(pc.invert(found)), other.filter(pc.invert(taken))


def _joined_by_files(a: Iterator[pa.RecordBatch], b: Iterator[pa.RecordBatch]) -> Iterator[Pair]:
    """Part both sides by a hash of `row_id` into files of our own making, and join file by file."""
    with ExitStack() as stack:
        files = [[stack.enter_context(tempfile.TemporaryFile()) for _ in range(_FILES)] for _ in (a, b)]
        for side, batches in zip(files, (a, b), strict=True):
            _part(batches, side)
        for file_a, file_b in zip(*files, strict=True):
            other = _read(file_a)
            mine = _read(file_b)
            if other is not None and mine is not None:
                found_b, found_a, _, _ = _matched(mine, other)
                if found_a.num_rows:
                    yield found_a, found_b


def _part(batches: Iterator[pa.RecordBatch], files: Sequence[BinaryIO]) -> None:
    """Write each row to the file that its `row_id` belongs to."""
    with ExitStack() as stack:
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        for batch in batches:
            if not writers:
                writers = [stack.enter_context(pa.ipc.new_stream(file, batch.schema)) for file in files]
            numbers = [zlib.crc32(row_id.encode()) % _FILES for row_id in batch.column("row_id").to_pylist()]
            places: list[list[int]] = [[] for _ in files]
            for row, number in enumerate(numbers):
                places[number].append(row)
            for writer, rows in zip(writers, places, strict=True):
                if rows:
                    writer.write_batch(batch.take(pa.array(rows, pa.int64())))


def _read(file: BinaryIO) -> pa.RecordBatch | None:
    file.seek(0)
    try:
        batches = list(pa.ipc.open_stream(file))
    except pa.ArrowInvalid:  # nothing was written
        return None
    return pa.concat_batches(batches) if batches else None
