"""The id of each mail, its copies and its thread: what is remembered of the mails before, on disk and not in memory."""

from __future__ import annotations

import hashlib
import sqlite3
from types import TracebackType

from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.mail.decode import Mail

_LONGEST = 1_000  # characters of a Message-ID; RFC 5322 allows a line of 998


class Identity(Struct, frozen=True):
    """`id` is unique in the table and the same in each export of the mail. `copy_of`: the id of the mail it repeats.

    `note`: that another mail has the same Message-ID.
    """

    id: str
    copy_of: str | None
    thread: str | None
    note: str | None = None


class Identities:
    """Gives each mail its identity; to be used as a context. Raises `OutputError` when there is no temporary space."""

    def __init__(self) -> None:
        self._known = sqlite3.connect("", isolation_level=None)  # a temporary file that nobody else sees
        self._known.execute("PRAGMA journal_mode = OFF")
        self._known.execute(
            "CREATE TABLE mail (id TEXT PRIMARY KEY, digest BLOB, copies INTEGER, thread TEXT) WITHOUT ROWID"
        )
        self._known.execute("BEGIN")

    def __enter__(self) -> Identities:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._known.close()
        if isinstance(error, sqlite3.Error):
            raise OutputError(
                f"The ids of the mails cannot be kept in the temporary folder (TMPDIR): {error}."
            ) from error

    def identity(self, mail: Mail, raw: bytes) -> Identity:
        """Return the identity of the next mail.

        The id is the Message-ID, else a hash of what the mail says. A copy gets `#2`, `#3`; another mail under the same
        Message-ID, as broken senders give it, gets a part of its hash.
        """
        digest = _digest(mail, raw)
        message_id = mail.message_id if mail.message_id and len(mail.message_id) <= _LONGEST else None
        wanted = message_id or f"sha256-{digest.hex()[:32]}"
        thread = self._thread(mail, wanted)
        note = None
        for name in (wanted, f"{wanted}#{digest.hex()[:12]}"):
            known = self._known.execute("SELECT digest, copies FROM mail WHERE id = ?", (name,)).fetchone()
            if known is None:
                self._keep(name, digest, thread)
                return Identity(name, None, thread, note)
            if known[0] == digest:
                copy = self._numbered(name, known[1] + 1)
                return Identity(copy, name, thread, note)
            note = "another mail has the same Message-ID"
        return Identity(self._numbered(wanted, 2), None, thread, note)

    def _numbered(self, name: str, number: int) -> str:
        """Return the first number of a name, from this one on, that no Message-ID has; it is then known."""
        while self._known.execute("SELECT 1 FROM mail WHERE id = ?", (f"{name}#{number}",)).fetchone():
            number += 1
        self._keep(f"{name}#{number}", b"", None)
        self._known.execute("UPDATE mail SET copies = ? WHERE id = ?", (number, name))
        return f"{name}#{number}"

    def _keep(self, name: str, digest: bytes, thread: str | None) -> None:
        self._known.execute("INSERT INTO mail VALUES (?, ?, 1, ?)", (name, digest, thread))

    def _thread(self, mail: Mail, own: str) -> str | None:
        """Return what all mails of a conversation share: Gmail's number of it, else its first mail's Message-ID."""
        if mail.gmail_thread:
            return mail.gmail_thread
        parent = mail.references[0] if mail.references else mail.in_reply_to
        if parent is None:
            return own if mail.message_id else None
        known = self._known.execute("SELECT thread FROM mail WHERE id = ?", (parent,)).fetchone()
        return known[0] if known is not None and known[0] else parent


def _digest(mail: Mail, raw: bytes) -> bytes:
    """Return a hash of what the mail says, the same whatever mailbox it was in and whichever way it came."""
    told = (mail.from_, mail.to, mail.cc, str(mail.date), mail.date_text, mail.subject, mail.body, *mail.attachments)
    digest = hashlib.sha256("\0".join(text or "" for text in told).encode())
    if mail.body is None:
        digest.update(raw)
    return digest.digest()
