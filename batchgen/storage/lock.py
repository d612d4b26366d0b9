"""Locks the output directory for one process, after checks: it is ours, and on a file system with reliable locks."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

from batchgen.errors import OutputError
from batchgen.files.modes import LOCK_FILE, PRIVATE, change_mode, make_directory, open_file
from batchgen.storage.own_files import foreign_names, own_files

_LOCK_WAIT_S = 0.4  # a `status` holds the lock for microseconds; a starting run writes its name within one
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "ceph", "glusterfs"}
    | {f"fuse.{name}" for name in ("glusterfs", "sshfs", "s3fs", "gcsfuse", "rclone", "goofys", "mount-s3")}
)
"""Where file locks and SQLite's log cannot be relied on: https://www.sqlite.org/wal.html, "same host"."""


def enter(path: Path, mode: int | None = None) -> int:
    """Create the directory if it is missing, check that it is ours, and return the descriptor of the lock held on it.

    `mode` is that of the files in it, those included that are there already; None leaves it. Nothing is changed in a
    directory that is refused, and one that somebody else has made keeps its mode.
    """
    while True:
        if path.is_symlink():
            raise OutputError(f"{path} is a symbolic link; name the directory itself as --output.")
        refuse_foreign(path)
        make_directory(path, mode or PRIVATE)
        lock = open_file(path / LOCK_FILE, os.O_RDWR)
        try:
            _hold(lock, path)
            if os.path.samestat(os.fstat(lock), os.stat(path / LOCK_FILE)):
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                if mode is not None:
                    for own in own_files(path):
                        change_mode(own, mode)
                return lock
        except FileNotFoundError:
            pass  # moved aside by a --fresh between open and lock: begin again
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _hold(lock: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OutputError(
                    f"{path} is in use by {_holder(lock)}. Wait for it to end, stop it, or choose another --output."
                ) from None
            time.sleep(0.02)
        else:
            return


def _holder(lock: int) -> str:
    return os.pread(lock, 400, 0).decode(errors="replace").strip() or "another process"


def refuse_foreign(path: Path) -> None:
    """Refuse a directory with content that batchgen did not make, a path that is no directory, and one below a file."""
    there = next((place for place in (path, *path.parents) if place.exists()), path)
    if there.exists() and not there.is_dir():
        raise OutputError(f"{there} is a file, not a directory; choose another --output.")
    foreign = foreign_names(path)
    if foreign:
        raise OutputError(
            f"{path} is not empty and was not made by batchgen (it has {min(foreign)}); choose another --output."
        )


def refuse_network(path: Path, mounts: Path) -> None:
    """Refuse a file system whose locks cannot be relied on, by its name in the table of mounts."""
    kind, mount = _file_system(path, mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise OutputError(
            f"{path} is on {mount}, a network file system ({kind}), whose locks and synced writes cannot be "
            "relied on; choose an --output on a local disk."
        )


def _file_system(path: Path, mounts: Path) -> tuple[str, str]:
    """Return type and mount point of the file system that holds `path`, empty where that cannot be known."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return "", ""
    real = path.resolve()
    best = Path("/")
    kind = ""
    for line in lines:
        _, point, name, *_ = line.split(" ")
        place = Path(point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if real.is_relative_to(place) and len(place.parts) >= len(best.parts):
            best, kind = place, name
    return kind, str(best)


def holder(path: Path) -> str | None:
    """Return who runs in the directory now, as `process 123 on host`; None if nobody does or it is closed."""
    try:
        lock = os.open(path / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(lock)
    else:
        return None
    finally:
        os.close(lock)
