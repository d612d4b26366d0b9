"""Who may read what is written: its owner alone, or his group in a run that is opened to it; whatever the umask says.

Only what batchgen itself makes gets a mode: a directory that is there already keeps its own.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

LOCK_FILE = "run.lock"
"""The lock of an output directory. Its mode is where the directory's `[output] mode` is kept: all files that are
written there later, by whatever command, get the same."""

PRIVATE, GROUP = 0o600, 0o660
_SEARCH = {PRIVATE: 0o700, GROUP: 0o770}


def file_mode(path: Path) -> int:
    """Return the mode of a file to be made at `path`: `GROUP` in an output directory that says so, else `PRIVATE`."""
    for directory in (path.parent, path.parent.parent):  # of parts, `results` is between
        try:
            found = os.stat(directory / LOCK_FILE, follow_symlinks=False).st_mode
        except OSError:
            continue
        return GROUP if stat.S_IMODE(found) == GROUP else PRIVATE
    return PRIVATE


def open_file(path: Path, flags: int, mode: int | None = None) -> int:
    """Open a file, made if it is missing, and return its descriptor; `mode` is `file_mode` if not given.

    A symbolic link at `path` is refused. A file of another user keeps its mode, which only he may change.
    """
    mode = file_mode(path) if mode is None else mode
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        found = os.fstat(descriptor)
        if stat.S_IMODE(found.st_mode) != mode and found.st_uid == os.geteuid():
            os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_directory(path: Path, mode: int = PRIVATE) -> None:
    """Make a directory, and those above it that are missing; files in it are meant to have `mode`.

    What exists keeps its mode. A new one stays in the group of the one above, where that passes its group on.
    """
    if not path.parent.exists():
        make_directory(path.parent, mode)
    try:
        path.mkdir(_SEARCH[mode])
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        change_mode(path, mode)


def change_mode(path: Path, mode: int) -> None:
    """Give a file of ours, or a directory of ours that holds such files, its mode; others' files are left alone."""
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode):
        mode = _SEARCH[mode] | (found.st_mode & stat.S_ISGID)
    elif not stat.S_ISREG(found.st_mode):
        return
    if stat.S_IMODE(found.st_mode) != mode and found.st_uid == os.geteuid():
        path.chmod(mode)
