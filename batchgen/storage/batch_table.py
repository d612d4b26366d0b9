"""The journal's table of batches: every batch that was ever planned, how far it is, and which rows are in it.

Each state is on disk before the call that leads out of it is made, so that a run that is killed at any moment finds
again what the vendor may be working on.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct

from batchgen.storage.journal import Journal
from batchgen.storage.place import MARK_LETTERS, keep_place

BatchState = Literal["planned", "uploading", "uploaded", "creating", "open", "ended", "collected", "cleaned"]
"""How far a batch is. `uploading` and `creating` are written before the call, whose reply may never come."""

AT_VENDOR: tuple[BatchState, ...] = ("creating", "open", "ended")

_CREATE = """CREATE TABLE IF NOT EXISTS batches (  -- what was handed to the vendor's batch queue, or is to be
    number INTEGER PRIMARY KEY,
    body BLOB NOT NULL,     -- BatchRecord as MessagePack
    members BLOB NOT NULL,  -- the numbers of its rows, 8 bytes each, compressed; empty once it is collected
    crc INTEGER NOT NULL    -- of number, body and members
)"""

T = TypeVar("T")


class BatchRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A batch. Times are seconds since 1970; from `begun_s` on its run's deadline counts.

    `endpoint` is the one of several that it is made for, empty where there is only one. `mark` begins the ids of its
    lines (`place`); `name` is that of its file at the vendor; `sha` begins the SHA-256 of the file. `tokens` are about
    the input tokens that it takes in the vendor's queue; `held` is the most that its rows can cost. `intent_s` is when
    it was to be created; `lost`: the reply to that never came, `looked` counts how often it was looked for since.
    `earlier_files` are input files of batches that no list had then: for each `held` is reserved once more. `stray`:
    its file may be at the vendor more than once. `phase`, `word` and `done` are what the vendor last said of it.
    `cancelled`: it was asked to end. `answered` are the rows that it brought a result for; `reason` is why it brought
    none, or fewer.
    """

    number: int
    state: BatchState
    rows: int
    bytes: int
    tokens: int
    model: str
    name: str
    sha: str
    window: str
    planned_s: float
    endpoint: str = ""
    mark: str = ""
    begun_s: float = 0.0
    held: Decimal = Decimal(0)
    input_file: str | None = None
    intent_s: float | None = None
    lost: bool = False
    looked: int = 0
    earlier_files: Sequence[str] = ()
    stray: bool = False
    id: str | None = None
    results: Sequence[str] = ()
    phase: str = ""
    word: str = ""
    done: int | None = None
    created_s: float | None = None
    ended_s: float | None = None
    cancelled: bool = False
    answered: int = 0
    reason: str | None = None

    @property
    def unfinished(self) -> bool:
        """Whether its rows are still in it."""
        return self.state not in ("collected", "cleaned")

    @property
    def at_vendor(self) -> bool:
        """Whether the vendor may be working on it."""
        return self.state in AT_VENDOR


class BatchShown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is shown of a batch; see `BatchRecord`."""

    number: int
    state: BatchState
    rows: int
    model: str = ""
    endpoint: str = ""
    id: str | None = None
    word: str = ""
    done: int | None = None
    answered: int = 0
    created_s: float | None = None
    ended_s: float | None = None
    cancelled: bool = False
    reason: str | None = None

    @property
    def at_vendor(self) -> bool:
        """Whether the vendor may be working on it."""
        return self.state in AT_VENDOR


def read_batches(journal: Journal) -> list[tuple[BatchRecord, array[int]]]:
    """Return the sound lines of the table with the numbers of the rows, in the order of their numbers."""
    with journal.transaction() as db:
        db.execute(_CREATE)
        lines = db.execute("SELECT number, body, members, crc FROM batches ORDER BY number").fetchall()
    return [found for line in lines if (found := read_line(line)) is not None]


def read_line(line: tuple[Any, ...]) -> tuple[BatchRecord, array[int]] | None:
    """Return a line of the table; None if it does not match its checksum."""
    number, body, members, crc = line
    if not isinstance(body, bytes) or not isinstance(members, bytes) or _crc(number, body, members) != crc:
        return None
    rows = array("q")
    rows.frombytes(zlib.decompress(members) if members else b"")
    return _decode(body), rows


def write_batch(journal: Journal, record: BatchRecord, members: array[int] | None = None) -> None:
    """Write a batch, durable on return; without `members` those that are there stay, until it is collected."""
    with journal.transaction() as db:
        db.execute(_CREATE)
        kept = b""
        if members is not None:
            kept = zlib.compress(members.tobytes(), 1)
        elif record.unfinished:
            line = db.execute("SELECT members FROM batches WHERE number = ?", (record.number,)).fetchone()
            kept = line[0] if line else b""
        body = _encode(record)
        written = (record.number, body, kept, _crc(record.number, body, kept))
        db.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)", written)


def _crc(number: int, body: bytes, members: bytes) -> int:
    return zlib.crc32(members, zlib.crc32(body, number & 0xFFFFFFFF))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(BatchRecord).decode


class JournalThread(Protocol):
    """What reaches the journal while a run goes on."""

    def on_journal(self, call: Callable[[Journal], T]) -> Awaitable[T]:
        """Return what a call with the journal gives, after everything that was handed over before is durable."""


class BatchTable:
    """The batches of a run. It is read when the run begins; what changes is written by the journal's own thread.

    `counted` are, by row, the last batch whose line is on record in what a row without a result has cost. `mark` is
    that of batches that are planned now. `used`: the run is in the lane of batches.
    """

    def __init__(self, journal: Journal, *, used: bool = True) -> None:
        found = read_batches(journal)
        self.mark = keep_place(journal) if used else ""
        self._first_mark = journal.identity.run[:MARK_LETTERS]
        self.records = {record.number: record for record, _ in found}
        self._members = {record.number: rows for record, rows in found if record.unfinished}
        self.counted: Mapping[int, int] = {}
        if self._members:
            self.counted = {charges.row: charges.batch for charges in journal.spent() if charges.batch}
        self._thread: JournalThread | None = None

    def attach(self, thread: JournalThread) -> None:
        """Write through this from now on."""
        self._thread = thread

    @property
    def unfinished(self) -> list[BatchRecord]:
        """The batches that have not been collected, in order."""
        return [record for _, record in sorted(self.records.items()) if record.unfinished]

    def mark_of(self, number: int) -> str:
        """Return what begins the ids of the lines of a batch; in earlier versions that was the run's own name."""
        return self.records[number].mark or self._first_mark

    def members(self, number: int) -> array[int]:
        """Return the rows of a batch that is not collected, by line."""
        return self._members[number]

    async def add(self, record: BatchRecord, members: array[int]) -> None:
        """Write a new batch, durable on return."""
        await self._write(record, members)
        self._members[record.number] = members

    async def put(self, record: BatchRecord) -> None:
        """Write what has changed of a batch, durable on return together with all results handed over before."""
        await self._write(record, None)
        if not record.unfinished:
            self._members.pop(record.number, None)

    async def live_rows_begin(self, concurrency: int) -> None:
        """Write that from now on so many requests are out besides, whose answers a kill loses."""
        assert self._thread is not None
        await self._thread.on_journal(lambda journal: journal.raise_concurrency(concurrency))

    async def _write(self, record: BatchRecord, members: array[int] | None) -> None:
        assert self._thread is not None
        await self._thread.on_journal(lambda journal: write_batch(journal, record, members))
        self.records[record.number] = record
