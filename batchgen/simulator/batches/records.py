"""What the simulated vendor keeps: files and batches in a directory, so that another process finds them again."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from batchgen.simulator.batches.life import BatchPlan
from batchgen.simulator.stats import Billed

Dialect = Literal["openai", "compatible", "azure", "anthropic"]

_LOG = "log.jsonl"


class StoredFile(Struct, kw_only=True):
    """A file at the vendor. Its bytes are in the directory, under its id.

    `account` is the hash of the key; `number` counts all files and batches; `odd` are its oddities; `made_by` is the
    batch whose results it has.
    """

    id: str
    number: int
    account: str
    dialect: Dialect
    name: str
    purpose: str
    size: int
    created_s: float
    expires_s: float | None = None
    odd: list[str] = []
    made_by: str | None = None


class StoredBatch(Struct, kw_only=True):
    """A batch at the vendor. Times are seconds since 1970, `cancel_s` virtual seconds since it was created.

    `scanned`: its file has been checked, `failure` is what was wrong with it. `built`: it has ended and its results
    are written. `billed` are its successful rows, `lost` those of them that nobody can read.
    """

    id: str
    number: int
    account: str
    dialect: Dialect
    created_s: float
    plan: BatchPlan
    endpoint: str
    window: str
    input_file: str
    headers: dict[str, str] = {}
    metadata: dict[str, str] | None = None
    odd: list[str] = []
    model: str = ""
    total: int = 0
    prompt_tokens: int = 0
    scanned: bool = False
    failure: list[dict[str, Any]] = []
    cancel_s: float | None = None
    built: bool = False
    ended: bool = False
    hidden: bool = False
    rows: dict[str, int] = {}
    output_file: str | None = None
    error_file: str | None = None
    billed: Billed = msgspec.field(default_factory=Billed)
    lost: Billed = msgspec.field(default_factory=Billed)


class _Record(Struct, omit_defaults=True):
    """A line of the log: the newest state of a file or a batch, a thing deleted, or oddities that were met."""

    file: StoredFile | None = None
    batch: StoredBatch | None = None
    deleted: str | None = None
    met: dict[str, int] | None = None


class VendorRecords:
    """Files and batches by id, in the order of creation. Each change is appended to a log, which a kill cannot spoil.

    One process at a time may use a directory.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, StoredBatch] = {}
        self.met: Counter[str] = Counter()
        self.last_number = 0
        log = directory / _LOG
        self._log = os.open(log, os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o600)
        self._load(log.read_bytes())
        for path in directory.glob("*.partial"):  # of a process that died in the middle
            path.unlink()

    def _load(self, text: bytes) -> None:
        lines = text.split(b"\n")
        if lines[-1]:
            os.write(self._log, b"\n")  # closes the line that a kill cut
        decoder = msgspec.json.Decoder(_Record)
        for line in lines[:-1]:
            try:
                self._take(decoder.decode(line))
            except msgspec.MsgspecError:
                continue

    def _take(self, record: _Record) -> None:
        if record.file is not None:
            self.files[record.file.id] = record.file
            self.last_number = max(self.last_number, record.file.number)
        if record.batch is not None:
            self.batches[record.batch.id] = record.batch
            self.last_number = max(self.last_number, record.batch.number)
        if record.deleted is not None:
            self.files.pop(record.deleted, None)
            self.batches.pop(record.deleted, None)
        if record.met is not None:
            self.met = Counter(record.met)

    def next_number(self) -> int:
        """Return the number of the next file or batch."""
        self.last_number += 1
        return self.last_number

    def save(self, *things: StoredFile | StoredBatch) -> None:
        """Keep the state of files and batches as it is now; all of them or none."""
        records = [_Record(file=t) if isinstance(t, StoredFile) else _Record(batch=t) for t in things]
        for record in records:
            self._take(record)
        self._append(*records)

    def save_met(self, met: Counter[str]) -> None:
        """Keep how often oddities were met."""
        self._append(_Record(met=dict(met)))

    def delete(self, name: str, *, keep_bytes: bool = False) -> None:
        """Forget a file or a batch, and its bytes."""
        record = _Record(deleted=name)
        self._take(record)
        self._append(record)
        if not keep_bytes:
            self.path(name).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Return where the bytes of a file are."""
        return self.directory / name

    def partial(self, name: str) -> Path:
        """Return where the bytes of a file are while they are written."""
        return self.directory / f"{name}.partial"

    def close(self) -> None:
        """Close the log."""
        os.close(self._log)

    def _append(self, *records: _Record) -> None:
        os.write(self._log, b"".join(msgspec.json.encode(record) + b"\n" for record in records))
