"""What a scan has shown, as bytes to be kept: as long as the files stay the same, the next start need not read them.

A file is the same if its size, its place on the disk and its times of change are, or if it is the same version of an
object in a store. One that had been changed in the moment before it was read is read again.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from batchgen.files.stamps import Stamp, stamp_of
from batchgen.source.file import File
from batchgen.version import __version__

LEAST_BYTES = 64 * 1024 * 1024
"""Smaller inputs are always read again, which takes about a second."""


class ScannedFile(Struct, frozen=True):
    """One file of the input: its rows (up to the limit), its bytes and the SHA-256 of these."""

    name: str
    rows: int
    size: int
    sha256: str


class KeptScan(Struct, frozen=True):
    """A scan: `reading` is how it was read and what was looked at, the others as in `Scan`; `whole` are columns."""

    stamps: Sequence[Stamp]
    reading: str
    files: tuple[ScannedFile, ...]
    fingerprint: str
    whole: Sequence[str]


def stamps_of(files: Sequence[File], settled_by_ns: int | None = None) -> list[Stamp] | None:
    """Return the stamps of some files; None if one has none, or may have changed since `settled_by_ns`."""
    stamps = []
    for file in files:
        if file.remote is not None:  # every request says of which version
            if not file.remote.found.version:
                return None
            stamps.append(Stamp(file.size, file.modified_ns, 0))
            continue
        try:
            stamp = stamp_of(file.path)
        except (OSError, ValueError):
            return None
        if settled_by_ns is not None and not stamp.settled(settled_by_ns):
            return None
        stamps.append(stamp)
    return stamps if sum(stamp.size for stamp in stamps) >= LEAST_BYTES else None


def as_bytes(kept: KeptScan) -> bytes:
    """Return a scan as one line of JSON after its checksum and the version that made it."""
    body = msgspec.json.encode(kept)
    return b"%d %s %s" % (zlib.crc32(body), __version__.encode(), body)


def from_bytes(data: bytes) -> KeptScan | None:
    """Return what `as_bytes` has written; None if it is damaged, or of another version, which may read otherwise."""
    crc, _, rest = data.partition(b" ")
    version, _, body = rest.partition(b" ")
    if crc != b"%d" % zlib.crc32(body) or version != __version__.encode():
        return None
    try:
        return msgspec.json.decode(body, type=KeptScan)
    except msgspec.MsgspecError:
        return None
