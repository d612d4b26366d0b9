"""The journal: results that are in no part yet, shard boundaries, and what unfinished rows have cost, in one SQLite file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from batchgen.plan import ShardRecord
from batchgen.summary import Spent, Sums
from batchgen.values import Result


class PartRecord(Struct, frozen=True):
    """What a published part holds: `rows`, `bytes` of the file, `crc` (CRC-32 of the file) and the group sums."""

    rows: int
    bytes: int
    crc: int
    sums: Sums


class Session(Struct, frozen=True):
    """One run of the job. `clean`: it ended by itself. `at_risk`: most requests that a kill could have made paid twice."""

    number: int
    started_us: int
    clean: bool
    at_risk: int


class Journal:
    """One connection; used by one thread at a time."""

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open or create the journal, salvaging a damaged one. Raises `OutputError` for a newer or foreign file."""
        raise NotImplementedError

    @property
    def salvaged(self) -> str | None:
        """What was found damaged at opening, as a sentence; None if nothing was."""
        raise NotImplementedError

    def shards(self) -> list[ShardRecord]:
        """Return the recorded shards, contiguous from row 0."""
        raise NotImplementedError

    def part(self, number: int) -> PartRecord | None:
        """Return the record of a sealed shard's part."""
        raise NotImplementedError

    def open_shard(self, record: ShardRecord) -> None:
        """Record a shard's boundaries (again: no change)."""
        raise NotImplementedError

    def append(self, results: Sequence[Result]) -> None:
        """Store settled rows in one transaction; durable when it returns."""
        raise NotImplementedError

    def settled(self, first_row: int, end_row: int) -> set[int]:
        """Return the rows of the range that have a result."""
        raise NotImplementedError

    def results(self, first_row: int, end_row: int) -> list[Result]:
        """Return the stored results of the range in row order; a damaged one is dropped, so that it is done again."""
        raise NotImplementedError

    def seal(self, number: int, part: PartRecord) -> None:
        """Record the published part and delete the shard's rows, in one transaction."""
        raise NotImplementedError

    def sums(self) -> Sums:
        """Return the sums over everything settled: sealed shards and stored rows."""
        raise NotImplementedError

    def spent(self) -> dict[int, Spent]:
        """Return by row what rows without a result have cost so far."""
        raise NotImplementedError

    def spend(self, spent: Iterable[Spent]) -> None:
        """Add to what rows without a result have cost."""
        raise NotImplementedError

    def sessions(self) -> list[Session]:
        """Return the runs so far; those that were killed are not `clean`."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file; the next run finds everything in it."""
        raise NotImplementedError

    def remove(self) -> None:
        """Close and delete the file and its companions: the run is complete."""
        raise NotImplementedError
