"""The bytes of a mail → its parts (MIME, RFC 2045 to 2049, 2231), in one pass over the bytes of each level.

Python's `email` package is not used for this: it ends the headers at the first line that is none, compares each line
with the boundaries of all levels above it, and fails where the nesting exceeds its own stack. Here nesting is bounded
by `DEEPEST`, so that the work grows with the length alone. Nothing a mail holds raises.
"""

from __future__ import annotations

import binascii
import codecs
import quopri
import re
from urllib.parse import unquote_to_bytes

from batchgen.mail.text import decode_bytes, header_text

DEEPEST = 50
"""Multiparts and attached mails inside each other that are opened. Forwards of forwards reach about 20."""

_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:")
_BLANK_LINE = re.compile(rb"\n\r*\n")
_KNOWN_HEADER = re.compile(
    rb"(?:from|to|cc|bcc|subject|date|sender|message-id|mime-version|content-[a-z-]+|received|return-path|reply-to"
    rb"|in-reply-to|references|delivered-to|list-[a-z-]+|status|x-[a-z0-9-]+)[ \t]*:",
    re.IGNORECASE,
)
_KNOWN_WITHIN = 4  # lines after one that is no header in which a known header has to come for it to be garbage
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)("?)|([^;]*))')
_TYPE = re.compile(r"\s*([A-Za-z0-9!#$&^_.+-]+)\s*/\s*([A-Za-z0-9!#$&^_.+-]+)")
_BOUNDARY_LIKE = re.compile(rb"^--([^\s-][^\r\n]{0,200}?)[ \t]*\r?$", re.MULTILINE)
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_BASE64_ENDS = re.compile(rb"[^A-Za-z0-9+/=\s]|\S[ \t]+\S")
_BASE64_LINE = re.compile(rb"^[A-Za-z0-9+/]{40,}={0,2}\r?$", re.MULTILINE)


class Part:
    """A part of a mail, or a mail: its headers as written, and its body, a stretch of the mail's bytes.

    `is_form`: it is the text of the mail, or one form of it, whatever name it has.
    """

    def __init__(self, raw: bytes, start: int, end: int, *, kind: str = "text/plain", level: int = 0) -> None:
        self._raw, self._end, self.level = raw, end, level
        self.headers, self._start, self.garbage = _headers(raw, start, end)
        written = self.header("content-type") or ""
        match = _TYPE.match(written)
        self.kind = f"{match[1]}/{match[2]}".lower() if match else kind
        self.parameters = _parameters(written)
        self.guessed_boundary = False
        self.is_form = level == 0

    def header(self, name: str) -> str | None:
        """Return the first header of this name (small letters), unfolded but not decoded."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def disposition(self) -> str:
        return (self.header("content-disposition") or "").partition(";")[0].strip().lower()

    @property
    def name(self) -> str | None:
        """The file name, decoded; never a path."""
        found = _parameters(self.header("content-disposition") or "").get("filename") or self.parameters.get("name")
        return (header_text(found or "").replace("/", "_").replace("\\", "_")) or None

    @property
    def body(self) -> bytes:
        """The body as written."""
        return self._raw[self._start : self._end]

    def content(self) -> bytes:
        """Return the body with its transfer encoding undone, as far as it goes."""
        encoding = (self.header("content-transfer-encoding") or "").split(";")[0].strip().lower()
        if encoding == "quoted-printable":
            return quopri.decodestring(self.body)
        if encoding == "base64":
            return _base64(self.body)
        if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
            return _uuencoded(self.body)
        return self.body

    def children(self) -> list[Part]:
        """Return the parts of a multipart.

        A boundary that is missing or wrong is looked for in the body itself. Parts after the closing boundary count:
        gateways that append a part forget to move it.
        """
        if self.level >= DEEPEST:
            return []
        boundary = self.parameters.get("boundary", "").rstrip().encode("utf-8", "surrogateescape")
        spans = self._spans(boundary) if boundary else []
        if not spans:
            guess = _BOUNDARY_LIKE.search(self._raw, self._start, self._end)
            if guess is not None and self._raw.find(b"\n--" + guess[1] + b"--", guess.start(), self._end) >= 0:
                spans = self._spans(guess[1])
                self.guessed_boundary = True
        kind = "message/rfc822" if self.kind == "multipart/digest" else "text/plain"
        return [Part(self._raw, start, end, kind=kind, level=self.level + 1) for start, end in spans]

    def _spans(self, boundary: bytes) -> list[tuple[int, int]]:
        raw, spans, begun = self._raw, [], -1
        needle = b"--" + boundary
        at = raw.find(needle, self._start, self._end)
        while at >= 0:
            line_end = raw.find(b"\n", at, self._end)
            line_end = self._end if line_end < 0 else line_end
            rest = raw[at + len(needle) : line_end].rstrip() if line_end - at < 2000 else b"?"
            if rest in (b"", b"--", b"-") and (at == self._start or raw[at - 1] == 0x0A):
                if begun >= 0:
                    stop = at - 1 if at > begun else at
                    spans.append((begun, stop - 1 if stop > begun and raw[stop - 1] == 0x0D else stop))
                begun = -1 if rest else min(line_end + 1, self._end)
            at = raw.find(needle, line_end, self._end)
        if begun >= 0:
            spans.append((begun, self._end))
        return spans

    def attached(self) -> Part | None:
        """Return the mail that a part of type message/rfc822 holds, also where it is encoded, as it must not be."""
        if self.level >= DEEPEST:
            return None
        mail = parse(self.content(), level=self.level + 1)
        return mail if mail.headers else parse(self.body, level=self.level + 1)


def parse(raw: bytes, *, level: int = 0) -> Part:
    """Return the mail as a part, whatever its line ends: a lone carriage return (old Macs) or two before a line feed.

    A file that an editor saved as UTF-16 is read too.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raw = raw.decode("utf-16", "replace").encode()
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    elif b"\r\r\n" in raw:
        raw = raw.replace(b"\r\r\n", b"\n")
    raw = without_envelope(raw)
    return Part(raw, 0, len(raw), level=level)


def without_envelope(raw: bytes) -> bytes:
    """Return a mail without what some programs put before its headers: a byte order mark, empty lines, From lines."""
    raw = raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    while raw.startswith((b"From ", b">From ")):
        raw = raw.partition(b"\n")[2].lstrip(b"\r\n")
    return raw


def _headers(raw: bytes, start: int, end: int) -> tuple[list[tuple[str, str]], int, list[str]]:
    """Return the headers, where the body begins, and the lines between headers that are none."""
    headers: list[tuple[str, str]] = []
    garbage: list[str] = []
    if raw.startswith((b"\n", b"\r\n"), start, end):
        return headers, raw.index(b"\n", start) + 1, garbage
    blank = _BLANK_LINE.search(raw, start, end)
    stop, body = (blank.start(), blank.end()) if blank else (end, end)
    lines = raw[start:stop].split(b"\n")
    name, values, place = "", [b""], start

    def add() -> None:
        if name:
            text = values[0] if len(values) == 1 else b" ".join(value.strip() for value in values)
            headers.append((name, text.strip().decode("ascii", "surrogateescape")))

    for number, line in enumerate(lines):
        if line[:1] in (b" ", b"\t"):
            ends_here = not line.strip() and not any(_HEADER.match(after) for after in lines[number + 1 : number + 2])
            if ends_here and number:
                body = min(place + len(line) + 1, end)
                break
            values.append(line)
        elif (match := _HEADER.match(line)) is not None:
            add()
            name, values = match[1].lower().decode("ascii"), [line[match.end() :]]
            name = "from" if name == ">from" else name  # quoted by a program that took it for a From line
        elif not line.startswith((b"From ", b">From ")):
            following = lines[number + 1 : number + 1 + _KNOWN_WITHIN]
            if line.startswith(b"--") or not any(_KNOWN_HEADER.match(after) for after in following):
                body = place  # the empty line is missing: the text begins here
                break
            add()
            name, values = "", [b""]
            garbage.append(line.decode("utf-8", "replace").strip())
        place += len(line) + 1
    add()
    return headers, body, garbage


def _parameters(written: str) -> dict[str, str]:
    """Return the parameters of a header, names in small letters, RFC 2231 undone."""
    if ";" not in written:
        return {}
    found: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for match in _PARAMETER.finditer(written):
        quoted, closed, bare = match[2], match[3], match[4]
        if quoted is None:
            value = bare.strip().strip('\\"')
        else:
            value = re.sub(r"\\(.)", r"\1", quoted if closed else quoted.partition(";")[0])
        name = match[1].lower()
        base, star, number = name.partition("*")
        if not star:
            found.setdefault(name, value)
        else:
            digits = number.removesuffix("*")
            place = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
            pieces.setdefault(base, {}).setdefault(place, (value, number.endswith("*") or not number))
    for base, numbered in pieces.items():
        found[base] = _extended([numbered[place] for place in sorted(numbered)])
    return found


def _extended(values: list[tuple[str, bool]]) -> str:
    """Join the pieces of a parameter (RFC 2231): `charset'language'text`, percent-encoded where the piece says so."""
    charset = ""
    raw: list[bytes] = []
    for number, (value, encoded) in enumerate(values):
        text = value
        if encoded and number == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        escaped = text.encode("utf-8", "surrogateescape")
        raw.append(unquote_to_bytes(escaped) if encoded else escaped)
    return decode_bytes(b"".join(raw), charset or None).text


def _base64(body: bytes) -> bytes:
    """Decode base64. What a list server appended in plain text follows as it stands; stray characters are skipped."""
    tail = b""
    stray = _BASE64_ENDS.search(body)
    if stray is not None:
        begin = body.rfind(b"\n", 0, stray.start()) + 1
        if not _BASE64_LINE.search(body, stray.end()):
            body, tail = body[:begin], b"\n" * bool(begin) + body[begin:]
    try:
        return binascii.a2b_base64(body) + tail
    except binascii.Error:
        digits = _NO_BASE64.sub(b"", body)
        digits = digits[: len(digits) - (len(digits) % 4 == 1)]
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4)) + tail


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
