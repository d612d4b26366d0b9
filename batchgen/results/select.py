"""Which of the committed rows `show` is to show: in one pass over the columns that say so, then those rows alone."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.results.committed import Committed
from batchgen.results.rows import ResultRows
from batchgen.results.where import Where


class Selection(Struct, frozen=True, kw_only=True):
    """Rows of these ids, all of them; else of those that `failed` and `where` leave the `most` that ended last, or as
    many at random.
    """

    ids: Sequence[str] = ()
    failed: bool = False
    where: str | None = None
    most: int = 3
    at_random: bool = False
    seed: int | None = None


class SelectedRow(Struct, frozen=True):
    """A row of a run: its number in the input, and a batch of one row."""

    run: Committed
    number: int
    batch: pa.RecordBatch


def select_rows(rows: ResultRows, wanted: Selection) -> tuple[list[SelectedRow], int]:
    """Return the rows that are wanted, in the order in which they ended, and how many there were to choose from.

    Raises `UsageError` for a condition that cannot be read and for ids that are not there.
    """
    where = None if wanted.where is None else Where(wanted.where, rows.schema)
    kept = _Kept(wanted)
    columns = ["row_id", "status", "finished_at", *(where.columns if where is not None else ())]
    for number, run in enumerate(rows.runs):
        start = 0
        for batch in rows.batches_of(run, columns):
            mask = pa.array([True] * batch.num_rows)
            if wanted.failed:
                mask = pc.equal(batch.column("status").cast(pa.string()), "failed")
            if where is not None:
                mask = pc.and_(mask, where.mask(batch))
            if wanted.ids:
                mask = pc.and_(mask, pc.is_in(batch.column("row_id"), pa.array([*wanted.ids], pa.string())))
            places = pc.indices_nonzero(mask)
            kept.add(number, start, places, batch)
            start += batch.num_rows
    missing = [row_id for row_id in wanted.ids if row_id not in kept.ids]
    if missing:
        raise UsageError(f"{rows.name}: no answered row has the id {missing[0]!r}{_also(wanted)}.")
    return list(_rows(rows, kept.places)), kept.count


def _also(wanted: Selection) -> str:
    return " and fits the other options" if wanted.failed or wanted.where is not None else ""


class _Kept:
    """The rows to be shown so far, as (when it ended, run, place)."""

    def __init__(self, wanted: Selection) -> None:
        self.count = 0
        self.ids: set[str] = set()
        self._wanted = wanted
        self._random = random.Random(wanted.seed)
        self._rows: list[tuple[Any, ...]] = []

    def add(self, run: int, start: int, places: pa.Array, batch: pa.RecordBatch) -> None:
        """Look at the rows of a batch that may be shown; it begins at row `start` of its run."""
        times = batch.column("finished_at").cast(pa.int64()).take(places).to_pylist()
        if self._wanted.ids:
            self.ids.update(batch.column("row_id").take(places).to_pylist())
        for place, time_us in zip(places.to_pylist(), times, strict=True):
            self.count += 1
            rank = self._random.random() if self._wanted.at_random else (time_us or 0)
            row = (rank, run, start + place, time_us or 0)
            if self._wanted.ids or len(self._rows) < self._wanted.most:
                heapq.heappush(self._rows, row)
            elif row > self._rows[0]:
                heapq.heapreplace(self._rows, row)

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """The rows in the order in which they ended: (time, run, place)."""
        return sorted((time_us, run, place) for _, run, place, time_us in self._rows)


def _rows(rows: ResultRows, places: Sequence[tuple[int, int, int]]) -> Iterator[SelectedRow]:
    found: dict[tuple[int, int], SelectedRow] = {}
    for number, run in enumerate(rows.runs):
        here = [place for _, of, place in places if of == number]
        found.update(((number, place), SelectedRow(run, row, batch)) for place, row, batch in rows.at(run, here))
    return (found[run, place] for _, run, place in places)
