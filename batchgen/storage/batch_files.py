"""Files of a batch in the output directory: the lines that are uploaded, and the rows behind them.

The lines are what the vendor gets. The rows file has for each line what is needed when its answer comes back, so that
nothing of a waiting row is in memory: records of a length (4 bytes) and a body in MessagePack, in the order of the
lines. All are private, and go once the batch is collected.
"""

from __future__ import annotations

import hashlib
import os
import struct
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
from msgspec import Struct

from batchgen.files.modes import open_file
from batchgen.storage.own_files import BATCH_FILES
from batchgen.values import Prompt, Turn

_LENGTH = struct.Struct("<I")
_BUFFER = 1024 * 1024


class StagedRow(Struct, frozen=True, gc=False, array_like=True):
    """A row that waits in a batch.

    `prompt` is the row's first, `turns` the answers that it has had to it and to what followed; `held` is the most that
    its request can cost. `attempts` have failed; `rounds` counts the batches that brought nothing for it.
    """

    row: int
    key: bytes | None
    prompt: Prompt
    held: Decimal = Decimal(0)
    turns: tuple[Turn, ...] = ()
    attempts: int = 0
    rounds: int = 0


encode_row = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StagedRow).decode


def lines_path(directory: Path, number: int) -> Path:
    """Return where the lines of a batch are, which are uploaded."""
    return directory / f"batch-{number:05d}.jsonl"


def rows_path(directory: Path, number: int) -> Path:
    """Return where the rows of a batch are."""
    return directory / f"batch-{number:05d}.rows"


def results_path(directory: Path, number: int, place: int) -> Path:
    """Return where one of the files of results of a batch is kept while it is read."""
    return directory / f"batch-{number:05d}.results-{place}"


def batch_files(directory: Path) -> Iterator[tuple[int, Path]]:
    """Yield all files of batches with the numbers of these."""
    for path in directory.glob(BATCH_FILES):
        number = path.name.split("-", 1)[1].split(".", 1)[0]
        if number.isdecimal():
            yield int(number), path


def forget_batch(directory: Path, number: int) -> None:
    """Remove the files of a batch."""
    for path in directory.glob(f"batch-{number:05d}.*"):
        path.unlink(missing_ok=True)


class StagedFiles:
    """The two files of a batch while they are written. Raises `OSError` when the disk refuses."""

    def __init__(self, directory: Path, number: int) -> None:
        self.number = number
        self.path = lines_path(directory, number)
        self._rows_path = rows_path(directory, number)
        self._lines = _new(self.path)
        self._rows = _new(self._rows_path)
        self._hash = hashlib.sha256()
        self.bytes = 0
        self.members = array("q")

    def add(self, line: bytes, row: int, body: bytes) -> None:
        """Add a line and the row behind it, as `encode_row` gives it."""
        line += b"\n"
        self._lines.write(line)
        self._hash.update(line)
        self._rows.write(_LENGTH.pack(len(body)))
        self._rows.write(body)
        self.bytes += len(line)
        self.members.append(row)

    def finish(self) -> str:
        """Make both durable and close them; return the beginning of the hash of the lines."""
        for file in (self._lines, self._rows):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        return self._hash.hexdigest()[:8]

    def discard(self) -> None:
        """Close and remove both."""
        for file, path in ((self._lines, self.path), (self._rows, self._rows_path)):
            with suppress(OSError):  # what is in the buffer may have no room on the disk
                file.close()
            with suppress(OSError):  # the next run removes it
                path.unlink()


def _new(path: Path) -> BinaryIO:
    return open(open_file(path, os.O_WRONLY | os.O_TRUNC), "wb", buffering=_BUFFER)


class StagedRows:
    """The rows of a batch, by line; to be used with `with`. Raises `OSError` where they cannot be read."""

    def __init__(self, directory: Path, number: int) -> None:
        with ExitStack() as stack:
            self._file = stack.enter_context(open(rows_path(directory, number), "rb", buffering=_BUFFER))
            self._places = array("q")
            place, size = 0, os.fstat(self._file.fileno()).st_size
            while place + _LENGTH.size <= size:
                self._file.seek(place)
                (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
                self._places.append(place)
                place += _LENGTH.size + length
            stack.pop_all()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, line: int) -> StagedRow:
        self._file.seek(self._places[line])
        (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
        return _decode(self._file.read(length))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
