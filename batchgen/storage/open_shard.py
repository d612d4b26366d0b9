"""A shard whose rows are being answered: which of them have a result, and where its input columns are."""

from __future__ import annotations

from pathlib import Path

from batchgen.errors import StorageStop
from batchgen.storage.shard_inputs import read_inputs
from batchgen.storage.shards import Shard, ShardRecord
from batchgen.values import Result

KEPT_BYTES = 24 * 1024 * 1024
"""A shard whose answers come to no more than this is written from memory, a larger one from the journal: reading
10,000 rows back and decoding them costs 5 µs of CPU a row."""


class OpenShard:
    """Which rows of a shard are settled, and their results: as stored, while all are of this run and few bytes.

    A `parked` shard holds nothing in memory: its columns are read back from their file in `directory`, its results from
    the journal.
    """

    def __init__(self, shard: Shard, settled: set[int], directory: Path, *, parked: bool = False) -> None:
        self.record = ShardRecord(shard.number, shard.first_row, shard.rows)
        self._shard = None if parked else shard
        self._directory = directory
        self.missing = shard.rows - len(settled)
        self._first_row, self._rows = shard.first_row, shard.rows
        self._flags = bytearray(shard.rows)
        for row in settled:
            self._flags[row - shard.first_row] = 1
        self._results: list[Result | None] = [] if settled or parked else [None] * shard.rows
        self._left_bytes = float(KEPT_BYTES)

    @property
    def bytes(self) -> int:
        """What its columns take in memory."""
        return 0 if self._shard is None else int(self._shard.table.nbytes)

    def shard(self) -> Shard:
        """Return the shard. Raises `StorageStop` where its columns cannot be read back."""
        if self._shard is not None:
            return self._shard
        found = read_inputs(self._directory, self.record.number)
        if found is None:
            raise StorageStop(
                f"The input columns of shard {self.record.number} cannot be read back from {self._directory}."
            )
        return found.shard(self.record)

    def settle(self, results: list[Result], size: float) -> list[Result]:
        """Take note of results of about `size` bytes each; return those whose rows are in other shards."""
        others: list[Result] = []
        first_row, rows, flags, kept = self._first_row, self._rows, self._flags, self._results
        before = missing = self.missing
        for result in results:
            place = result.row - first_row
            if not 0 <= place < rows:
                others.append(result)
            elif not flags[place]:
                flags[place] = 1
                missing -= 1
                if kept:
                    kept[place] = result
        self.missing = missing
        self._left_bytes -= size * (before - missing)
        if self._left_bytes < 0:
            self._results = []
        return others

    def results(self) -> list[Result] | None:
        """Return the results of a whole shard in order; None if only the journal has them all."""
        results = [result for result in self._results if result is not None]
        return results if len(results) == self._rows else None
