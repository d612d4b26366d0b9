"""Errors of a disk: it is full, gone or broken, or gives no access. They say nothing about what lies on it.

So an answer that cannot be read just now is never taken for lost, and a file never for damaged: the command stops.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchgen.errors import BatchgenError, InputError, InputStop, InternalStop, StoppedError, StorageStop, innermost

MEND = "Mend the disk, or make room on it; then run the same command again."
_REMEDIES = {
    errno.EISDIR: "A folder stands where a file has to be: move it away; then run the same command again.",
    errno.EACCES: "This user may not: change the permissions; then run the same command again.",
    errno.EPERM: "This user may not: change the permissions; then run the same command again.",
}
REPEAT = "Run the job again to do its rows anew."

_OF_DISKS = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ENOSPC", "EDQUOT", "EFBIG", "EROFS", "ENXIO", "ENODEV", "ESTALE")
    if hasattr(errno, name)
)


def of_disk(error: BaseException) -> bool:
    """Whether an error is the disk's, where nothing but the disk is used.

    SQLite says of a read that failed that the file is malformed.
    """
    return isinstance(error, (OSError, sqlite3.OperationalError)) or type(error) is sqlite3.DatabaseError


def is_refusal(error: BaseException) -> bool:
    """Whether the system refused to read a file, which may be whole. Of damaged contents pyarrow raises an `OSError`
    too, but without a number."""
    return isinstance(error, OSError) and error.errno is not None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have a refusal name the file: one that comes after opening it names none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def mend(error: BaseException, otherwise: str = MEND) -> str:
    """Return what to do about a refusal of the system: what its number says, else that for a disk."""
    return _REMEDIES.get(getattr(error, "errno", None) or 0, otherwise)


def storage_stop(message: str, error: BaseException) -> StorageStop:
    """Return the stop for what the system refused, with what to do about it where its number says so."""
    return StorageStop(message, mend(error, StorageStop.remedy))


def unreadable(path: Path, error: BaseException, remedy: str) -> str:
    """Return the sentences for a file that cannot be read; `remedy` is that for a damaged one."""
    return f"{path} cannot be read: {error}. {mend(error) if is_refusal(error) else remedy}"


def of_any_disk(error: BaseException) -> bool:
    """Whether an error that nobody expected is the disk's; one of a connection names no file."""
    if isinstance(error, OSError):
        return error.errno in _OF_DISKS or error.filename is not None
    return of_disk(error)


def unforeseen_stop(error: BaseException, directory: Path) -> StoppedError:
    """Return what an error that nobody expected is for a run in `directory`.

    A disk that refuses one thing refuses the next one on the way out: the first is the one to be told.
    """
    inner = innermost(error)
    if isinstance(inner, StoppedError):
        return inner
    if isinstance(inner, InputError):
        return InputStop(str(inner))
    if isinstance(inner, BatchgenError):
        return StorageStop(str(inner))
    if not of_any_disk(inner):
        return InternalStop.of(error)
    first: BaseException | None = inner
    while first is not None and not isinstance(first, StoppedError):
        first = first.__context__
    stop = first or storage_stop(f"{directory} cannot be written or read ({inner}).", inner)
    stop.__cause__ = stop.__cause__ or error
    return stop
