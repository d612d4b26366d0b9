"""The spill file: takes answers when the journal cannot, in space that was reserved while the disk still had some.

A header of a mark and a random name (8 bytes each) and of the run that it belongs to (16 bytes), then records of
length (4 bytes), CRC-32 (4 bytes) and payload; the zeros of the unused room end it. By the name the journal knows
whether it has taken the file over already.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from batchgen.files.modes import open_file
from batchgen.money.ledger import Charges
from batchgen.storage.identity import RUN_LETTERS
from batchgen.storage.journal_rows import spent_body, storable
from batchgen.values import Result

SPILL_BYTES = 4 * 1024 * 1024

_MARK = b"BGSPILL3"
_NAME_BYTES = 8
_HEADER_BYTES = len(_MARK) + _NAME_BYTES + RUN_LETTERS
_FRAME = struct.Struct("<II")
_RESULT, _SPENT = b"R", b"S"


class Spill:
    """An open spill file of `path`, private. Raises `OSError` when its first room cannot be had."""

    def __init__(self, path: Path, size: int = SPILL_BYTES, run: str = "") -> None:
        self.path = path
        self.size = 0
        self.written = 0
        self._descriptor = open_file(path, os.O_RDWR | os.O_TRUNC)
        self.reserve(size)
        self._write(_MARK + os.urandom(_NAME_BYTES) + run.encode().ljust(RUN_LETTERS, b"-"))

    def reserve(self, size: int) -> None:
        """Set at least `size` bytes aside. Raises `OSError` when the disk has not so many; what there was stays."""
        if size > self.size:
            os.posix_fallocate(self._descriptor, 0, size)
            self.size = size

    def append(self, results: Sequence[Result], spent: Sequence[Charges]) -> None:
        """Add values; synced when it returns. Raises `OSError`: then none of them counts."""
        payloads = [_RESULT + storable(result)[1] for result in results]
        payloads += [_SPENT + spent_body(item) for item in spent]
        self._write(b"".join(_FRAME.pack(len(payload), zlib.crc32(payload)) + payload for payload in payloads))

    def _write(self, body: bytes) -> None:
        view, place = memoryview(body), self.written
        while view:
            count = os.pwrite(self._descriptor, view, place)
            view, place = view[count:], place + count
        os.fsync(self._descriptor)
        self.written = place

    def close(self) -> None:
        """Close the file; without any value in it, it is removed."""
        with suppress(OSError):  # what was written is durable; an empty file is removed by the next run
            os.close(self._descriptor)
            if self.written <= _HEADER_BYTES:
                self.path.unlink(missing_ok=True)


class Spilled(Struct, frozen=True):
    """What a run that stopped has left in its spill file. `name` is the file's own; `whole`: all of it can be read."""

    name: str
    run: str
    results: list[Result]
    spent: list[Charges]
    whole: bool


def read_spill(path: Path) -> Spilled:
    """Return what is in a spill file, up to the first record that is damaged or was not written to its end."""
    results: list[Result] = []
    spent: list[Charges] = []
    body = path.read_bytes()
    head, place = body[len(_MARK) : _HEADER_BYTES], _HEADER_BYTES
    name, run = head[:_NAME_BYTES].hex(), head[_NAME_BYTES:].rstrip(b"-").decode(errors="replace")
    if not body.startswith(_MARK):
        return Spilled(name, run, results, spent, not any(body))
    while place + _FRAME.size < len(body):
        length, crc = _FRAME.unpack_from(body, place)
        payload = body[place + _FRAME.size : place + _FRAME.size + length]
        if not length or zlib.crc32(payload) != crc:
            break
        if payload[:1] == _RESULT:
            results.append(msgspec.msgpack.decode(payload[1:], type=Result))
        else:
            spent.append(msgspec.msgpack.decode(payload[1:], type=Charges))
        place += _FRAME.size + length
    return Spilled(name, run, results, spent, not any(body[place:]))
