"""Transfer encodings of a part (RFC 2045, section 6) undone, as far as damaged bytes allow."""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterable, Iterator

_NAMES = {
    "base64": "base64",
    "quotedprintable": "quoted-printable",
    "qp": "quoted-printable",
    **dict.fromkeys(("xuuencode", "uuencode", "xuue", "uue"), "uuencode"),
}
_BEGINNINGS = {"quoted": "quoted-printable", "base64": "base64", "b64": "base64"}  # of names that are misspelt
_COMMENT = re.compile(r"\([^()]*\)")
_NO_NAME = re.compile(r"[^a-z0-9]")
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")
_BASE64_ENDS = re.compile(rb"[^A-Za-z0-9+/=\s]|\S[ \t]+\S")
_BASE64_LINE = re.compile(rb"^[A-Za-z0-9+/]{40,}={0,2}\r?$", re.MULTILINE)
_URL_SAFE = re.compile(rb"(?:(?!--)[A-Za-z0-9_=-]*\r?\n)*(?!--)[A-Za-z0-9_=-]*")
_PADDING_TWICE_ENCODED = re.compile(rb"=3D(?=\s|=|\Z)")
_ALL_BASE64 = re.compile(
    rb"\s*(?:[A-Za-z0-9+/]{60,76}\r?\n)*(?:[A-Za-z0-9+/]{4}){0,18}[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2}\s*"
)
_FEWEST = 40  # signs of base64 that cannot be a word
_NO_QUOTED = re.compile(rb"=(?![0-9A-F]{2}|[ \t]*\r?\n)|[^\r\n]{78}")
_SOFT_BREAK = re.compile(rb"[^\r\n]{50}=[ \t]*\r?\n")
_QUOTED_LETTER = re.compile(rb"(?:=[89A-F][0-9A-F]){2}")
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_SPACES_AFTER_SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r?\n)")


def encoding_name(written: Iterable[str]) -> str:
    """Return the encoding that the headers name, however they spell it; of several, one that changes the bytes."""
    names = (_NO_NAME.sub("", _COMMENT.sub("", text).partition(";")[0].lower()) for text in written)
    return next(filter(None, map(_encoding, names)), "")


def _encoding(name: str) -> str:
    return _NAMES.get(name) or next((known for start, known in _BEGINNINGS.items() if name.startswith(start)), "")


def undeclared(body: bytes) -> str:
    """Return the encoding in which a text stands though no header says so; "" where that is not sure.

    All of it has to be in that encoding, and be a text in UTF-8 once it is undone.
    """
    if len(body) >= _FEWEST and _ALL_BASE64.fullmatch(body):
        name = "base64"
    elif b"=" in body and body.isascii() and (_QUOTED_LETTER.search(body) or _SOFT_BREAK.search(body)):
        name = "" if _NO_QUOTED.search(body) else "quoted-printable"
    else:
        return ""
    try:
        text = decoded(body, name)[0].decode() if name else ""
    except UnicodeDecodeError:
        return ""
    return "" if _CONTROL.search(text.encode()) or not text.strip() else name


def decoded(body: bytes, encoding: str) -> tuple[bytes, bool]:
    """Return the bytes that stand in an encoding of `encoding_name`, and whether some of them are lost."""
    if encoding == "quoted-printable":
        return quopri.decodestring(_SPACES_AFTER_SOFT_BREAK.sub(b"=", body)), False
    if encoding == "base64":
        return _base64(body)
    if encoding == "uuencode":
        return _uuencoded(body), False
    return body, False


def _base64(body: bytes) -> tuple[bytes, bool]:
    """Decode base64, also in several pieces with padding of their own.

    Text that stands there without any encoding is kept: what a list server appended, or all of it. A line that has a
    character too few or too many costs itself only.
    """
    tail = b""
    if (b"_" in body or b"-" in body) and _URL_SAFE.fullmatch(body):
        body = body.replace(b"-", b"+").replace(b"_", b"/")
    body = _PADDING_TWICE_ENCODED.sub(b"=", body)
    stray = _BASE64_ENDS.search(body)
    if stray is not None:
        begin = body.rfind(b"\n", 0, stray.start()) + 1
        if not _BASE64_LINE.search(body, stray.end()):
            body, tail = body[:begin], b"\n" * bool(begin) + body[begin:]
    lines = [digits for line in body.split(b"\n") if (digits := _NO_BASE64.sub(b"", line))]
    whole = sum(len(line) % 4 == 0 for line in lines[:-1])
    damaged = (len(lines) - 1) // 2 < whole < len(lines) - 1
    pieces: list[bytes] = []
    padded = False
    for digits in _lined_up(lines) if damaged else [b"".join(lines)]:
        for run in digits.replace(b"=", b" ").split():
            if padded and len(run) % 4 and not digits.endswith(b"="):
                return b"".join((*pieces, b"\n", run, tail)), damaged
            surplus = len(run) % 4 == 1
            damaged |= surplus
            pieces.append(binascii.a2b_base64(run[: len(run) - surplus] + b"=" * (-(len(run) - surplus) % 4)))
            padded = b"=" in digits
    found = b"".join(pieces)
    if not padded and len(lines) == 1 and len(lines[0]) % 4 and _CONTROL.search(found):
        return body + tail, False
    return found + tail, damaged


def _lined_up(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield stretches of base64 that can be decoded alone; most lines are such."""
    open_digits = b""
    for line in lines:
        if open_digits and len(line) % 4 == 0:
            yield open_digits
            open_digits = b""
        open_digits += line
        if len(open_digits) % 4 == 0:
            yield open_digits
            open_digits = b""
    yield open_digits


UUENCODED_FILE = re.compile(
    r"^begin [0-7]{3,4} ([^\n]{1,250})\n((?:[!-`][ -`]{1,88}\n)+)(?:[` ]?\n)?end[ \t]*$", re.MULTILINE
)
"""A file inside a text, as mail programs before MIME sent it."""


def _uuencoded(body: bytes) -> bytes:
    pieces: list[bytes] = []
    for line in body.partition(b"begin ")[2].split(b"\n")[1:]:
        if line.strip() == b"end":
            break
        try:
            pieces.append(binascii.a2b_uu(line.rstrip(b"\r")))
        except binascii.Error:  # a length that is wrong, as some encoders write it: the digits count
            size = ((line[0] - 32 & 63) * 4 + 5) // 3 if line else 0
            try:
                pieces.append(binascii.a2b_uu(line[:size]))
            except binascii.Error:
                continue
    return b"".join(pieces)
