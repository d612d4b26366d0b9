"""The protocol of a store, and its errors."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Protocol, TypeVar

from msgspec import Struct

T = TypeVar("T")

RETRY_WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between the tries of one request to a store that is out of order; each is drawn from half to all of it."""

READS = 3
"""How often a small object is read that is replaced meanwhile."""

PATIENT_WAITS_S = (*RETRY_WAITS_S, 15.0, 30.0, 60.0, 60.0, 60.0)
"""The same where a run would stop: a few minutes."""


class StoreError(Exception):
    """A store did not do what was asked; the text is a whole sentence.

    Trying again does not help, but for an `OutageError`: access is denied, or a name or a setting is wrong.
    """


class OutageError(StoreError):
    """The store cannot be reached, is busy or out of order: the same request may succeed later."""


class MissingError(StoreError):
    """There is no such object."""


class ExistsError(StoreError):
    """There is such an object, and it was not to be replaced."""


class ChangedError(StoreError):
    """The object is not the one that was seen before."""


class NoRangesError(StoreError):
    """The server sends files only whole."""


class StoredObject(Struct, frozen=True):
    """An object: `version` is another one whenever its content is, empty where the server names none."""

    key: str
    size: int
    version: str


class Store(Protocol):
    """One bucket, container, repository or host. All methods block; each raises `StoreError`."""

    together: bool
    """Whether files are better put all at once at the end than one by one (a commit each)."""

    def listing(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose keys begin with `prefix/`, all if it is empty, in the order of their keys."""

    def head(self, key: str) -> StoredObject:
        """Return what an object is. Raises `MissingError`."""

    def read(self, key: str, start: int, length: int, version: str) -> bytes:
        """Return bytes of an object. Raises `MissingError`, and `ChangedError` if it has another version now."""

    def put(self, key: str, body: bytes | Path) -> None:
        """Create an object, which appears whole or not at all.

        Raises `ExistsError`, also where our own request has created it and its reply was lost.
        """

    def replace(self, key: str, body: bytes, version: str) -> None:
        """Put an object in the place of the one with this version.

        Raises `ChangedError`, also where our own request has replaced it and its reply was lost.
        """

    def put_all(self, files: Mapping[str, bytes | Path]) -> None:
        """Create several objects in one step. Called only where `together` is true."""

    def may_write(self, key: str) -> None:
        """Ask whether an object may be put there, and put none. Raises `StoreError` if not."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""


def again(call: Callable[[], T], waits_s: Sequence[float] = RETRY_WAITS_S) -> T:
    """Return what a request gives; tried again, with growing waits, while the store is out of order."""
    for wait_s in waits_s:
        try:
            return call()
        except OutageError:
            sleep(wait_s * random.uniform(0.5, 1))
    return call()


def read_whole(store: Store, key: str) -> bytes:
    """Return one version of a small object. Raises `MissingError`, `ChangedError` if it is replaced again and again."""

    def attempt() -> bytes:
        found = store.head(key)
        return store.read(key, 0, found.size, found.version) if found.size else b""

    for _ in range(READS - 1):
        with suppress(ChangedError):  # replaced between the two requests
            return again(attempt)

    return again(attempt)


def create(store: Store, key: str, body: bytes | Path, waits_s: Sequence[float] = RETRY_WAITS_S) -> None:
    """Create an object; where an object of that name is there already, it has to be the very same.

    So a reply that was lost on the way does no harm: what the lost request has put is found. Raises `ExistsError`.
    """

    def attempt() -> None:
        try:
            store.put(key, body)
        except ExistsError:
            try:
                if not holds(store, key, body):
                    raise
            except MissingError:  # another request for this name was under way and has come to nothing
                raise OutageError(f"{key} was refused as existing, and is not there.") from None

    again(attempt, waits_s)


def holds(store: Store, key: str, body: bytes | Path) -> bool:
    """Whether an object has this content. Raises `MissingError`."""
    found = store.head(key)
    if found.size != (len(body) if isinstance(body, bytes) else body.stat().st_size):
        return False
    piece = 8 * 1024 * 1024
    if isinstance(body, bytes):
        return found.size == 0 or store.read(key, 0, found.size, found.version) == body
    with open(body, "rb") as file:
        starts = range(0, found.size, piece)
        return all(store.read(key, start, min(piece, found.size - start), found.version) == file.read(piece)
                   for start in starts)  # fmt: skip
