"""Which run a file belongs to: `run.json`, journal, spill file, shared answers and every part say it of themselves.

Nothing is used that was copied here from another run, or was left behind by a run of another job or input.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from batchgen.files.checksum import checksum

RUN_LETTERS = 16
IDENTITY_KEY = "run"
"""Where the journal has it, in its table `meta`."""


class RunIdentity(Struct, frozen=True):
    """`run` is a random name of `RUN_LETTERS` letters, drawn when a run begins and kept for ever.

    `fingerprints` are of job and input, `published` of what only counts once a part is written (`run_state`);
    `currency` is that of what it charges, None while no price is known.
    """

    run: str = ""
    fingerprints: Mapping[str, str] = {}
    published: Mapping[str, str] = {}
    currency: str | None = None


def new_run() -> str:
    """Return the name of a run that begins."""
    return secrets.token_hex(RUN_LETTERS // 2)


def stored_identity(path: Path) -> RunIdentity | None:
    """Return which run the journal at `path` belongs to, without changing anything; None if it cannot be known.

    Raises `OSError` where the disk does not give it.
    """
    with suppress(sqlite3.Error):
        return _stored(path)
    with suppress(FileNotFoundError, sqlite3.Error):
        checksum(path)  # SQLite says of a read that failed that the file is damaged
        return _stored(path)
    return None


def _stored(path: Path) -> RunIdentity:
    with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True)) as db:
        db.text_factory = lambda raw: raw.decode(errors="replace")
        return read_identity(db)


def read_identity(db: sqlite3.Connection) -> RunIdentity:
    """Return which run an open journal belongs to. Raises `sqlite3.Error` if that is damaged."""
    (text,) = db.execute("SELECT value FROM meta WHERE key = ?", (IDENTITY_KEY,)).fetchone() or ("",)
    crc, _, body = text.partition(" ")
    if crc != str(zlib.crc32(body.encode())):
        error = sqlite3.DatabaseError("what says which run it belongs to does not match its checksum")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    return msgspec.json.decode(body, type=RunIdentity)


def identity_text(identity: RunIdentity) -> str:
    """Return the line of the journal that `read_identity` reads."""
    body = msgspec.json.encode(identity).decode()
    return f"{zlib.crc32(body.encode())} {body}"
