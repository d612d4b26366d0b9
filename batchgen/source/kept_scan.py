"""What a scan has shown, as bytes to be kept: as long as the files stay the same, the next start need not read them.

A file is the same if its size, its place on the disk and its times of change are. Times are as coarse as the file
system has them, so a file that had been changed just before it was read is read again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from batchgen.version import __version__

LEAST_BYTES = 64 * 1024 * 1024
"""Smaller inputs are always read again, which takes about a second."""

SETTLED_NS = 2_000_000_000
"""A change of a file that is younger than this may be followed by another one with the same time."""


class ScannedFile(Struct, frozen=True):
    """One file of the input: its rows (up to the limit), its bytes and the SHA-256 of these."""

    name: str
    rows: int
    size: int
    sha256: str


class Stamp(Struct, frozen=True, array_like=True):
    """What a file system says of a file, all of which changes with its bytes or is set to look as if it had not."""

    size: int
    modified_ns: int
    changed_ns: int
    device: int
    inode: int


class KeptScan(Struct, frozen=True):
    """A scan: `reading` is how it was read and what was looked at, the others as in `Scan`; `whole` are columns."""

    stamps: Sequence[Stamp]
    reading: str
    files: tuple[ScannedFile, ...]
    fingerprint: str
    whole: Sequence[str]


def stamps_of(paths: Sequence[str], settled_by_ns: int | None = None) -> list[Stamp] | None:
    """Return the stamps of some files; None if one is none of this machine, or has changed since `settled_by_ns`."""
    stamps = []
    for path in paths:
        try:
            facts = os.stat(path)
        except (OSError, ValueError):
            return None
        if settled_by_ns is not None and max(facts.st_ctime_ns, facts.st_mtime_ns) > settled_by_ns - SETTLED_NS:
            return None
        stamps.append(Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_dev, facts.st_ino))
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
