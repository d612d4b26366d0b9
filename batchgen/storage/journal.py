"""The journal, one SQLite file: results that are in no part yet, shard boundaries, what unfinished rows have cost.

WAL, `synchronous=FULL`, 16 KB pages, exclusive: 95,000 rows/s of 2 KB durable in groups of 1,000, and no acknowledged
row lost in simulated power cuts. Rows and shard records carry a CRC, because most single-bit flips change data while
SQLite's own check says ok. A damaged file is set aside, never deleted, and what can be read of it moves to a new one.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.files.modes import open_file
from batchgen.files.stamps import Stamp
from batchgen.money.ledger import Charges, Sums, charges_on, with_charges
from batchgen.storage.identity import IDENTITY_KEY, RunIdentity, identity_text, read_identity
from batchgen.storage.journal_rows import (
    StoredRow,
    keep_stamp,
    read_record,
    read_spent,
    readable_text,
    record_crc,
    row_crc,
    sound_result,
    spent_body,
    storable,
)
from batchgen.storage.journal_schema import PRAGMAS, RETRIES, SCHEMA, STAMPS, VERSION
from batchgen.storage.shards import ShardRecord, without_gaps
from batchgen.values import Result, Status
from batchgen.version import __version__

MOVED_BYTES = 4 * 1024 * 1024
"""Rows of other shards that sealing one puts back rather than leaves alone: those that came while its part was
written, usually."""

_NOBODY = RunIdentity()
_COUNT_COMMIT = "UPDATE sessions SET commits = commits + 1, at_risk = max(at_risk, ?) WHERE number = ?"
_INSERT_RESULT = "INSERT OR IGNORE INTO results VALUES (?, ?, ?)"


class Session(Struct, frozen=True):
    """One run of the job. `clean`: it ended by itself. `at_risk`: most requests that a kill makes paid twice."""

    number: int
    started_us: int
    clean: bool
    at_risk: int


class Journal:
    """One connection, used by one thread at a time. Methods raise `sqlite3.Error` when the disk refuses.

    `damage` says what was found damaged since opening; the rows concerned are done again.
    """

    def __init__(self, path: Path, identity: RunIdentity = _NOBODY) -> None:
        """Open the file, or make an empty one for the run `identity`. Raises `OutputError` if another version wrote it.

        `journal_repair` mends a damaged one. `self.identity` is that of the file.
        """
        self.path = path
        self.identity = identity
        self.damage: list[str] = []
        self._session = self._commits = self._concurrency = 0
        self._unsure: list[Result] | None = None
        self._connection = _connect(path)
        try:
            self._check()
        except BaseException:
            self._connection.close()
            raise
        self._connection.execute(STAMPS)
        self._connection.execute(RETRIES)
        self._has_spent = self._connection.execute("SELECT 1 FROM spent LIMIT 1").fetchone() is not None

    def _check(self) -> None:
        """Set up a new file, or make sure that an old one is ours and whole. Raises `sqlite3.DatabaseError`."""
        db = self._connection
        db.executescript(PRAGMAS)
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0 and db.execute("PRAGMA schema_version").fetchone() == (0,):
            with self.transaction():
                for statement in SCHEMA:
                    db.execute(statement)
                words = {"version": str(VERSION), "batchgen": __version__, IDENTITY_KEY: identity_text(self.identity)}
                db.executemany("INSERT INTO meta VALUES (?, ?)", words.items())
                db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # so that `stored_identity` finds it
            return
        (told,) = db.execute("SELECT value FROM meta WHERE key = 'version'").fetchone() or ("",)
        if version != VERSION and told == str(version):
            raise OutputError(
                f"{self.path} was written by another version of batchgen (format {version}, this one knows {VERSION}). "
                "Use that version, or --fresh, or another --output."
            )
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok" or told != str(VERSION) or version != VERSION:
            raise _damaged(verdict if verdict != "ok" else "its version is unreadable")
        self.identity = read_identity(db)
        self.shards()

    def keep_identity(self, identity: RunIdentity) -> None:
        """Say from now on that the file belongs to `identity`: the same run, some of whose settings have changed."""
        if identity != self.identity:
            with self.transaction() as db:
                db.execute("UPDATE meta SET value = ? WHERE key = ?", (identity_text(identity), IDENTITY_KEY))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # as for a new file
            self.identity = identity

    def reopen(self) -> None:
        """Close and open again after a failed commit or sync, and rewrite what the old log held.

        A sync that failed may have dropped pages that a later sync would call durable: emptying the log writes
        all of it anew into the file proper, synced on its own. Raises `sqlite3.Error`; then call again.
        """
        self._connection.close()
        self._connection = _connect(self.path)
        self._connection.executescript(PRAGMAS)
        busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("the journal's log cannot be emptied")
        commits = self._connection.execute("SELECT commits FROM sessions WHERE number = ?", (self._session,)).fetchone()
        if commits != (self._commits + 1,):
            self._unsure = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of this or nothing; durable at the end."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # Shards

    def shards(self) -> list[ShardRecord]:
        """Return the recorded shards, by number. Raises `sqlite3.DatabaseError` for a damaged record."""
        records = []
        query = "SELECT number, first_row, rows, bytes, file_crc, sums, crc FROM shards ORDER BY number"
        for line in self._connection.execute(query):
            record = read_record(line)
            if record is None:
                raise _damaged(f"the record of shard {line[0]} does not match its checksum")
            records.append(record)
        return records

    def record(self, records: Iterable[ShardRecord]) -> None:
        """Write shard records over what was there for their numbers, in one transaction."""
        with self.transaction():
            for record in records:
                self._write_record(record)

    def _write_record(self, record: ShardRecord) -> None:
        part = record.part
        size, crc, sums = (part.bytes, part.crc, part.sums.to_json().decode()) if part else (None, None, None)
        line = (record.number, record.first_row, record.rows, size, crc, sums, record_crc(record, sums))
        self._connection.execute("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?)", line)

    def fill_gaps(self) -> None:
        """Record the shards that are missing between the known ones. Raises `ValueError` if those contradict."""
        known = self.shards()
        whole = without_gaps(known)
        if len(whole) != len(known):
            self.record(whole)

    def seal(self, record: ShardRecord, stamp: Stamp | None = None) -> None:
        """Record that the shard's part is published and delete its rows, in one transaction."""
        with self.transaction() as db:
            self._write_record(record)
            if stamp is not None:
                keep_stamp(db, record, stamp)
            self._delete_results(record.first_row, record.end_row)
            db.execute("DELETE FROM spent WHERE row >= ? AND row < ?", (record.first_row, record.end_row))

    def _delete_results(self, first_row: int, end_row: int) -> None:
        """Delete the rows of the range.

        Where few others are there the table is emptied and these are put back: SQLite drops the pages of an emptied
        table as they are, at a third of the cost of deleting row by row.
        """
        db, outside = self._connection, "FROM results WHERE row < ? OR row >= ?"
        (size,) = db.execute(f"SELECT total(length(body)) {outside}", (first_row, end_row)).fetchone()
        if size > MOVED_BYTES:
            db.execute("DELETE FROM results WHERE row >= ? AND row < ?", (first_row, end_row))
            return
        others = db.execute(f"SELECT row, body, crc {outside}", (first_row, end_row)).fetchall()
        db.execute("DELETE FROM results")
        db.executemany(_INSERT_RESULT, others)

    def unseal(self, record: ShardRecord, results: Iterable[Result], spent: Iterable[Charges] = ()) -> None:
        """Make a shard open again, with these of its rows settled unless they are so already, in one transaction."""
        with self.transaction() as db:
            self._write_record(ShardRecord(record.number, record.first_row, record.rows))
            db.execute("DELETE FROM retries WHERE number = ?", (record.number,))
            db.executemany(_INSERT_RESULT, ((r.row, body, row_crc(r.row, body)) for r, body in map(storable, results)))
            for item in spent:
                self._add_spent(item)

    # Results

    def append(
        self, results: Sequence[Result], spent: Sequence[Charges] = (), *, spill: str | None = None
    ) -> list[Result]:
        """Store settled rows, and costs of unsettled ones, in one transaction; durable when it returns.

        What a row had cost before is added to its result; a row that has a result already keeps it. `spill` is the name
        of the spill file that the values come from, for `has_taken`. Returns the results as stored. After an error call
        `reopen`, then this again with the same values: they are stored once, whether or not the first call reached the
        disk.
        """
        if self._unsure is not None:
            stored, self._unsure = self._unsure, None
            self._commits += 1
            return stored
        stored = []
        with self.transaction() as db:
            for item in spent:
                self._add_spent(item)
            db.executemany(_INSERT_RESULT, self._rows(results, stored))
            if self._has_spent:
                db.executemany("DELETE FROM spent WHERE row = ?", [(result.row,) for result in stored])
            if spill is not None:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('spill', ?)", (spill,))
            at_risk = self._concurrency + 2 * (len(stored) + len(spent)) if self._concurrency else 0
            db.execute(_COUNT_COMMIT, (at_risk, self._session))
            self._unsure = stored
        self._unsure = None
        self._commits += 1
        return stored

    def has_taken(self, spill: str) -> bool:
        """Return whether the values of the spill file of this name were stored by the latest that came from one."""
        line = self._connection.execute("SELECT 1 FROM meta WHERE key = 'spill' AND value = ?", (spill,)).fetchone()
        return line is not None

    def _rows(self, results: Iterable[Result], stored: list[Result]) -> Iterator[tuple[int, bytes, int]]:
        for result in results:
            before = self._spent(result.row) if self._has_spent else None
            final, body = storable(with_charges(result, before) if before else result)
            stored.append(final)
            yield final.row, body, row_crc(final.row, body)

    def stored_rows(self, first_row: int, end_row: int, most_bytes: float = math.inf) -> list[StoredRow]:
        """Return the rows of the range as they lie there, in order; nothing is checked.

        They end with the one whose body fills `most_bytes`.
        """
        rows = []
        for row in self._stored(first_row, end_row):
            rows.append(row)
            most_bytes -= len(row.body) if isinstance(row.body, bytes) else 0  # a damaged one may be anything
            if most_bytes <= 0:
                break
        return rows

    def _stored(self, first_row: int, end_row: int) -> Iterator[StoredRow]:
        query = "SELECT row, body, crc FROM results WHERE row >= ? AND row < ? ORDER BY row"
        return (StoredRow(*line) for line in self._connection.execute(query, (first_row, end_row)))

    def results(self, first_row: int, end_row: int) -> Iterator[Result]:
        """Yield the results of the range in row order; the damaged are then deleted and named in `damage`."""
        bad = []
        for item in self._stored(first_row, end_row):
            result = sound_result(item)
            if result is None:
                bad.append(item.row)
            else:
                yield result
        if bad:
            with self.transaction() as db:
                db.executemany("DELETE FROM results WHERE row = ?", [(row,) for row in bad])
            self.damage.append(f"{len(bad)} damaged rows in the journal are done again (the first is row {bad[0]})")

    def settled(self, first_row: int, end_row: int) -> set[int]:
        """Return the rows of the range that have a sound result."""
        return {result.row for result in self.results(first_row, end_row)}

    def forget_failed(self) -> int:
        """Make the failed rows pending again, keeping what they have cost; return how many there were."""
        failed = [charges_on(r.row, r) for r in self.unpublished() if r.status is Status.FAILED]
        with self.transaction() as db:
            db.executemany("DELETE FROM results WHERE row = ?", [(item.row,) for item in failed])
            for item in failed:
                self._add_spent(item)
        return len(failed)

    def sums(self) -> Sums:
        """Return the sums over everything settled: published parts and stored rows."""
        sums = Sums()
        for record in self.shards():
            if record.part:
                sums.merge(record.part.sums)
        sums.add_all(self.unpublished())
        return sums

    def unpublished(self) -> Iterator[Result]:
        """Yield the results of all shards that have no part yet."""
        for record in self.shards():
            if not record.sealed:
                yield from self.results(record.first_row, record.end_row)

    # Spent

    def spent(self) -> Iterator[Charges]:
        """Yield what rows without a result have cost so far; a damaged line is left out and named in `damage`."""
        for row, body, crc in self._connection.execute("SELECT row, body, crc FROM spent ORDER BY row"):
            item = read_spent(row, body, crc)
            if item is not None:
                yield item
            else:
                self.damage.append(f"what row {row} had cost in earlier runs is damaged in the journal and left out")

    def _spent(self, row: int) -> Charges | None:
        line = self._connection.execute("SELECT row, body, crc FROM spent WHERE row = ?", (row,)).fetchone()
        return read_spent(*line) if line else None

    def _add_spent(self, item: Charges) -> None:
        self._has_spent = True
        before = self._spent(item.row)
        body = spent_body(charges_on(item.row, before, item) if before else item)
        self._connection.execute(
            "INSERT OR REPLACE INTO spent VALUES (?, ?, ?)", (item.row, body, row_crc(item.row, body))
        )

    # Sessions

    def begin_session(self, started_us: int, concurrency: int) -> None:
        """Record that a run begins; it counts as killed until `end_session`.

        What a kill can cost twice is what is in flight (`concurrency`), a group on its way to the disk, and one being
        gathered: the largest commit so far, twice. With nothing in flight it is nothing: answers can be fetched again.
        """
        self._concurrency = concurrency
        with self.transaction() as db:
            cursor = db.execute(
                "INSERT INTO sessions (started_us, clean, at_risk, commits) VALUES (?, 0, ?, 0)",
                (started_us, concurrency),
            )
        self._session, self._commits = cursor.lastrowid or 0, 0

    def raise_concurrency(self, concurrency: int) -> None:
        """Record that from now on so many requests can be in flight."""
        with self.transaction() as db:
            db.execute("UPDATE sessions SET at_risk = max(at_risk, ?) WHERE number = ?", (concurrency, self._session))
        self._concurrency = concurrency

    def end_session(self) -> None:
        """Record that this run ended by itself."""
        with self.transaction() as db:
            db.execute("UPDATE sessions SET clean = 1 WHERE number = ?", (self._session,))

    def sessions(self) -> list[Session]:
        """Return the runs so far; one that goes on now is not clean yet."""
        lines = self._connection.execute("SELECT number, started_us, clean, at_risk FROM sessions ORDER BY number")
        return [Session(number, started, bool(clean), at_risk) for number, started, clean, at_risk in lines]

    # The end

    def close(self) -> None:
        """Close the file; the next run finds everything in it."""
        self._connection.close()

    def remove(self) -> None:
        """Close and delete the file and its companions: the run is complete."""
        self.close()
        for path in companions(self.path):
            path.unlink(missing_ok=True)


def companions(path: Path) -> list[Path]:
    """Return the journal's files, the main one last, so that a crash in between leaves a journal to delete."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal", "")]


def _damaged(text: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, made private if it is missing; SQLite gives its companions the same mode."""
    os.close(open_file(path, os.O_RDWR))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    connection.text_factory = readable_text
    return connection
