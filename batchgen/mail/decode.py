"""One mail's bytes → the row it becomes: headers, body as text, what was attached, and what could not be read.

The parts are taken by `mime`, their text by `content`; charsets, encoded words and HTML are read by `text` and `html`.
Nothing a mail holds raises here: it is the row that says what went wrong.
"""

from __future__ import annotations

import re
from datetime import datetime

from msgspec import Struct

from batchgen.mail.content import Content, body_text
from batchgen.mail.dates import read_date
from batchgen.mail.mime import Part, parse
from batchgen.mail.text import decode_bytes, header_text

LARGEST_MAIL = 64 * 1024 * 1024
"""Bytes of one mail that are read; most servers refuse mails beyond 25 to 50 MB. The rest is passed over, and said."""

DELETED = "\\Deleted"
"""The label of a mail that its program marked as deleted and has not yet taken out of the file (IMAP's name for it)."""

_HEADER_OF_MAILS = re.compile(
    r"from|to|cc|bcc|subject|date|sender|received|path|newsgroups|references|in-reply-to|return-path|status|priority"
    r"|importance|errors-to|(?:mime|content|message|list|reply|delivered|resent|user|auto|thread|x|dkim|arc|disposition"
    r"|original|authentication)-.*"
)
_FOLDER_ENTRY = "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA"  # of Pine and UW-IMAP servers


class Mail(Struct, frozen=True, kw_only=True):
    """A row. `date_text` keeps a Date header that is none, or has no known zone.

    `error` says what is missing or damaged, `notes` what was decided without a loss, `not_read` (name, kind) what was
    not opened, `files` (name, bytes) what of it is to be kept. `gmail_thread` is Gmail's own number of the
    conversation.
    """

    source: str
    message_id: str | None = None
    from_: str | None = None
    reply_to: str | None = None
    to: str | None = None
    cc: str | None = None
    bcc: str | None = None
    date: datetime | None = None
    date_text: str | None = None
    subject: str | None = None
    body: str | None = None
    attachments: tuple[str, ...] = ()
    not_read: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    gmail_thread: str | None = None
    labels: tuple[str, ...] = ()
    list_id: str | None = None
    notes: str | None = None
    error: str | None = None
    files: tuple[tuple[str, bytes], ...] = ()


def decode_mail(
    raw: bytes,
    source: str,
    *,
    cut: bool = False,
    deleted: bool = False,
    note: str | None = None,
    with_files: bool = False,
) -> Mail:
    """Return the row of a mail, `with_files` also the attached files that are not in its text.

    `cut`: it was longer than `LARGEST_MAIL`; `deleted`, `note`: what the mailbox says.
    """
    message = parse(raw)
    if not any(_HEADER_OF_MAILS.fullmatch(name) for name, _ in message.headers):
        text = decode_bytes(raw, None).text.strip() if b"\0" not in raw else ""
        return Mail(source=source, body=text or None, error="this is no mail: it has no headers", notes=note)
    content = Content(notes=[note] if note else [], files=[] if with_files else None)
    if (message.header("subject") or "").startswith(_FOLDER_ENTRY):
        content.notes.append("this is no mail but the mail program's own entry for the folder")
    if cut:
        content.problems.append(f"the mail is longer than {LARGEST_MAIL >> 20} MB: the rest was not read")
    headers = _headers(message)
    body = body_text(message, content)
    date, date_text, date_note = read_date(headers.get("date"))
    if date_note:
        content.notes.append(date_note)
    return Mail(
        source=source,
        message_id=_message_id(headers.get("message-id")),
        from_=headers.get("from"),
        reply_to=headers.get("reply-to"),
        to=headers.get("to"),
        cc=headers.get("cc"),
        bcc=headers.get("bcc"),
        date=date,
        date_text=date_text,
        subject=headers.get("subject"),
        body=body,
        attachments=tuple(content.attachments),
        not_read=tuple(content.not_read),
        links=tuple(content.links),
        in_reply_to=next(iter(_message_ids(headers.get("in-reply-to"))), None),
        references=_message_ids(headers.get("references")),
        gmail_thread=headers.get("x-gm-thrid"),
        labels=_labels(headers, deleted),
        list_id=_list_id(headers.get("list-id")),
        notes="; ".join(dict.fromkeys(content.notes)) or None,
        error="; ".join(dict.fromkeys(content.problems)) or None,
        files=tuple(content.files or ()),
    )


# Headers

_ADDRESSES = frozenset(("from", "reply-to", "to", "cc", "bcc"))
_SEVERAL = {"to": ", ", "cc": ", ", "bcc": ", ", "reply-to": ", ", "references": " ", "x-gmail-labels": ","}
_KEPT = _ADDRESSES.union(
    ("message-id", "date", "subject", "in-reply-to", "references", "list-id", "x-gm-thrid"),
    ("x-gmail-labels", "x-keywords", "x-mozilla-keys", "x-label", "x-mozilla-status", "status", "x-status"),
)


def _headers(message: Part) -> dict[str, str]:
    """Return the headers of a row, decoded. Of addresses all headers count, of the others the first with a value."""
    found: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for name, raw in message.headers:
        if name not in _KEPT:
            continue
        text = header_text(raw, structured=name in _ADDRESSES)
        if name in _SEVERAL:
            several.setdefault(name, []).append(text)
        elif not found.get(name):
            found[name] = text
    for name, texts in several.items():
        found[name] = _SEVERAL[name].join(filter(None, texts))
    return found


def _message_id(text: str | None) -> str | None:
    """Return a Message-ID as it is compared: without the spaces that folding puts into it; None for an empty one."""
    if not text:
        return None
    return next(iter(_message_ids(text)), None) or None


def _message_ids(text: str | None) -> tuple[str, ...]:
    """Return the ids of a References or In-Reply-To header, which may hold other words too."""
    if not text:
        return ()
    found = ("".join(written.split()) for written in re.findall(r"<[^<>]*>", text))
    return tuple(dict.fromkeys(i for i in found if i != "<>")) or tuple(w for w in text.split() if "@" in w)


def _list_id(text: str | None) -> str | None:
    """Return the id of a mailing list without its describing words."""
    match = re.search(r"<([^<>]+)>", text or "")
    return match[1].strip() if match else (text or None)


def _labels(headers: dict[str, str], deleted: bool) -> tuple[str, ...]:
    """Return the labels of Gmail (commas between) and the tags of other programs (commas or spaces), and `DELETED`."""
    found = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^,"]+)', headers.get("x-gmail-labels", ""))]
    for name in ("x-keywords", "x-mozilla-keys", "x-label"):
        found += re.split(r"[,\s]+", headers.get(name, ""))
    status = headers.get("x-mozilla-status", "")
    mozilla = len(status) == 4 and re.fullmatch(r"[0-9a-fA-F]{4}", status) is not None and int(status, 16) & 0x0008
    marks = (headers.get("status", ""), headers.get("x-status", ""))
    if deleted or mozilla or any("D" in mark and re.fullmatch("[ROUNAFDT]+", mark) for mark in marks):
        found.append(DELETED)
    return tuple(dict.fromkeys(label.strip() for label in found if label.strip()))
