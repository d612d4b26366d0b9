"""Where the journal of a run is: the machine, the path, the file. A copy of an output directory is told by it.

The journal itself says where it was when batches were last handed in. After `mv`, or in another container that mounts
the same volume, it is the same file; after `cp` it is another one, and the first is still where it was.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import sqlite3
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from batchgen.storage.journal import Journal

PLACE_KEY = "place"
"""Where the journal has it, in its table `meta`."""

MARK_LETTERS = 10
MACHINE_FILE = Path("/etc/machine-id")


class Place(Struct, frozen=True):
    """`path` is that of the output directory, `inode` the journal's; `machine` is a hash of the machine's own id.

    `mark` begins the ids and file names of all batches that are planned here, so that two directories with the same run
    never take a batch of the other one for theirs.
    """

    host: str
    machine: str
    path: str
    inode: int
    mark: str = ""


def place_of(journal: Path) -> Place:
    """Return where a journal is now."""
    machine = ""
    with suppress(OSError):
        if told := MACHINE_FILE.read_bytes().strip():
            machine = hashlib.sha256(b"batchgen\0" + told).hexdigest()[:16]
    return Place(socket.gethostname(), machine, os.path.realpath(journal.parent), journal.stat().st_ino)


def read_place(db: sqlite3.Connection) -> Place | None:
    """Return where a journal says that it was; None where it does not say it."""
    line = db.execute("SELECT value FROM meta WHERE key = ?", (PLACE_KEY,)).fetchone()
    try:
        return None if line is None else msgspec.json.decode(line[0], type=Place)
    except msgspec.MsgspecError:
        return None


def keep_place(journal: Journal) -> str:
    """Have the journal say that it is here, durable on return; return the mark of batches that are planned here."""
    here = place_of(journal.path)
    with journal.transaction() as db:
        there = read_place(db)
        if there is None:
            mark = journal.identity.run[:MARK_LETTERS]
        elif (there.path, there.inode) == (here.path, here.inode):
            mark = there.mark
        else:
            mark = secrets.token_hex(MARK_LETTERS // 2)
        now = msgspec.structs.replace(here, mark=mark)
        if now != there:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (PLACE_KEY, msgspec.json.encode(now).decode()))
    return mark
