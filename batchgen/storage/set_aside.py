"""Runs that `--fresh` and `--update` have moved aside (`out.old-DATE`): never deleted, and named in messages."""

from __future__ import annotations

import os
from pathlib import Path

from batchgen.storage.move_aside import begun_state
from batchgen.storage.own_files import is_run
from batchgen.storage.run_state import is_simulated, read_run_json

_NAMED = 3
_MEGABYTE = 10**6


def set_aside(path: Path) -> list[Path]:
    """Return the runs that were moved aside from an output directory, the oldest first."""
    path = Path(os.path.abspath(path))
    try:
        return sorted(one for one in path.parent.iterdir() if one.name.startswith(f"{path.name}.old-") and is_run(one))
    except OSError:
        return []


def set_aside_text(path: Path, *, complete: bool) -> str | None:
    """Say how many runs lie beside the one in `path`, how large they are, and when they may go; None for none."""
    found = set_aside(path)
    if not found:
        return None
    if complete:
        advice = (
            "may be deleted: what this run could take of them is in it. They would save money again only if the job "
            "or its input (also --limit) went back to what it was"
        )
    else:
        are, them = ("is", "it") if len(found) == 1 else ("are", "them")
        advice = f"{are} to be kept until this run is complete, since it takes answers from {them}"
    return f"{_counted(found)} ({_size(found)}) {advice}: {_names(found)}"


def lost_run_hint(path: Path, *, simulated: bool) -> str | None:
    """Say which answers could be taken where a run begins in an empty place and earlier runs lie beside it.

    Answers of the simulator are never taken for real ones, nor the other way.
    """
    if begun_state(path) is not None:
        return None
    states = {one: read_run_json(one) for one in set_aside(path)}
    found = [one for one, state in states.items() if state and is_simulated(state.fingerprints) == simulated]
    if not found:
        return None
    return (
        f"No run is in {path}, but beside it {_counted(found)} ({_names(found)}): to pay nothing twice, take the "
        f"answers of the latest with --reuse {found[-1]}"
    )


def _counted(found: list[Path]) -> str:
    return "1 earlier run" if len(found) == 1 else f"{len(found):,} earlier runs"


def _names(found: list[Path]) -> str:
    names = [one.name for one in found[-_NAMED:]]
    return ", ".join([*names, f"and {len(found) - _NAMED:,} older"] if len(found) > _NAMED else names)


def _size(found: list[Path]) -> str:
    size = sum(
        os.lstat(os.path.join(folder, name)).st_size
        for one in found
        for folder, _, names in os.walk(one)
        for name in names
    )
    return f"{max(1, round(size / _MEGABYTE)):,} MB"
