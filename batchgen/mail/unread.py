"""What is said of the parts of a mail that are not opened: their kind, by type, name and content."""

from __future__ import annotations

from batchgen.mail.mime import Part

ELSEWHERE = "kept elsewhere"
UNREAD_KINDS = {
    "application/ms-tnef": "Outlook's winmail.dat",
    "application/vnd.ms-tnef": "Outlook's winmail.dat",
    "application/vnd.ms-outlook": "Outlook .msg",
    "application/pdf": "PDF",
    "application/x-pdf": "PDF",
    "application/rtf": "RTF",
    "text/rtf": "RTF",
    "text/richtext": "RTF",
    "application/msword": "Word",
    "application/zip": "archive",
    "application/x-zip-compressed": "archive",
    "application/gzip": "archive",
    "message/partial": "piece of a split mail",
    "message/external-body": ELSEWHERE,
}
_UNREAD_NAMES = {
    "winmail.dat": "Outlook's winmail.dat",
    "msg": "Outlook .msg",
    "pdf": "PDF",
    "rtf": "RTF",
    "doc": "Word",
    "docx": "Word",
    "xls": "Excel",
    "xlsx": "Excel",
    "ppt": "PowerPoint",
    "pptx": "PowerPoint",
    "zip": "archive",
    "gz": "archive",
    "7z": "archive",
    "rar": "archive",
    "asc": "PGP-encrypted",
    "gpg": "PGP-encrypted",
    "pgp": "PGP-encrypted",
}
_SMIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")
SEALED = (
    "Outlook's winmail.dat",
    "PGP-encrypted",
    "S/MIME-encrypted",
    "opaque-signed S/MIME",
    "piece of a split mail",
)
"""Kinds that hold the mail's own text: a mail that is nothing else has lost its body."""

OWN_TEXTS = frozenset((kind, "RTF") for kind in ("application/rtf", "text/rtf", "text/richtext"))
"""Parts without a name of their own, in a form in which a mail's text comes too."""


def absent_kind(part: Part) -> str | None:
    """Return what to say of a part that holds nothing: Apple Mail keeps attachments beside the mails."""
    if part.body.strip():
        return None
    return ELSEWHERE if part.header("x-apple-content-length") else "empty"


def unread_kind(part: Part, name: str | None) -> str:
    """Return what a part is that was not opened: by its type, else by its name."""
    if part.kind in _SMIME:
        opaque = "signed" in part.parameters.get("smime-type", "") or (name or "").lower().endswith(".p7s")
        return "opaque-signed S/MIME" if opaque else "S/MIME-encrypted"
    lower = (name or "").lower()
    kind = UNREAD_KINDS.get(part.kind) or _UNREAD_NAMES.get(lower) or _UNREAD_NAMES.get(lower.rpartition(".")[2])
    if kind is None and lower.endswith(".p7m"):
        kind = "S/MIME-encrypted"
    return kind or (part.kind.partition("/")[0] if part.kind.startswith(("image/", "audio/", "video/")) else part.kind)
