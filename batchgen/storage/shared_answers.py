"""Answers that rows with the same request share, in a file of their own beside the journal: key → result.

A cache: only what the journal holds durably is put in, nothing is ever changed, and where the disk refuses or the file
is damaged a row is asked again rather than the run stopped. It outlives a kill, and goes when the run is complete.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from batchgen.files.modes import open_file
from batchgen.storage.journal_rows import StoredRow, row_crc, sound_result, storable
from batchgen.values import Result

_OPENING = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS run (name TEXT NOT NULL);  -- the one run that it belongs to
CREATE TABLE IF NOT EXISTS answers (
    place INTEGER PRIMARY KEY,  -- the first 8 bytes of the key
    key BLOB NOT NULL,
    row INTEGER NOT NULL,       -- the row that was asked
    body BLOB NOT NULL,         -- its values.Result as MessagePack
    crc INTEGER NOT NULL        -- of row and body
);
"""


class SharedAnswers:
    """The answers of requests that several rows make; used by one thread at a time."""

    def __init__(self, path: Path, run: str = "") -> None:
        """Open the file, or make it; a damaged one, or one of another run, is replaced."""
        self._path = path
        self._run = run
        self._db: sqlite3.Connection | None = None
        for _ in range(2):
            try:
                self._open()
            except (sqlite3.Error, OSError):
                self.remove()
            else:
                return

    def _open(self) -> None:
        os.close(open_file(self._path, os.O_RDWR))
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)
        self._db.executescript(_OPENING)
        self._db.execute("INSERT INTO run SELECT ? WHERE NOT EXISTS (SELECT 1 FROM run)", (self._run,))
        if self._db.execute("SELECT name FROM run").fetchall() != [(self._run,)]:
            raise sqlite3.DatabaseError("of another run")

    def get(self, key: bytes) -> Result | None:
        """Return the result of the row that asked this first, if it has one."""
        if self._db is None:
            return None
        try:
            query = "SELECT key, row, body, crc FROM answers WHERE place = ?"
            line = self._db.execute(query, (_place(key),)).fetchone()
        except sqlite3.Error:
            self.close()
            return None
        return sound_result(StoredRow(*line[1:])) if line is not None and line[0] == key else None

    def put(self, answers: Iterable[tuple[bytes, Result]]) -> None:
        """Keep results under their keys; a key that has one keeps it."""
        if self._db is None:
            return
        lines = ((key, result.row, storable(result)[1]) for key, result in answers)
        try:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)",
                ((_place(key), key, row, body, row_crc(row, body)) for key, row, body in lines),
            )
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self.close()

    def close(self) -> None:
        """Close the file; the next run finds everything in it."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        for path in (self._path.with_name(f"{self._path.name}{suffix}") for suffix in ("-wal", "-shm", "")):
            path.unlink(missing_ok=True)


def _place(key: bytes) -> int:
    return int.from_bytes(key[:8], signed=True)
