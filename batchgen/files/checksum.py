"""The size and CRC-32 of a file, read to its end."""

from __future__ import annotations

import zlib
from pathlib import Path

from batchgen.files.disk_errors import naming

_READ_BYTES = 1 << 20


def checksum(path: Path) -> tuple[int, int]:
    """Return a file's size and CRC-32."""
    size = crc = 0
    with naming(path), open(path, "rb") as stream:
        while piece := stream.read(_READ_BYTES):
            size += len(piece)
            crc = zlib.crc32(piece, crc)
    return size, crc
