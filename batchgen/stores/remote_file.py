"""One object as a file: read by ranges where its reader jumps, or copied to this machine as a whole."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from batchgen.stores.protocol import (
    PATIENT_WAITS_S,
    ChangedError,
    MissingError,
    NoRangesError,
    Store,
    StoredObject,
    StoreError,
    again,
)

_PIECE_BYTES = 8 * 1024 * 1024
_WHOLE_BYTES = 1 << 30
"""The largest file that is taken, in memory, from a server that sends files only whole."""


class RemoteReadError(OSError):
    """A file in a store can be read no further; `changed`: because it is another one now."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(str(error))
        self.changed = isinstance(error, ChangedError | MissingError)


class RemoteObject(NamedTuple):
    """An object and its store."""

    store: Store
    found: StoredObject

    def open(self) -> RemoteFile:
        """Return it as a file that is read by ranges."""
        return RemoteFile(self.store, self.found)


class RemoteFile(io.RawIOBase):
    """A file whose every read is a request for these bytes of this version. Raises `RemoteReadError`."""

    def __init__(self, store: Store, found: StoredObject) -> None:
        self._store, self._found = store, found
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._found.size}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def size(self) -> int:
        """Return the size in bytes, which Arrow asks for."""
        return self._found.size

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), max(0, self._found.size - self._place))
        if not length:
            return 0
        try:
            data = again(
                lambda: self._store.read(self._found.key, self._place, length, self._found.version), PATIENT_WAITS_S
            )
        except StoreError as error:
            raise RemoteReadError(error) from error
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def pieces(store: Store, found: StoredObject) -> Iterator[bytes]:
    """Yield an object piece by piece, all of one version. Raises `StoreError`."""
    for start in range(0, found.size, _PIECE_BYTES):
        length = min(_PIECE_BYTES, found.size - start)
        data = again(partial(store.read, found.key, start, length, found.version), PATIENT_WAITS_S)
        if len(data) != length:
            raise StoreError(f"{found.key} is shorter than its store says.")
        yield data


def copy_object(store: Store, found: StoredObject, target: Path) -> None:
    """Copy an object to a new file. Raises `StoreError`, `OSError`."""
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        try:
            for data in pieces(store, found):
                file.write(data)
        except NoRangesError:
            if found.size > _WHOLE_BYTES:
                raise
            file.seek(0)
            file.write(again(partial(store.read, found.key, 0, found.size, found.version), PATIENT_WAITS_S))
