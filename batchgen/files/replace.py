"""Files that appear whole or not at all: written aside, synced, renamed, their directory synced."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class ReplacementFile(io.RawIOBase):
    """A file written aside; `size` and `crc` (CRC-32) are of what was written so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = self.crc = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(data)
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size


@contextmanager
def replacing(path: Path) -> Iterator[ReplacementFile]:
    """Give a file to write aside, mode 0600; then sync it, rename it over `path` and sync the directory.

    A sync that fails is never trusted later: the next try writes a new file from the start.
    """
    aside = path.with_name(f".{path.name}.partial")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        yield ReplacementFile(file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    sync_directory(path.parent)


def replace_file(path: Path, body: Any) -> None:
    """Write `body` (bytes-like) as the whole of `path`, as `replacing` does."""
    with replacing(path) as file:
        file.write(body)


def sync_directory(path: Path) -> None:
    """Make renames and new names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
