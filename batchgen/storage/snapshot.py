"""A copy of the journal to read in, taken while another process may be writing: the writer notices nothing.

The journal proper is locked for its own process. A copy of the file and then of its log is the journal as it was at one
moment, as long as the log was not begun anew in between: what a checkpoint wrote into the file meanwhile stands in the
log too, and SQLite reads that first. A log that is begun anew has another header.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from batchgen.errors import OutputError
from batchgen.storage.own_files import JOURNAL_FILE

_HEADER_BYTES = 32
_TRIES = 50
_PAUSE_S = 0.02


def copy_journal(directory: Path, target: Path) -> Path | None:
    """Copy the journal of an output directory into the folder `target`; None if there is none.

    Raises `OutputError` when it changes too fast, `OSError` when it cannot be read or the copy not be written.
    """
    journal, copy = directory / JOURNAL_FILE, target / JOURNAL_FILE
    for _ in range(_TRIES):
        before = _state(journal)
        if before is None:
            return None
        try:
            shutil.copyfile(journal, copy)
            _copy_log(journal, copy)
        except FileNotFoundError:
            continue  # the run has just ended
        if _state(journal) == before:
            return copy
        time.sleep(_PAUSE_S)
    raise OutputError(f"{journal} is being written too fast to be read; try again in a moment.")


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _copy_log(journal: Path, copy: Path) -> None:
    try:
        shutil.copyfile(_log(journal), _log(copy))
    except FileNotFoundError:
        _log(copy).unlink(missing_ok=True)


def _state(journal: Path) -> tuple[bytes, object] | None:
    """Return the header of the log, and where it is empty what tells whether the file has changed."""
    try:
        file = journal.stat()
    except FileNotFoundError:
        return None
    try:
        with open(_log(journal), "rb") as log:
            header = log.read(_HEADER_BYTES)
    except FileNotFoundError:
        header = b""
    return header, (None if header else (file.st_mtime_ns, file.st_size, file.st_ino))
