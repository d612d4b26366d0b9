"""Opens the journal in any state: what matches its checksum in a damaged one is copied into a new one."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from batchgen.errors import OutputError
from batchgen.storage.batch_table import read_line, write_batch
from batchgen.storage.identity import RunIdentity, read_identity
from batchgen.storage.journal import Journal, companions
from batchgen.storage.journal_rows import StoredRow, read_record, read_spent, readable_text, sound_result
from batchgen.storage.shards import ShardRecord, without_gaps
from batchgen.text.figures import quantity

_LAST_ROW = 2**62
_MOST_PROBES = 20_000  # failing queries before a table is given up: its root is gone, not a page of it
_GROUP = 1_000

_DISK_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    }
)
"""The disk or its rights are at fault, not the file's content."""


def open_journal(path: Path, identity: RunIdentity) -> Journal:
    """Open or create the journal of a run; a damaged one is salvaged into a new file and kept as `*.damaged-N`.

    Raises `OutputError` for the file of another version or run, `sqlite3.Error` or `OSError` when the disk refuses.
    """
    fresh = _fresh_path(path)
    if fresh.exists() and not path.exists():  # killed between the two renames of `_salvage`
        _switch(path, fresh)
    try:
        journal = Journal(path, identity)
    except sqlite3.DatabaseError as error:
        if _is_disks(error):
            raise
        try:  # SQLite says the same of a read that failed, as of a file that is damaged
            journal = Journal(path, identity)
        except sqlite3.DatabaseError as again:
            if _is_disks(again):
                raise
            return _salvage(path, str(again), identity)
    if journal.identity.run != identity.run:
        journal.close()
        raise OutputError(
            f"{path} is of another run than the run.json beside it: one of them was copied or restored here. Use "
            "--fresh to move all of it aside and start anew, or choose another --output."
        )
    return journal


def _is_disks(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DISK_CODES


def _fresh_path(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _salvage(path: Path, reason: str, identity: RunIdentity) -> Journal:
    """Fill a new journal from a copy of the damaged one, then let it take the place.

    The copy is read, since opening a file with a log changes it.
    """
    scratch, fresh = path.with_name(path.name + ".salvage"), _fresh_path(path)
    for stale in (*companions(scratch), *companions(fresh)):
        stale.unlink(missing_ok=True)
    for source, copy in zip(companions(path), companions(scratch), strict=True):
        if source.exists():
            copy.touch(mode=0o600)
            shutil.copyfile(source, copy)
    journal = Journal(fresh, identity)
    old = sqlite3.connect(scratch, isolation_level=None)
    old.text_factory = readable_text
    try:
        kept = _copy(old, journal)
    finally:
        old.close()
        journal.close()
    for leftover in companions(scratch):
        leftover.unlink(missing_ok=True)
    aside = set_aside(path)
    _switch(path, fresh)
    journal = Journal(path, identity)
    saved = quantity(kept, "row was", "rows were")
    journal.damage.append(f"the journal was damaged ({reason}); {saved} saved from it, it is kept as {aside}")
    return journal


def _switch(path: Path, fresh: Path) -> None:
    """Put the new journal in place; a log that the old one left behind must not be applied to it."""
    log = path.with_name(path.name + "-wal")
    if log.exists():
        set_aside(log)
    fresh.rename(path)


def set_aside(path: Path, directory: Path | None = None) -> Path:
    """Rename a damaged file to the first free `*.damaged-N`, in `directory` if given; return its new path."""
    target = (directory or path.parent) / path.name
    number = 1
    while target.with_name(f"{target.name}.damaged-{number}").exists():
        number += 1
    return path.rename(target.with_name(f"{target.name}.damaged-{number}"))


def _copy(old: sqlite3.Connection, journal: Journal) -> int:
    """Copy what is sound; return the number of results. Nothing is taken from the journal of another run."""
    with suppress(sqlite3.Error):
        if read_identity(old).run != journal.identity.run:
            return 0
    columns = "number, first_row, rows, bytes, file_crc, sums, crc"
    found = [record for line in _Readable(old, "shards", columns) if (record := read_record(line)) is not None]
    records = _consistent(list({record.number: record for record in found}.values()))
    journal.record(records)
    sealed = [record for record in records if record.sealed]
    results = (
        result
        for line in _Readable(old, "results", "row, body, crc")
        if (result := sound_result(StoredRow(*line))) is not None
        and not any(record.first_row <= result.row < record.end_row for record in sealed)
    )
    kept = 0
    while group := list(islice(results, _GROUP)):
        kept += len(journal.append(group))
    spent = {item.row: item for line in _Readable(old, "spent", "row, body, crc") if (item := read_spent(*line))}
    journal.append([], list(spent.values()), spill=_taken_spill(old))
    for line in _Readable(old, "batches", "number, body, members, crc"):
        if (batch := read_line(line)) is not None:
            write_batch(journal, *batch)
    return kept


def _taken_spill(old: sqlite3.Connection) -> str | None:
    try:
        line = old.execute("SELECT value FROM meta WHERE key = 'spill'").fetchone()
    except sqlite3.DatabaseError:
        return None
    return line[0] if line else None


def _consistent(records: list[ShardRecord]) -> list[ShardRecord]:
    """Return the records, or none of them if they contradict each other: the parts then tell."""
    try:
        without_gaps(records)
    except ValueError:
        return []
    return records


class _Readable:
    """The lines of a table that can be read, by halving the range of keys round every damaged page."""

    def __init__(self, old: sqlite3.Connection, table: str, columns: str) -> None:
        key = columns.split(",", maxsplit=1)[0]
        self._query = f"SELECT {columns} FROM {table} WHERE {key} >= ? AND {key} < ? ORDER BY {key}"  # noqa: S608
        self._old = old
        self._probes = _MOST_PROBES

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        ranges = [(0, _LAST_ROW)]
        while ranges and self._probes:
            low, high = ranges.pop()
            try:
                yield from self._old.execute(self._query, (low, high))  # what comes twice is stored once
            except sqlite3.DatabaseError:
                self._probes -= 1
                if high - low > 1:
                    middle = (low + high) // 2
                    ranges += [(middle, high), (low, middle)]
