"""The permissions of files: for the owner alone, or for the group too if the run says so, whatever the umask is.

Only files and directories that batchgen creates get these permissions; an existing directory keeps its own.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

LOCK_FILE = "run.lock"
"""The lock file of an output directory. Its permissions record the run's `[output] mode`: every file that any command
writes there later gets the same."""

PRIVATE, GROUP = 0o600, 0o660
_SEARCH = {PRIVATE: 0o700, GROUP: 0o770}


def file_mode(path: Path) -> int:
    """Return the permissions of a new file at `path`: `GROUP` in an output directory that says so, else `PRIVATE`."""
    for directory in (path.parent, path.parent.parent):  # parts are in `results`, a level below the lock file
        try:
            found = os.stat(directory / LOCK_FILE, follow_symlinks=False).st_mode
        except OSError:
            continue
        return GROUP if stat.S_IMODE(found) == GROUP else PRIVATE
    return PRIVATE


def open_file(path: Path, flags: int, mode: int | None = None) -> int:
    """Open a file, made if it is missing, and return its descriptor; `mode` is `file_mode` if not given.

    A symbolic link at `path` is refused. A file of another user keeps its permissions, which only that user may change.
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
    """Create a directory for files with `mode`, and the missing ones above it.

    What exists keeps its permissions. A new directory inherits the group of its parent if the parent is set-group-id.
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
    """Set the permissions of a file, or of a directory of such files, if it belongs to this user; else do nothing."""
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode):
        mode = _SEARCH[mode] | (found.st_mode & stat.S_ISGID)
    elif not stat.S_ISREG(found.st_mode):
        return
    if stat.S_IMODE(found.st_mode) != mode and found.st_uid == os.geteuid():
        path.chmod(mode)
