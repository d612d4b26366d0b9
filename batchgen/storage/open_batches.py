"""Refuses to begin where the rows of open batches would be paid twice: in another lane, anew, or in a copy.

A copy of an output directory knows of the same batches as the original. Whichever collects one deletes its files at the
vendor, and both would hand in what is only planned: so one of them goes on, and that is the original, as long as it can
be found. A directory that was moved is no copy: nothing is left where it was. On another machine nobody can look for
the original; there the user has to say that it is not run any more.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from batchgen.errors import OutputError
from batchgen.storage.batch_table import read_line
from batchgen.storage.identity import read_identity, stored_identity
from batchgen.storage.own_files import JOURNAL_FILE
from batchgen.storage.place import Place, place_of, read_place
from batchgen.storage.run_state import read_run_json
from batchgen.storage.snapshot import copy_journal
from batchgen.text.figures import quantity


def refuse_open_batches(
    directory: Path, settings: Mapping[str, Any], *, moves: bool, take_over: bool = False, snapshot: bool = False
) -> int:
    """Return how many batches of the run are at the vendor. Raises `OutputError` where a run that would begin now would
    pay for rows of open batches again.

    `settings` are the job's keys; `moves`: what is there would be moved aside. `take_over` is the user's word that no
    copy is run. Nobody else may be running in the directory, except where a `snapshot` of the journal is read.
    """
    path = directory / JOURNAL_FILE
    if not path.is_file():
        return 0
    if (
        snapshot
        and (state := read_run_json(directory)) is not None
        and "batch" not in (state.session_lanes or ["batch"])
    ):
        return 0  # the journal may be large
    with TemporaryDirectory() if snapshot else nullcontext("") as folder:
        journal = copy_journal(directory, Path(folder)) if snapshot else path
        if journal is None:
            return 0
        with closing(sqlite3.connect(journal)) as db:
            try:
                lines = db.execute("SELECT number, body, members, crc FROM batches").fetchall()
                run, place = read_identity(db).run, read_place(db)
            except sqlite3.Error:
                return 0
    found = [one[0] for line in lines if (one := read_line(line)) is not None]
    there = sum(record.at_vendor for record in found)
    if moves or settings.get("model.lane") != "batch":
        if there:
            raise OutputError(
                f"{_open_text(there)}, and would be paid twice. Go on with the job as it was, with --lane batch and "
                f"without --fresh or --update; or end them and collect what they have: {_cancel(directory)}"
            )
    elif place is not None and not take_over and any(record.unfinished for record in found):
        _refuse_copy(directory, place, run)
    return there


def collect_first(problem: str, there: int, directory: Path) -> str:
    """Return why a run cannot go on in a directory with the remedy for the batches that it has at the vendor."""
    if not there:
        return problem
    return (
        f"{problem} {_open_text(there)}, and what they have is paid: first collect it with the job as it was, or end "
        f"them and collect what they have: {_cancel(directory)}"
    )


def _cancel(directory: Path) -> str:
    return f"batchgen cancel {shlex.quote(str(directory))}"


def _open_text(there: int) -> str:
    return f"{quantity(there, 'batch of this run is', 'batches of this run are')} open at the vendor"


def _refuse_copy(directory: Path, there: Place, run: str) -> None:
    here = place_of(directory / JOURNAL_FILE)
    for path in _places(here, there):
        if _is_another(path, directory, run, there.inode if here.inode == there.inode else None):
            raise OutputError(
                f"{directory} is a copy of {path}, made while batches of that run were open. If both went on, the same "
                f"rows would be paid twice: go on with {path}. Where the copy is to go on instead, remove {path}; or "
                "say with --take-over that it is not run any more."
            )
    if here.inode == there.inode or (here.machine or here.host) == (there.machine or there.host):
        return
    raise OutputError(
        f"{directory} was copied here from {there.path} on {there.host}, while batches of its run were open. If the "
        "run goes on there too, the same rows are paid twice. If it does not, say so with --take-over."
    )


def _places(here: Place, there: Place) -> Iterator[Path]:
    """Yield where the original may be: where it was, or renamed beside that place or this one."""
    yield Path(there.path)
    for parent in {os.path.dirname(there.path), os.path.dirname(here.path)}:
        with suppress(OSError), os.scandir(parent) as beside:
            for entry in beside:
                with suppress(OSError):
                    if entry.is_dir() and os.stat(os.path.join(entry.path, JOURNAL_FILE)).st_ino == there.inode:
                        yield Path(entry.path)


def _is_another(path: Path, directory: Path, run: str, inode: int | None) -> bool:
    """Whether a path leads to another directory with this run; also where it is closed to us, so that it may be one.

    The directory with the very file that was there is the original itself: only a copy of the whole file system has
    another one with the same `inode`.
    """
    try:
        if os.path.samefile(path, directory) or (inode and os.stat(path / JOURNAL_FILE).st_ino != inode):
            return False
        found = stored_identity(path / JOURNAL_FILE)
        state = read_run_json(path)
    except PermissionError:
        return True
    except OSError:
        return False
    except OutputError:
        return True
    return run in (found and found.run, state and state.run)
