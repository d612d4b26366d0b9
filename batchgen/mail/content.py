"""The parts of a mail → the text a person would read, in order; and what was attached, linked to and not read.

Whatever is text is opened: the best form of an alternative, attached mails with their own headers, text files,
calendar entries, delivery reports. What is opened beyond the mail's own text stands between two lines that name it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct, field

from batchgen.mail.html import TooDeepError, html_text
from batchgen.mail.mime import DEEPEST, Part
from batchgen.mail.text import decode_bytes, header_text, unflowed
from batchgen.mail.transfer import UUENCODED_FILE
from batchgen.mail.unread import ELSEWHERE, OWN_TEXTS, SEALED, UNREAD_KINDS, absent_kind, unread_kind
from batchgen.text.figures import quantity

MOST_PARTS = 10_000
"""Parts of one mail that are read."""

MOST_LINKS = 1_000

_SIGNATURES = frozenset(
    (
        "application/pgp-signature",
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
        "application/pgp-keys",
    )
)
_TEXT_KINDS = frozenset(
    (
        "application/json",
        "application/xml",
        "application/ics",
        "application/x-ndjson",
        "application/yaml",
        "application/x-yaml",
        "message/delivery-status",
        "message/disposition-notification",
        "message/feedback-report",
        "message/global-delivery-status",
        "message/global-headers",
    )
)
_TEXT_NAMES = (".txt", ".log", ".csv", ".tsv", ".md", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".ini", ".ics")
_NAMELESS = frozenset(
    (
        "application/octet-stream",
        "application/octetstream",
        "application/x-unknown",
        "application/x-unknown-content-type",
        "application/binary",
        "application/x-download",
        "application/force-download",
        "application/download",
        "unknown/unknown",
        "x-unknown/x-unknown",
        "application/unknown",
    )
)
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_UNREADABLE_TEXT = ("%PDF", "{\\rtf", "%!PS", "-----BEGIN ")
_FORMS = re.compile(r"text/(?:plain|html|enriched|richtext|markdown|rtf)|application/(?:xhtml\+xml|rtf)|multipart/.*")
"""Kinds in which a mail's own text comes; what else stands in a multipart/alternative goes with the text."""

_REDUCED_HTML = ("text/x-amp-html", "text/watch-html")  # forms for some readers, beside the whole one
_ARMOUR = "-----BEGIN PGP MESSAGE-----"
_HTML_START = re.compile(
    r"(?:\s|<\?xml[^>]*>|<!--(?:[^-]|-(?!->))*+-->)*+<(?:!doctype html|html[\s>]|head>|body[\s>])", re.IGNORECASE
)
_LINK = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'`]+", re.IGNORECASE)
_LINK_END = ".,;:!?)]}*_"
_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]|[^\W\u2e80-\u9fff\uac00-\ud7af]+")  # no spaces in Chinese
_ENRICHED = re.compile(r"<<|<[^<>]*>|\n+")  # RFC 1896: a doubled bracket is one, and a line break alone a space


class Content(Struct):
    """What has been found so far in the parts of a mail. `not_read`: (name, kind) of each part that was not opened.

    `problems` are losses; `notes` tell what was decided. `files`, where they are wanted, are the names and contents of
    the parts that were not opened.
    """

    attachments: list[str] = field(default_factory=list)
    not_read: list[tuple[str, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: int = 0
    files: list[tuple[str, bytes]] | None = None


def body_text(mail: Part, content: Content) -> str | None:
    """Return the text of a mail; None if it has been lost or is inside something that is not read."""
    text = _text(mail, content)
    if text:
        found = (link.rstrip(_LINK_END) for link in _LINK.findall(text)) if "://" in text else ()
        content.links = list(dict.fromkeys((*content.links, *found)))[:MOST_LINKS]
        return text
    sealed = next((kind for name, kind in content.not_read if kind in SEALED or (name, kind) in OWN_TEXTS), None)
    if sealed is not None:
        content.problems.append(f"the text is inside a part that is not read ({sealed})")
    return None if content.problems else ""


def _text(part: Part, content: Content) -> str:
    """Return the text below a part, and note attachments and problems on the way."""
    content.parts += 1
    if content.parts > MOST_PARTS:
        content.problems.append(f"the mail has more than {MOST_PARTS:,} parts: the rest was not read")
        return ""
    if part.garbage:
        content.notes.append(f'a line among the headers is none: "{part.garbage[0][:80]}"')
    if part.kind == "multipart/encrypted":
        content.not_read.append((part.name or part.kind, "PGP-encrypted"))
        return ""
    if part.kind.startswith("multipart/"):
        return _multipart(part, content)
    name = part.name
    if _is_mail(part, name):
        return _attached_mail(part, name, content)
    shown = part.is_form or (name is None and part.disposition != "attachment")
    if part.kind.startswith("text/") and part.kind not in UNREAD_KINDS and shown and part.kind != "text/calendar":
        if name is not None:
            content.attachments.append(name)
        text = _part_text(part, content)
        return _with_uuencoded_files(text, content) if "\nend" in text and "begin " in text else text
    if part.kind in _NAMELESS and part.is_form and name is None and _holds_text(part, name):
        return _part_text(part, content)
    if _is_text(part, name) or _holds_text(part, name):
        content.attachments.append(name or part.kind)
        text = _part_text(part, content)
        return _marked("Attachment", name or part.kind, text) if text else ""
    content.attachments.append(name or part.kind)
    if part.kind not in _SIGNATURES:
        absent = absent_kind(part)
        content.not_read.append((name or part.kind, absent or unread_kind(part, name)))
        if content.files is not None and absent is None:  # a file of 0 bytes would only fail the row that it goes with
            content.files.append((name or part.kind.replace("/", "."), part.content()))
    return ""


def _multipart(part: Part, content: Content) -> str:
    children = part.children()
    if not children and (opened := part.unpacked()) is not None:
        part, children = opened, opened.children()
    if part.guessed_boundary:
        content.notes.append("the boundary of a multipart is missing or wrong: it was found in the text")
    if part.before or part.after:
        content.notes.append("text outside the parts of a multipart was taken")
    if part.kind == "multipart/alternative" and children:
        return _joined((part.before, _alternative(children, content), part.after))
    if children:
        children[0].is_form = part.is_form and children[0].disposition != "attachment"
        return _joined((part.before, *(_text(child, content) for child in children), part.after))
    if part.level >= DEEPEST:
        content.problems.append(f"the parts are nested more than {DEEPEST} deep: the rest was not read")
        return ""
    content.problems.append("the mail is broken: a multipart has no parts")
    return _decoded(part, content, html=False)  # the text stands there as it is


def _alternative(children: list[Part], content: Content) -> str:
    """Return the plain text, or the last other form if that says something else; calendar entries beside it.

    Programs that write HTML only fill the plain form with a stub ("This message needs an HTML reader"): it has few of
    the words of the other form. Attachments and links of all forms count, problems only those of the form taken.
    """
    named = False  # a second plain text with a name is a file
    for child in children:
        form = child.kind in _REDUCED_HTML or _FORMS.fullmatch(child.kind) is not None
        named_file = named and child.kind == "text/plain" and child.name is not None
        child.is_form = form and child.disposition != "attachment" and not named_file
        named |= child.is_form and child.kind == "text/plain"
    plain = [child for child in children if child.is_form and child.kind == "text/plain"]
    others = [child for child in reversed(children) if child.is_form and child.kind != "text/plain"]
    text, said = _first_text(plain, content)
    other, other_said = _first_text([c for c in others if c.kind not in _REDUCED_HTML] or others, content)
    content.links += said.links + other_said.links
    words, other_words = _words(text), _words(other)
    if _says_more(other, words):
        both = len(other_words) * 4 < len(words)
        if text:
            taken = "both were taken" if both else "the HTML was taken"
            content.notes.append(f"the plain text says something else than the HTML: {taken}")
        text = _joined((text, other)) if both else other
        said = other_said
    text = text or other
    content.problems += said.problems if text else said.problems + other_said.problems
    content.notes += said.notes
    return _joined((text, *(_text(child, content) for child in children if not child.is_form)))


def _first_text(forms: Iterable[Part], content: Content) -> tuple[str, Content]:
    """Return the first text that one of the forms has, and what was found with it, or with all if none has any.

    A second plain text that says something else is no form of the first: some programs know only this multipart.
    """
    taken: list[str] = []
    words: set[str] = set()
    found, failed = Content(), list[str]()
    for form in forms:
        own = Content(content.attachments, content.not_read, parts=content.parts, files=content.files)
        text = _text(form, own)
        content.parts = own.parts
        if not text:
            failed += own.problems
        elif not taken or (form.kind == "text/plain" and _says_more(text, words)):
            taken.append(text)
            words |= _words(text)
            found.problems += own.problems
            found.notes += own.notes
            found.links += own.links
    found.problems = found.problems if taken else failed
    return _joined(taken), found


def _says_more(text: str, known: set[str]) -> bool:
    """Whether most words of a text are not among those that are known."""
    words = _words(text)
    return len(words - known) * 2 > len(words)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text)


def _marked(what: str, name: str, text: str) -> str:
    return f"----- {what}: {name} -----\n{text}\n----- End of {what.lower()}: {name} -----"


# Single parts


def _is_mail(part: Part, name: str | None) -> bool:
    if part.kind in ("message/rfc822", "message/global", "message/news"):
        return True
    return part.kind in _NAMELESS and (name or "").lower().endswith(".eml")


def _is_text(part: Part, name: str | None) -> bool:
    if part.kind in UNREAD_KINDS:
        return False
    if part.kind.startswith("text/") or part.kind in _TEXT_KINDS or part.kind.endswith(("+json", "+xml")):
        return part.kind != "image/svg+xml"
    return part.kind in _NAMELESS and (name or "").lower().endswith(_TEXT_NAMES)


def _holds_text(part: Part, name: str | None) -> bool:
    """Whether the type says nothing about a part that is text all the same."""
    if part.kind not in _NAMELESS or unread_kind(part, name) != part.kind or (name or "").lower().endswith(".bin"):
        return False
    found = part.content()
    try:
        text = found.decode()
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and _CONTROL.search(text) is None and not text.startswith(_UNREADABLE_TEXT)


def _with_uuencoded_files(text: str, content: Content) -> str:
    """Return a text with the files that stand in it in uuencoding opened, or named where they are not read."""

    def opened(match: re.Match[str]) -> str:
        name = match[1].replace('"', "'").strip()
        head = f'Content-Disposition: attachment; filename="{name}"\nContent-Transfer-Encoding: uuencode\n'
        raw = f"{head}Content-Type: application/octet-stream\n\n{match[0]}\n".encode("utf-8", "surrogateescape")
        return _text(Part(raw, 0, len(raw), level=DEEPEST), content) or f"[{name}]"

    return UUENCODED_FILE.sub(opened, text)


def _attached_mail(part: Part, name: str | None, content: Content) -> str:
    """Return an attached mail with the headers that tell who wrote it."""
    inner = part.attached()
    subject = header_text((inner.header("subject") if inner else None) or "")
    name = name or (f"{subject}.eml".replace("/", "_").replace("\\", "_") if subject else part.kind)
    content.attachments.append(name)
    if inner is None:
        content.problems.append(f"the parts are nested more than {DEEPEST} deep: the rest was not read")
        return ""
    heads = []
    for header in ("from", "to", "cc", "date", "subject"):
        if value := inner.header(header):
            heads.append(f"{header.capitalize()}: {header_text(value, structured=header in ('from', 'to', 'cc'))}")
    text = _text(inner, content)
    return _marked("Attached mail", name, _joined(("\n".join(heads), text)))


def _part_text(part: Part, content: Content) -> str:
    if absent_kind(part) == ELSEWHERE:
        content.not_read.append((part.name or part.kind, ELSEWHERE))
        return ""
    html = part.kind in ("text/html", "application/xhtml+xml", *_REDUCED_HTML)
    text = _decoded(part, content, html=html)
    if _ARMOUR in text:
        content.not_read.append((part.name or "the text", "PGP-encrypted"))
        if text.strip().startswith(_ARMOUR):
            return ""
    return text


def _decoded(part: Part, content: Content, *, html: bool) -> str:
    own = part.is_form or (part.name is None and part.disposition != "attachment")
    found = decode_bytes(part.content(guess=own), part.parameters.get("charset"), html=html)
    if part.guessed_encoding:
        content.notes.append(f"the text is encoded as {part.guessed_encoding}, which no header says")
    if found.guessed:
        content.notes.append(f"no header tells the charset of the text: it was read as {found.charset}")
    if part.damaged:
        content.problems.append("the base64 of the text is damaged: characters of it are missing or too many")
    if found.lost:
        content.problems.append(f"{quantity(found.lost, 'character')} of the text damaged ({found.charset})")
    text = found.text
    if html or _HTML_START.match(text):
        try:
            return html_text(text, content.links)
        except TooDeepError as error:
            content.problems.append(f"the text cannot be read: {error}")
            return ""
    if part.kind == "text/enriched":
        text = _ENRICHED.sub(
            lambda m: "<" if m[0] == "<<" else m[0][1:] or " " if m[0][0] == "\n" else "", text.strip("\n")
        )
    elif part.kind == "text/calendar":
        text = text.replace("\n ", "").replace("\n\t", "")  # folded lines, RFC 5545
    elif part.parameters.get("format", "").lower() == "flowed":
        text = unflowed(text, delete_space=part.parameters.get("delsp", "").lower() == "yes")
    return text.strip("\n") if text.strip() else ""
