"""One input file: what it is, whether it is still the same, and its bytes, unpacked, as UTF-8 and bounded."""

from __future__ import annotations

import codecs
import hashlib
import io
import os
import zlib
from enum import StrEnum
from typing import Any

import pyarrow as pa
from msgspec import Struct

from batchgen.errors import InputError
from batchgen.files.arrow import arrow_file
from batchgen.stores.remote_file import RemoteObject

EXPANSION_CAP = 200
"""Most bytes that one byte of a .gz or .zst file may become, once `EXPANSION_FLOOR` is passed: text packs 3 to 20
times, repetitive text 100 times, a bomb 1,000 times and more."""

EXPANSION_FLOOR = 256 * 1024 * 1024
"""Unpacked bytes below which nothing is called a bomb."""

FILLING = b" \t\r\n\0\x1a"
"""What a line may hold that is none: blanks, the mark that old programs end a file with, zeros that fill it up."""

_BUFFER_BYTES = 1 << 18
_PIECE_BYTES = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


class Format(StrEnum):
    """How a file holds its table."""

    PARQUET = "Parquet"
    CSV = "CSV"
    TSV = "TSV"
    JSONL = "JSONL"
    XLSX = "Excel"


class Reading(Struct, frozen=True):
    """What the job says about delimited files, None where it is to be found. `quotes`: "csv" or "text"."""

    delimiter: str | None = None
    encoding: str | None = None
    quotes: str | None = None


class File(Struct, frozen=True):
    """One input file. `name` is relative to what all files of the input share; size and time are those at opening.

    `encoding` is None for UTF-8; `open_bytes` gives UTF-8 whatever it is. A `remote` file is one object of a store in
    one version, read by ranges, or from `copy` on this machine.
    """

    path: str
    name: str
    format: Format
    compression: str | None
    size: int
    modified_ns: int
    encoding: str | None = None
    reading: Reading = Reading()
    remote: RemoteObject | None = None
    copy: str | None = None

    def arrow(self) -> str | pa.NativeFile:
        """Return what pyarrow can open."""
        if self.remote is not None and self.copy is None:
            return pa.PythonFile(self.remote.open(), "r")
        return arrow_file(self.copy or self.path)


def check_unchanged(file: File) -> None:
    """Raise `InputError` if the file is not the one that was opened (another size or time of change)."""
    if file.remote is not None:
        return  # each request for bytes of it says of which version
    try:
        facts = os.stat(file.path)
    except OSError as error:
        raise InputError(f"{file.path} was there when the run began and is not now: {error.strerror}.") from error
    if (facts.st_size, facts.st_mtime_ns) != (file.size, file.modified_ns):
        raise InputError(f"{file.path} was changed while it was being read: leave the input alone during a run.")


def content_digest(file: File) -> str:
    """Return the SHA-256 of a file's bytes; of one that is read by ranges, which version of the object it is."""
    if file.remote is not None and file.copy is None:
        return f"version {file.remote.found.version}"
    with open(file.copy or file.path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Gzip:
    """The bytes of a gzip file, of all its members; zeros behind one fill up a block, as gzip itself takes it.

    Raises `OSError` for what is damaged or cut.
    """

    def __init__(self, packed: Any) -> None:
        self._packed = packed
        self._inflate = zlib.decompressobj(_GZIP)
        self._rest = b""
        self._within = False  # a member has begun

    def readinto(self, buffer: Any) -> int:
        found = b""
        while not found:
            packed = self._rest or bytes(self._packed.read(_PIECE_BYTES))
            if not packed:
                if self._within:
                    raise OSError("it ends in the middle")
                break
            self._rest = b""
            packed = packed if self._within else packed.lstrip(b"\0")
            found = self._unpacked(packed, len(buffer)) if packed else b""
        buffer[: len(found)] = found
        return len(found)

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        if not self._within:
            self._inflate, self._within = zlib.decompressobj(_GZIP), True
        try:
            found = self._inflate.decompress(packed, most)
        except zlib.error as error:
            raise OSError(str(error)) from None
        self._within = not self._inflate.eof
        self._rest = self._inflate.unconsumed_tail if self._within else self._inflate.unused_data
        return found

    def close(self) -> None:
        self._packed.close()


class UnpackedBytes(io.RawIOBase):
    """The bytes of a file after unpacking; `taken` counts those handed out so far, from which batches are bounded."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._inner: Any
        if file.compression == "gzip":
            self._inner = _Gzip(pa.input_stream(file.arrow(), compression=None))
        elif file.compression:
            self._inner = pa.input_stream(file.arrow(), compression=file.compression)
        else:
            self._inner = open(file.copy or file.path, "rb", buffering=0)  # noqa: SIM115 (closed with this object)
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count: int = self._inner.readinto(buffer)
        except OSError as error:
            raise InputError(
                f"{self._file.path} cannot be read after {self.taken} bytes: {error}. It is cut or damaged, or not "
                f"compressed as its name says ({self._file.compression}): fetch it again, or rename it."
                if self._file.compression
                else f"{self._file.path} cannot be read after {self.taken} bytes: {error}."
            ) from error
        self.taken += count
        if (
            self._file.compression
            and self.taken > EXPANSION_FLOOR
            and self.taken > EXPANSION_CAP * max(1, self._file.size)
        ):
            raise InputError(
                f"{self._file.path} unpacks to more than {EXPANSION_CAP} times its size, as a decompression bomb does: "
                "if it is meant, unpack it yourself and name the unpacked file."
            )
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()


class TranscodedBytes(UnpackedBytes):
    """The same as UTF-8. What is no text in the file's encoding stays recognisable as bytes that are not UTF-8."""

    def __init__(self, file: File) -> None:
        super().__init__(file)
        assert file.encoding is not None
        self._errors = "surrogatepass" if file.encoding.startswith("utf-") else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(file.encoding)(self._errors)
        self._ready = b""
        self._ended = False

    def readinto(self, buffer: Any) -> int:
        piece = bytearray(_PIECE_BYTES)
        while not self._ready and not self._ended:
            count = super().readinto(piece)
            self._ended = count == 0
            try:
                text = self._decoder.decode(bytes(piece[:count]), final=self._ended)
            except UnicodeDecodeError as error:
                raise InputError(f"{self._file.path} is not {self._file.encoding}: {error.reason}.") from None
            self._ready = text.encode("utf-8", self._errors)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def open_bytes(file: File) -> io.BufferedReader:
    """Open a file for reading, unpacked and as UTF-8; its `raw` is the `UnpackedBytes`."""
    raw = UnpackedBytes(file) if file.encoding is None else TranscodedBytes(file)
    return io.BufferedReader(raw, _BUFFER_BYTES)
