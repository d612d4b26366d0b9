"""The bytes of a mail → its parts (MIME, RFC 2045 to 2049, 2231), in one pass over the bytes of each level.

Python's `email` package is not used for this: it ends the headers at the first line that is none, compares each line
with the boundaries of all levels above it, and fails where the nesting exceeds its own stack. Here nesting is bounded
by `DEEPEST`, so that the work grows with the length alone. Nothing a mail holds raises.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from batchgen.mail.text import decode_bytes, header_text, with_zeros
from batchgen.mail.transfer import decoded, encoding_name, undeclared

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
_PARAMETER = re.compile(r';\s*([^\s=:;"]+)\s*[=:]\s*(?:"((?:[^"\\]|\\.)*)("?)|([^;]*))')
_NO_SEMICOLON = re.compile(r"(?:^|^\s*[^\s;,=]+[\s,]+)(?=[A-Za-z][\w*-]*\s*=)")  # "text/plain charset=x"
_EXTENDED = re.compile(r"([A-Za-z][\w-]{2,20})'[A-Za-z-]{0,8}'([^']*)")
_TYPE = re.compile(r"\s*([A-Za-z0-9!#$&^_.+-]+)\s*/\s*([A-Za-z0-9!#$&^_.+-]+)")
_BOUNDARY_LIKE = re.compile(rb"^--([^\s-][^\r\n]{0,200}?)[ \t]*\r?$", re.MULTILINE)
_MULTIPART_BODY = re.compile(rb"\s*--([^\s-][^\r\n]{0,200}?)[ \t]*\r?\ncontent-[a-z-]+[ \t]*:", re.IGNORECASE)
_MIME_SENTENCE = re.compile(r"\bMIME\b|multi-?part|mail (?:reader|client|program)", re.IGNORECASE)
_ZEROS_BYTES = 64  # of the headers, among which zeros tell UTF-16
_SENTENCE_LENGTH = 1000  # of what programs write before the parts for readers that know no MIME
_WINDOWS_PATH = re.compile(r"[A-Za-z]:\\|\\\\")
_ALIASES = {
    **dict.fromkeys(("application/text", "application/plain", "application/txt", "plain/text"), "text/plain"),
    **dict.fromkeys(("txt/plain", "message/text", "text/text"), "text/plain"),
    **dict.fromkeys(("application/html", "application/xhtml+xml", "html/text", "html"), "text/html"),
}
"""Names that senders invented → the type that they mean."""


class _Span(NamedTuple):
    """A stretch between two boundary lines: where the first begins, the part, and where the second ends.

    `closed`: the second closes the multipart.
    """

    opened: int
    start: int
    end: int
    after: int
    closed: bool


class Part:
    """A part of a mail, or a mail: its headers as written, and its body, a stretch of the mail's bytes.

    `is_form`: it is the text of the mail, or one form of it, whatever name it has. `children` sets `guessed_boundary`,
    and `before` and `after`, the text outside the parts; `content` sets `damaged`.
    """

    def __init__(self, raw: bytes, start: int, end: int, *, kind: str = "text/plain", level: int = 0) -> None:
        self._raw, self._end, self.level = raw, end, level
        self.headers, self._start, self.garbage = _headers(raw, start, end)
        if kind == "text/plain" and level and _is_text_with_a_colon(raw, start, end, self.headers):
            self.headers, self._start = [], start
        self.guessed_boundary = self.damaged = False
        self.guessed_encoding = ""
        self.before = self.after = ""
        self.is_form = level == 0
        self.kind, self.parameters = self._type(kind)

    def header(self, name: str) -> str | None:
        """Return the first header of this name (small letters), unfolded but not decoded."""
        return next((value for key, value in self.headers if key == name), None)

    def _type(self, kind: str) -> tuple[str, dict[str, str]]:
        """Return the type and its parameters; of several headers the one whose boundary is found, else the first."""
        written = [value for key, value in self.headers if key == "content-type"]
        found: tuple[str, dict[str, str]] | None = None
        for text in written[:4]:
            match = _TYPE.match(text)
            named = f"{match[1]}/{match[2]}".lower() if match else text.partition(";")[0].strip().lower()
            one = (_ALIASES.get(named, named if match else kind), _parameters(text))
            if found is not None and one[0] == found[0]:
                found[1].update({key: value for key, value in one[1].items() if key not in found[1]})
            found = found or one
            if len(written) > 1 and one[0].startswith("multipart/") and self._spans(_boundary(one[1])):
                return one
        if found is not None and found[0].startswith("text/") and self._spans(_boundary(found[1])):
            return "multipart/mixed", found[1]  # only a multipart has a boundary
        if found is None and self.level == 0 and (guess := _MULTIPART_BODY.match(self._raw, self._start)):
            self.guessed_boundary = True
            return "multipart/mixed", {"boundary": guess[1].decode("utf-8", "surrogateescape")}
        return found or (kind, {})

    @property
    def disposition(self) -> str:
        return (self.header("content-disposition") or "").partition(";")[0].strip().lower()

    @property
    def name(self) -> str | None:
        """The file name, decoded; never a path."""
        placed = _parameters(self.header("content-disposition") or "")
        found = placed.get("filename") or self.parameters.get("name") or placed.get("name")
        return (header_text(found or "").replace("/", "_").replace("\\", "_")) or None

    @property
    def body(self) -> bytes:
        """The body as written."""
        return self._raw[self._start : self._end]

    def content(self, *, guess: bool = False) -> bytes:
        """Return the body with its transfer encoding undone, as far as it goes. `guess`: also one that no header names,
        which sets `guessed_encoding`."""
        written = (value for key, value in self.headers if key == "content-transfer-encoding")
        encoding = encoding_name(written)
        if guess and not encoding:
            encoding = self.guessed_encoding = undeclared(self.body)
        found, self.damaged = decoded(self.body, encoding)
        return found

    def children(self) -> list[Part]:
        """Return the parts of a multipart.

        A boundary that is missing or wrong is looked for in the body itself. Parts after the closing boundary count:
        gateways that append a part forget to move it. A multipart inside that uses the same boundary has the parts up
        to the next closing one.
        """
        if self.level >= DEEPEST:
            return []
        boundary = _boundary(self.parameters)
        spans = self._spans(boundary)
        if not spans:
            guess = _BOUNDARY_LIKE.search(self._raw, self._start, self._end)
            if guess is not None and (
                self._raw.find(b"\n--" + guess[1] + b"--", guess.start(), self._end) >= 0
                or (
                    _MULTIPART_BODY.match(self._raw, self._start, self._end)
                    and self._raw.find(b"\n--" + guess[1], guess.end(), self._end) >= 0
                )
            ):
                boundary = guess[1]
                spans = self._spans(boundary)
                self.guessed_boundary = True
        if spans:
            self.before = self._loose(self._start, spans[0].opened)
        kind = "message/rfc822" if self.kind == "multipart/digest" else "text/plain"
        found: list[Part] = []
        loose: list[str] = []
        place = self._start
        for number, span in enumerate(spans):
            if span.start < place:
                continue
            child, place = Part(self._raw, span.start, span.end, kind=kind, level=self.level + 1), span.after
            if child.kind.startswith("multipart/") and not span.closed and _boundary(child.parameters) == boundary:
                place = next((later.after for later in spans[number:] if later.closed), self._end)
                child = Part(self._raw, span.start, place, level=self.level + 1)
            elif span.closed:
                following = spans[number + 1].opened if number + 1 < len(spans) else self._end
                loose.append(self._loose(place, following))
            found.append(child)
        self.after = "\n\n".join(filter(None, loose))
        return found

    def unpacked(self) -> Part | None:
        """Return a multipart whose parts stand in a transfer encoding as a whole, as they must not; None if not so."""
        found = self.content()
        boundary = _boundary(self.parameters)
        if not boundary or b"--" + boundary not in found or found == self.body:
            return None
        head = b'Content-Type: %s; boundary="%s"\n\n' % (self.kind.encode("ascii", "replace"), boundary)
        part = Part(head + found, 0, len(head) + len(found), level=self.level)
        part.is_form = self.is_form
        return part

    def _loose(self, start: int, end: int) -> str:
        """Return the text of a stretch outside the parts, but for the sentence for readers that know no MIME."""
        text = decode_bytes(self._raw[start : max(start, end)], None).text.strip()
        return "" if len(text) < _SENTENCE_LENGTH and _MIME_SENTENCE.search(text) else text

    def _spans(self, boundary: bytes) -> list[_Span]:
        raw, spans = self._raw, list[_Span]()
        if not boundary:
            return spans
        needle = b"--" + boundary
        opened = begun = -1
        at = raw.find(needle, self._start, self._end)
        while at >= 0:
            line_end = raw.find(b"\n", at, self._end)
            line_end = self._end if line_end < 0 else line_end
            rest = raw[at + len(needle) : line_end].rstrip() if line_end - at < 2000 else b"?"
            if rest in (b"", b"--", b"-") and (at == self._start or raw[at - 1] == 0x0A):
                after = min(line_end + 1, self._end)
                if begun >= 0:
                    stop = at - 1 if at > begun else at
                    end = stop - 1 if stop > begun and raw[stop - 1] == 0x0D else stop
                    spans.append(_Span(opened, begun, end, after, bool(rest)))
                opened, begun = at, -1 if rest else after
            at = raw.find(needle, line_end, self._end)
        if begun >= 0:
            spans.append(_Span(opened, begun, self._end, self._end, False))
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
    elif raw[:_ZEROS_BYTES].count(0) * 3 > len(raw[:_ZEROS_BYTES]) and (wide := with_zeros(raw)) is not None:
        raw = wide.text.encode()
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


def _is_text_with_a_colon(raw: bytes, start: int, end: int, headers: list[tuple[str, str]]) -> bool:
    """Whether a part has no headers: the line that looks like one is text, as no empty line comes after it."""
    return not any(name.startswith("content-") for name, _ in headers) and _BLANK_LINE.search(raw, start, end) is None


def _boundary(parameters: dict[str, str]) -> bytes:
    return parameters.get("boundary", "").rstrip().encode("utf-8", "surrogateescape")


def _parameters(written: str) -> dict[str, str]:
    """Return the parameters of a header, names in small letters, RFC 2231 undone."""
    written = _NO_SEMICOLON.sub(";", written, count=1)
    if ";" not in written:
        return {}
    found: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for match in _PARAMETER.finditer(written):
        quoted, closed, bare = match[2], match[3], match[4]
        if quoted is None:
            value = bare.strip().strip('\\"')
        else:
            value = quoted if closed else quoted.partition(";")[0]
            value = value if _WINDOWS_PATH.match(value) else re.sub(r"\\(.)", r"\1", value)
        name = match[1].lower()
        base, star, number = name.partition("*")
        if not star:
            found.setdefault(name, value)
        else:
            digits = number.removesuffix("*")
            place = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
            pieces.setdefault(base, {}).setdefault(place, (value, number.endswith("*") or not number))
    for base, value in found.items():  # RFC 2231 without its star
        if "%" in value and (plain := _EXTENDED.fullmatch(value)) is not None:
            found[base] = decode_bytes(unquote_to_bytes(plain[2]), plain[1]).text
    for base, numbered in pieces.items():  # encoded words that bear the star of RFC 2231 are still encoded words
        words = any(value.startswith("=?") for value, _ in numbered.values())
        found[base] = _extended([(value, star and not words) for _, (value, star) in sorted(numbered.items())])
    return found


def _extended(values: list[tuple[str, bool]]) -> str:
    """Join the pieces of a parameter (RFC 2231): `charset'language'text`, percent-encoded where the piece says so."""
    charset = ""
    raw: list[bytes] = []
    escaped = b""  # neighbouring encoded pieces are joined first: some senders cut in the middle of an escape
    for number, (value, encoded) in enumerate(values):
        text = value
        if encoded and number == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        if encoded:
            escaped += text.encode("utf-8", "surrogateescape")
            continue
        raw += [unquote_to_bytes(escaped), text.encode("utf-8", "surrogateescape")]
        escaped = b""
    raw.append(unquote_to_bytes(escaped))
    return decode_bytes(b"".join(raw), charset or None).text
