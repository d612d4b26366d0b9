"""One mail's bytes → the row it becomes: headers, body as text, attachment names, and what could not be read.

Python's `email` package takes the mail apart (policy `default`); charsets, encoded words and HTML are read by
`text` and `html`. Nothing a mail holds raises here: it is the row that says what went wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

from msgspec import Struct

from batchgen.mail.html import TooDeepError, html_text
from batchgen.mail.text import decode_bytes, header_text, unflowed

LARGEST_MAIL = 64 * 1024 * 1024
"""Bytes of one mail that are read; most servers refuse mails beyond 25 to 50 MB. The rest is passed over, and said."""

_MOST_PARTS = 10_000
_FAULTS = (LookupError, ValueError, TypeError, AttributeError, AssertionError, RecursionError, UnboundLocalError)
"""What the `email` package is known to raise on broken mails, beyond the defects that it notes."""

_SEALED = {
    "application/pkcs7-mime": "S/MIME",
    "application/x-pkcs7-mime": "S/MIME",
    "multipart/encrypted": "PGP or S/MIME",
    "application/ms-tnef": "Outlook's winmail.dat",
    "application/vnd.ms-tnef": "Outlook's winmail.dat",
}


class Mail(Struct, frozen=True):
    """A row. `date_text` keeps a Date header that is none; `error` says what is missing or damaged in the others."""

    source: str
    message_id: str | None = None
    from_: str | None = None
    to: str | None = None
    cc: str | None = None
    date: datetime | None = None
    date_text: str | None = None
    subject: str | None = None
    body: str | None = None
    attachments: tuple[str, ...] = ()
    error: str | None = None


class _Content(Struct):
    """What has been found so far in the parts of a mail."""

    attachments: list[str]
    problems: list[str]
    parts: int = 0


def decode_mail(raw: bytes, source: str, *, cut: bool = False) -> Mail:
    """Return the row of a mail. `cut`: the mail was longer than `LARGEST_MAIL`."""
    content = _Content([], [f"the mail is longer than {LARGEST_MAIL >> 20} MB: the rest was not read"] if cut else [])
    try:
        message = BytesParser(policy=policy.default).parsebytes(raw)
    except _FAULTS as error:
        return Mail(source, error=f"the mail cannot be taken apart ({_named(error)})")
    headers = _headers(message)
    if not headers:
        return Mail(source, error="this is no mail: it has no headers")
    try:
        body = _body(message, content)
    except _FAULTS as error:
        body = None
        content.problems.append(f"the parts of the mail cannot be read ({_named(error)})")
    date, date_text = _date(headers.get("date"))
    return Mail(
        source,
        headers.get("message-id"),
        headers.get("from"),
        headers.get("to"),
        headers.get("cc"),
        date,
        date_text,
        headers.get("subject"),
        body,
        tuple(content.attachments),
        "; ".join(dict.fromkeys(content.problems)) or None,
    )


_KEPT = {"message-id": False, "from": True, "to": True, "cc": True, "date": False, "subject": False}


def _headers(message: EmailMessage) -> dict[str, str]:
    """Return the headers of a row, decoded. Of several To and Cc all count, of the others the first."""
    found: dict[str, str] = {}
    for written, raw in message.raw_items():
        name = written.lower()
        if name not in _KEPT:
            found.setdefault("", "")  # a mail with other headers only is a mail
            continue
        text = header_text(str(raw), structured=_KEPT[name])
        if name in ("to", "cc") and found.get(name):
            found[name] += f", {text}"
        elif name not in found:
            found[name] = text
    return found


def _date(text: str | None) -> tuple[datetime | None, str | None]:
    """Return the time in UTC, or the header's own text. A date without a zone is taken as UTC."""
    if not text:
        return None, None
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC), None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None, text


# Body


def _body(message: EmailMessage, content: _Content) -> str | None:
    """Return the text of a mail; of one without text of its own, that of the first mail attached to it."""
    text = _texts(message, content)
    if text:
        return text
    inner = next((part for part in _walk(message) if part.get_content_type() == "message/rfc822"), None)
    if inner is not None:
        attached = _children(inner)
        text = _texts(attached[0], _Content([], content.problems)) if attached else ""
        if text:
            return text
    sealed = next((_SEALED[kind] for part in _walk(message) if (kind := part.get_content_type()) in _SEALED), None)
    if sealed is None and "winmail.dat" in (name.lower() for name in content.attachments):
        sealed = _SEALED["application/ms-tnef"]
    if sealed is not None:
        content.problems.append(f"the text is inside {sealed}, which is not read")
    return None if content.problems else ""


def _walk(message: EmailMessage) -> Iterator[EmailMessage]:
    """Yield all parts, depth first; not the inside of attached mails."""
    stack = [message]
    while stack:
        part = stack.pop()
        yield part
        if part.get_content_maintype() == "multipart":
            stack += reversed(_children(part))


def _children(part: EmailMessage) -> list[EmailMessage]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, EmailMessage)] if isinstance(payload, list) else []


def _texts(part: EmailMessage, content: _Content) -> str:
    """Return the text below a part, and note attachments and problems on the way."""
    content.parts += 1
    if content.parts > _MOST_PARTS:
        content.problems.append(f"the mail has more than {_MOST_PARTS:,} parts: the rest was not read")
        return ""
    try:
        kind, disposition, name = part.get_content_type(), part.get_content_disposition(), _file_name(part)
    except _FAULTS as error:
        content.problems.append(f"a part's headers cannot be read ({_named(error)})")
        return ""
    children = _children(part)
    if kind == "multipart/alternative" and children:
        return _alternative(children, content)
    if kind.startswith("multipart/") and children:
        texts = (_texts(child, content) for child in children)
        return "\n\n".join(text for text in texts if text)
    if kind.startswith("multipart/"):
        content.problems.append("the mail is broken: a multipart has no parts")
        kind = "text/plain"  # most often the boundary is wrong, and the text stands there as it is
    shown = disposition == "inline" or (disposition != "attachment" and name is None)
    if kind in ("text/plain", "text/html") and shown:
        return _part_text(part, kind, content)
    content.attachments.append(name or _attached_subject(children) or kind)
    return ""


def _alternative(children: list[EmailMessage], content: _Content) -> str:
    """Return the plain text if there is any, else what the last other form gives.

    Attachments inside any of the forms are named; problems only count in the form that is taken.
    """
    plain = [child for child in children if child.get_content_type() == "text/plain"]
    others = [child for child in reversed(children) if child.get_content_type() != "text/plain"]
    taken, problems = "", content.problems
    first_problems: list[str] = []
    for child in [*plain, *others]:
        content.problems = []
        text = _texts(child, content)
        if text and not taken:
            taken, first_problems = text, content.problems
        elif not taken:
            first_problems = first_problems + content.problems
    content.problems = problems + first_problems
    return taken


def _part_text(part: EmailMessage, kind: str, content: _Content) -> str:
    html = kind == "text/html"
    try:
        payload = part.get_payload(decode=True)
        declared = part.get_content_charset()
        flowed, delete_space = part.get_param("format", ""), part.get_param("delsp", "")
    except _FAULTS as error:
        content.problems.append(f"a part of type {kind} cannot be decoded ({_named(error)})")
        return ""
    body = payload if isinstance(payload, bytes) else str(part.get_payload()).encode("utf-8", "surrogateescape")
    found = decode_bytes(body, declared, html=html)
    if found.lost:
        content.problems.append(f"{found.lost:,} characters of the text are damaged ({found.charset})")
    if html:
        try:
            return html_text(found.text)
        except TooDeepError as error:
            content.problems.append(f"the text cannot be read: {error}")
            return ""
    text = found.text
    if str(flowed).lower() == "flowed":
        text = unflowed(text, delete_space=str(delete_space).lower() == "yes")
    return text.strip("\n") if text.strip() else ""


def _file_name(part: EmailMessage) -> str | None:
    name = part.get_filename()
    if not name:
        return None
    return header_text(name).replace("/", "_").replace("\\", "_") or None


def _attached_subject(children: list[EmailMessage]) -> str | None:
    """Return the name for an attached mail: its subject."""
    for child in children:
        for name, raw in child.raw_items():
            if name.lower() == "subject":
                return f"{header_text(str(raw))}.eml"
    return None


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
