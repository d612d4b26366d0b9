"""Moving a run aside, so that another begins in its place: the old one stays whole, whenever the process is killed.

The new directory is made beside the old one, with its lock and a `run.json` that says which earlier runs it takes
answers from. Then the old one is renamed, and the new one takes its name. A kill between the two renames leaves the new
one beside an empty place; the next command that runs there takes it up.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from batchgen.errors import OutputError
from batchgen.files.modes import LOCK_FILE, file_mode
from batchgen.files.replace import sync_directory
from batchgen.storage.earlier_runs import MOST_SOURCES, stored_path
from batchgen.storage.identity import new_run
from batchgen.storage.lock import enter
from batchgen.storage.own_files import SPOOLED_INPUT, is_run
from batchgen.storage.run_state import (
    RunState,
    found_identity,
    is_simulated,
    mismatch,
    now_text,
    read_run_json,
    write_run_json,
)


def new_state(job: str, fingerprints: Mapping[str, str]) -> RunState:
    """Return what `run.json` says of a run that begins."""
    now = now_text()
    return RunState(
        state="running",
        job=job,
        started_at=now,
        updated_at=now,
        sessions=0,
        fingerprints=fingerprints,
        run=new_run(),
    )


def needs_new_directory(
    path: Path,
    fingerprints: Mapping[str, str],
    published: Mapping[str, str],
    currency: str | None,
    *,
    again: bool,
    changed: bool = False,
) -> bool:
    """Whether `--update` has to begin anew: the run in `path` is of another form of the job, or of other input.

    `again`: also where a complete run of the very same is there; `changed`: files that its input names are others now.
    Answers of the simulator are never updated with real
    ones, nor the other way: that is for the usual comparison to refuse.
    """
    state = read_run_json(path)
    found = state or found_identity(path)
    if found is None or is_simulated(found.fingerprints) != is_simulated(fingerprints):
        return False
    if state is not None and not state.sessions:
        return False  # moved here by an update that was killed before it began
    if changed or (again and state is not None and state.state == "complete"):
        return True
    return mismatch(path, found, fingerprints, published, currency) is not None


def move_aside(path: Path, lock: int, begin: RunState, *, spooled: Path | None, keep_answers: bool) -> int:
    """Rename the directory locked by `lock`, put one that holds `begin` in its place, and return the lock of that.

    `spooled`, the input's copy in the old one, is in both then. With `keep_answers` the new run takes the answers of
    the old one, and of those that the old one has taken answers from.
    """
    target, successor = _aside(path), _next(path)
    _refuse_immovable(path)
    if keep_answers:
        before = read_run_json(path)
        sources = [stored_path(target, path), *(before.reuse if before is not None else ())]
        complete = before is not None and before.state == "complete"
        begin = msgspec.structs.replace(begin, reuse=_sources(path, [*dict.fromkeys(sources)], complete=complete))
    if successor.exists():
        os.close(enter(successor))  # not in use
        shutil.rmtree(successor)
    new_lock = enter(successor, file_mode(path / LOCK_FILE))
    try:
        shutil.copymode(path, successor)  # who may come in is the user's choice
        if spooled is not None:
            _share(path / spooled.name, successor / spooled.name)
        write_run_json(successor, begin)
        path.rename(target)
        successor.rename(path)
        sync_directory(path.parent)
    except BaseException:
        os.close(new_lock)
        if is_run(path):  # the old one is in its place
            shutil.rmtree(successor, ignore_errors=True)
        raise
    os.close(lock)
    return new_lock


def _sources(path: Path, sources: list[str], *, complete: bool) -> list[str]:
    """Return which earlier runs a new one looks into: the latest, and in any case all back to one that is complete.

    Updates that stopped early, one after the other, have taken only a few of the answers of the run before them.
    `complete`: whether the first of `sources`, not yet in its place, is.
    """
    needed = 1
    while not complete and needed < len(sources):
        state = read_run_json(path.parent / sources[needed])
        complete = state is not None and state.state == "complete"
        needed += 1
    return sources[: max(MOST_SOURCES, needed)]


def finish_move(path: Path) -> None:
    """Take up a move that a kill has cut between its two renames. Raises `OutputError` while another process moves."""
    successor = _next(path)
    if is_run(path) or not is_run(successor):
        return
    lock = enter(successor)
    try:
        if is_run(path) or not is_run(successor):
            return
        if path.is_dir():
            for copy in path.glob(SPOOLED_INPUT):
                copy.rename(successor / copy.name)
            with suppress(OSError):
                path.rmdir()
        if not path.exists():
            successor.rename(path)
            sync_directory(path.parent)
    finally:
        os.close(lock)


def begun_state(path: Path) -> RunState | None:
    """Return `run.json` of a directory, or of the one that is about to take its place; None if there is none."""
    return read_run_json(path if is_run(path) else _next(path))


def _next(path: Path) -> Path:
    path = Path(os.path.abspath(path))  # "." has no name
    return path.parent / f".{path.name}.next"


def _refuse_immovable(path: Path) -> None:
    """Raise `OutputError` for a mounted directory, as containers have, which the system does not rename, and where the
    working directory is moved along: the next command there would miss the new run."""
    if os.path.ismount(path):
        raise OutputError(
            f"{path} is a mount, which cannot be moved aside: name a new directory as --output, and take the answers "
            f"of this one with --reuse {path}. A directory below the mount can be updated."
        )
    here = Path(os.path.realpath(os.curdir))
    if here.is_relative_to(os.path.realpath(path)):
        raise OutputError(
            f"The working directory {here} lies in the output directory, which is to be moved aside: run the command "
            "from another one (cd ..), with the path of the output directory in place of a dot."
        )


def _aside(path: Path) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    target = path.with_name(f"{path.name}.old-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.old-{stamp}-{number}")
    return target


def _share(source: Path, copy: Path) -> None:
    """Have one file under two names, or a copy of it where the file system has no second names."""
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)
