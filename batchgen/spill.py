"""The spill file: where answers go when the journal cannot take them, on room set aside while the disk still had some.

A header, then records of length (4 bytes), CRC-32 (4 bytes) and payload; the zeros of the unused room end it.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from batchgen.records import spent_body, storable
from batchgen.summary import Spent
from batchgen.values import Result

SPILL_BYTES = 4 * 1024 * 1024

_MAGIC = b"BGSPILL1"
_FRAME = struct.Struct("<II")
_RESULT, _SPENT = b"R", b"S"


class Spill:
    """An open spill file of `path`, mode 0600. Raises `OSError` when its first room cannot be had."""

    def __init__(self, path: Path, size: int = SPILL_BYTES) -> None:
        self.path = path
        self.size = 0
        self.written = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        os.fchmod(self._descriptor, 0o600)
        self.reserve(size)
        self._write(_MAGIC)

    def reserve(self, size: int) -> None:
        """Set at least `size` bytes aside. Raises `OSError` when the disk has not so many; what there was stays."""
        if size > self.size:
            os.posix_fallocate(self._descriptor, 0, size)
            self.size = size

    def append(self, results: Sequence[Result], spent: Sequence[Spent]) -> None:
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
        os.close(self._descriptor)
        if self.written <= len(_MAGIC):
            self.path.unlink(missing_ok=True)


def read_spill(path: Path) -> tuple[list[Result], list[Spent]]:
    """Return what a run that stopped has left in its spill file, up to the first record that is not whole."""
    results: list[Result] = []
    spent: list[Spent] = []
    body = path.read_bytes()
    place = len(_MAGIC) if body.startswith(_MAGIC) else len(body)
    while place + _FRAME.size < len(body):
        length, crc = _FRAME.unpack_from(body, place)
        payload = body[place + _FRAME.size : place + _FRAME.size + length]
        if not length or zlib.crc32(payload) != crc:
            break
        if payload[:1] == _RESULT:
            results.append(msgspec.msgpack.decode(payload[1:], type=Result))
        else:
            spent.append(msgspec.msgpack.decode(payload[1:], type=Spent))
        place += _FRAME.size + length
    return results, spent
