"""Files that appear complete or not at all: written under a temporary name, synced, renamed, the directory synced."""

from __future__ import annotations

import io
import os
import secrets
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from batchgen.errors import OutputError
from batchgen.files.modes import open_file


class ReplacementFile(io.RawIOBase):
    """A file under a temporary name. `size` and `crc` (CRC-32) are those of what has been written; `refusal` is the
    error of the last write that failed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = self.crc = 0
        self.refusal: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            self._file.write(data)
        except OSError as error:
            self.refusal = error
            raise
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)
        return len(data)

    def sync(self) -> None:
        """Bring what has been written to the disk, which may take long and be done in a thread."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def tell(self) -> int:
        return self.size


@contextmanager
def replacing(path: Path, aside: Path | None = None) -> Iterator[ReplacementFile]:
    """Give a file under a temporary name to write to; then sync it, rename it to `path` and sync the directory.

    Its permissions are those of `files.modes`. When the block raises, the temporary file is removed and `path` stays as
    it was. After a sync that failed the file is never used: the next attempt writes a new one from the start.
    """
    aside = aside or path.with_name(f".{path.name}.partial")
    aside.unlink(missing_ok=True)
    try:
        with open(open_file(aside, os.O_WRONLY | os.O_EXCL), "wb") as file:
            yield ReplacementFile(file)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def replace_file(path: Path, body: Any) -> None:
    """Write `body` (bytes-like) as the whole content of `path`, as `replacing` does."""
    with replacing(path) as file:
        file.write(body)


@contextmanager
def named_file(path: Path) -> Iterator[ReplacementFile]:
    """`replacing` for a file that the user named and that several commands may write at the same time.

    A symbolic link is followed to the file that it names. What is not a regular file, such as `/dev/stdout` or a pipe,
    is written to directly. Raises `OutputError` if the file cannot be written; other exceptions of the block pass.
    """
    target = path.resolve()
    foreign: OSError | None = None
    try:
        with _opened(target) as replacement:
            try:
                yield replacement
            except OSError as error:
                foreign = error if replacement.refusal is None else None
                raise
    except OSError as error:
        if error is foreign:
            raise
        reason = error.strerror or error
        raise OutputError(f"{path} cannot be written: {reason}. Mend that, or name another file.") from error


@contextmanager
def _opened(path: Path) -> Iterator[ReplacementFile]:
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with open(path, "wb") as file:
            yield ReplacementFile(file)
    else:
        with replacing(path, path.with_name(f".batchgen-{secrets.token_hex(8)}.new")) as replacement:
            yield replacement


def sync_directory(path: Path) -> None:
    """Make renames and new names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
