"""The bytes of an mbox → its mails, one at a time, wherever the `From ` lines stand and whatever they look like.

There is no standard (https://www.rfc-editor.org/rfc/rfc4155 describes none): programs differ in what the line holds,
whether an empty line comes before it, and whether such lines in a text are quoted. `mailbox.mbox` takes each line
that begins with "From " for a new mail, reads the whole file before it gives the first, and opens it for writing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from msgspec import Struct, structs

from batchgen.mail.decode import LARGEST_MAIL
from batchgen.text.figures import quantity

_CHUNK_BYTES = 1 << 18
_LOOK_BYTES = 8192  # of the headers after a From line that are looked at

_CLOCK = rb"\d\d?:\d\d(?::\d\d(?:\.\d+)?)?"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_ZONE = rb"(?:[ \t]*(?:[+-]\d\d:?\d\d|\(?[A-Z]{1,5}\)?))"
_DATED = re.compile(
    # A sender, which may hold spaces ("ann at x.example", "Ann <ann@x.example>") or be missing, and a date of any form.
    rb"From (?:[^\r\n]{0,1000}?[ \t])??(?:"
    rb"(?:" + _DAY + rb",?[ \t]+)?" + _MONTH + rb"[ \t]+\d\d?,?[ \t]+" + _CLOCK + _ZONE + rb"*[ \t]+\d{4}"
    rb"|(?:" + _DAY + rb",?[ \t]+)?" + _MONTH + rb"[ \t]+\d\d?,?[ \t]+\d{4}[ \t]+" + _CLOCK + rb"(?:[ \t]*[AP]M)?"
    rb"|(?:" + _DAY + rb",?[ \t]+)?\d\d?[ \t-]" + _MONTH + rb"[ \t-]\d{2,4}[ \t]+" + _CLOCK + rb"(?:[ \t]*[AP]M)?"
    rb"|(?:" + _DAY + rb",?[ \t]+)?\d{4}[-/]\d\d[-/]\d\d[T \t]" + _CLOCK + rb"Z?"
    rb")" + _ZONE + rb"*(?:[ \t]+remote from[ \t]+\S+)?[ \t]*\r*$",
    re.MULTILINE,
)
_UNDATED = re.compile(
    rb"From (?:-|MAILER-DAEMON|[^\s@]+@[^\s@]+(?:[ \t][^\r\n]*\d)?|\S+ at \S+\.\S+"
    rb"|\S+[ \t][^\r\n]{0,100}?\d?\d:\d\d[^\r\n]{0,100})?[ \t]*\r*$",
    re.MULTILINE,
)
_MMDF = re.compile(rb"\x01{4}\r?\n")
_MMDF_LINES = re.compile(rb"\n\x01{4}\r?\n\x01{4}\r?\n")
_MMDF_BYTES = 16  # more than such a pair of lines has
_FROM_LINE = re.compile(rb"\n\0*(?:\xef\xbb\xbf)?From ")
_SEPARATOR = re.compile(
    rb"From \S{1,300}[ \t]+" + _DAY + rb"[ \t]+" + _MONTH + rb"[ \t]+\d\d?[ \t]+\d\d:\d\d:\d\d[ \t]+\d{4}[ \t]*\r*\n"
)
_AFTER_BLANK = re.compile(rb"(?:\A|\n\r*\n)\Z")
_PLAIN = re.compile(rb"\nFrom ")
_MOST_NULS = 1 << 16  # zeros that a crash left before a From line
_PATCH = re.compile(rb"From [0-9a-f]{40,64} ")
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:")
_CORE = re.compile(
    rb"^(from|to|cc|subject|date|sender|message-id|mime-version|content-type|content-transfer-encoding|received"
    rb"|return-path|reply-to|in-reply-to|references|delivered-to|status|x-[a-z0-9-]+)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_HEADERS = re.compile(rb"(?:(?:[!-9;-~]+[ \t]*:|[ \t])[^\n]*(?:\n|\Z))*")
_OWN_HEADER = re.compile(
    rb"x-(?!mozilla|gm|uid|status|keywords|evolution|apple|envelope|original|received)", re.IGNORECASE
)
_TRANSPORT = frozenset((b"received", b"return-path", b"message-id", b"delivered-to"))
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r*$", re.IGNORECASE | re.MULTILINE)
_BLANK = re.compile(rb"\n\r*\n")
_FROM_AGAIN = re.compile(rb"(?:>?From [^\n]*\n){1,3}")  # some programs write the line twice
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_ATTACHED_MAIL = re.compile(rb"--[^\r\n]+\r?\n(?:[^\r\n]+\r?\n)*?content-type:\s*message/rfc822", re.IGNORECASE)


class Cut(Struct, frozen=True):
    """A mail of an mbox: where it begins, how much has been read with it, and what is doubtful about its ends."""

    place: int
    body: bytes
    read_bytes: int
    cut: bool = False
    note: str | None = None


def looks_like_mbox(head: bytes) -> bool:
    """Tell whether a file that begins so is an mbox: a From line with a date, or a header after it; or an MMDF file."""
    head = as_lines(head.removeprefix(b"\xef\xbb\xbf")).lstrip(b"\r\n\0")
    head = head[len(mmdf[0]) :] if (mmdf := _MMDF.match(head)) else head
    if mmdf or _DATED.match(head):
        return True
    return head.startswith(b"From ") and _follows(head, 0, first=True) is not None


def junk_before(head: bytes | bytearray) -> int:
    """Return where the first mail stands in an mbox that begins with something else; 0 where a mail begins it, or none
    is found.

    Exports and downloads have a title there or the end of a mail that was cut. Only a line with a date and headers
    behind it counts.
    """
    if head.startswith(b"From ") or _MMDF.match(head):
        return 0
    block = _HEADERS.match(head)
    if block is not None and len({name.lower() for name in _CORE.findall(block[0])}) > 1:
        return 0
    for line in _FROM_LINE.finditer(head):
        at = line.end() - len(b"From ")
        if _DATED.match(head, at) and _begins(head, at, patches=False):
            return at
    return 0


def as_lines(head: bytes) -> bytes:
    """Return bytes with the line ends of old Macs, a lone carriage return, as line feeds."""
    return head if b"\n" in head else head.replace(b"\r", b"\n")


def cut_mbox(file: BinaryIO) -> Iterator[Cut]:
    """Yield the mails of an mbox.

    A mail begins at a line `From ` that a header follows, with or without an empty line before it. What a text may
    hold is not taken for one: a line of prose, the head of a patch, the first line of an attached mail. Where a mail
    states a Content-Length and another mail, or the end, is found there, that is where it ends (mboxcl, mboxcl2).
    Lines `>From ` lose one `>` (mboxrd; mboxo reads the same but for lines that were so quoted in the mail itself);
    in a file with From lines in its texts, which nobody quoted, they are left as they are. MMDF files, whose mails
    stand between lines of four \\x01, are cut there, and read so too where each mail has a From line.
    """
    yield from _Cutter(file).mails()


class _Cutter:
    """`_data` holds the file from `_place` on, as far as it has been read; the mail in hand begins at its start."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._data = bytearray()
        self._place = 0
        self._ended = False
        self._mac: bool | None = None
        self._patches = self._unquoted = self._mmdf = False

    def mails(self) -> Iterator[Cut]:
        self._fill(_LOOK_BYTES * 4)
        lead = re.match(rb"(?:\xef\xbb\xbf)?[\r\n\0]*", self._data)
        self._drop(lead.end() if lead else 0)
        if (mmdf := _MMDF.match(self._data)) is not None:
            self._mmdf = True
            self._drop(mmdf.end())
        junk = junk_before(self._data)
        blank = not self._data[:junk].strip()
        self._drop(junk)
        self._patches = _PATCH.match(self._data) is not None
        while self._data:
            found = self._mail()
            if not blank:
                said = f"{quantity(junk, 'byte')} before the first mail of the file, which are no mail, were left out"
                found = structs.replace(found, note=said if found.note is None else f"{said}; {found.note}")
                blank = True
            yield found
            self._fill(_LOOK_BYTES * 4)

    def _mail(self) -> Cut:
        place, kept, note, doubt = self._place, b"", None, 0
        stated = 0 if self._mmdf else self._stated_end()
        looked = stated or self._envelope_end()
        while True:
            match = (_MMDF_LINES if self._mmdf else _FROM_LINE).search(self._data, looked)
            if match is None:
                if self._ended:
                    end = after = len(self._data)
                    break
                line = max(self._data.rfind(b"\n", looked), len(self._data) - _MOST_NULS)
                looked = max(looked, len(self._data) - _MMDF_BYTES if self._mmdf else line)
                if len(self._data) > LARGEST_MAIL + _CHUNK_BYTES:
                    kept = kept or bytes(self._data[:LARGEST_MAIL])
                    self._drop(looked)
                    looked = 0
                self._fill(len(self._data) + _CHUNK_BYTES)
                continue
            end, after = match.start() + 1, match.end() - (0 if self._mmdf else len(b"From "))
            if self._mmdf:
                break
            self._fill(after + _LOOK_BYTES)
            verdict = _begins(self._data, after, patches=self._patches)
            if verdict:
                break
            doubt += verdict is None
            self._unquoted |= self._data[max(0, end - 3) : end].endswith((b"\n\n", b"\n\r\n"))
            looked = end
        body = kept or bytes(self._data[: min(end, LARGEST_MAIL)])
        cut = bool(kept) or end > LARGEST_MAIL
        self._drop(after)
        if (
            stated
            and b"\nFrom " in body
            and any(_begins(body, m.start() + 1, patches=True) for m in _PLAIN.finditer(body))
        ):
            note = 'its stated length holds, and has lines "From ..." with headers in it, which were taken as text'
        elif doubt:
            note = (
                f'{doubt} dated lines "From ..." without headers were taken as text'
                if doubt > 1
                else ('a dated line "From ..." without headers was taken as text')
            )
        enveloped = body.startswith(b"From ")
        body = body.partition(b"\n")[2] if enveloped else body
        if self._mmdf:  # which needs no quotes; Python's mailbox writes them, and always a From line
            body = re.sub(rb"\n\x01{4}\r?\n\Z", b"\n", body)
            self._unquoted |= not enveloped or b"\nFrom " in body
        if not self._unquoted and not (stated and b"\nFrom " in body) and b">From " in body:
            body = _QUOTED.sub(rb"\1", body)
        return Cut(place, body, self._place, cut, note)

    def _envelope_end(self) -> int:
        """Return the end of the From lines that begin the mail."""
        lines = _FROM_AGAIN.match(self._data)
        return lines.end() - 1 if lines else max(0, self._data.find(b"\n"))

    def _stated_end(self) -> int:
        """Return the line end before the next mail, or the end, where the stated Content-Length leads there; else 0."""
        blank = _BLANK.search(self._data, 0, _LOOK_BYTES * 4)
        if blank is None:
            return 0
        lengths = _LENGTH.findall(self._data, 0, blank.start() + 1)
        if not lengths or (length := int(lengths[-1])) > LARGEST_MAIL:
            return 0
        ends = [blank.end() + length]
        if b"\r" in blank[0]:  # the length may be that of the text before its line ends were changed
            ends.append(self._end_of_lines(blank.end(), length))
        return next((found for end in ends if (found := self._mail_begins_behind(end))), 0)

    def _end_of_lines(self, start: int, length: int) -> int:
        """Return where a text ends that had this length when its line ends were single bytes."""
        end, left = start, length
        while left:
            self._fill(end + left + 1)
            stretch = bytes(self._data[end : end + left])
            end, left = end + left, stretch.count(b"\r\n") + (stretch[-1:] == b"\r")
            if not stretch:
                return end
        return end

    def _mail_begins_behind(self, end: int) -> int:
        """Return the line end at a place if the next mail, or the end, comes there; else 0."""
        self._fill(end + 64 + _LOOK_BYTES)
        at = end
        while at < min(end + 4, len(self._data)) and self._data[at] in b"\r\n":
            at += 1
        if at >= len(self._data):
            return len(self._data) if self._ended and end <= len(self._data) else 0
        stands = self._data[at - 1 : at] == b"\n" and _begins(self._data, at, patches=True)
        return at - 1 if stands else 0

    def _fill(self, size: int) -> None:
        """Read on until `size` bytes are at hand, or the end."""
        while len(self._data) < size and not self._ended:
            chunk = self._file.read(max(_CHUNK_BYTES, min(size - len(self._data), 16 * _CHUNK_BYTES)))
            self._ended = not chunk
            if self._mac is None:
                self._mac = b"\r" in chunk and b"\n" not in chunk
            self._data += chunk.replace(b"\r", b"\n") if self._mac else chunk

    def _drop(self, size: int) -> None:
        del self._data[:size]
        self._place += size


def _begins(data: bytes | bytearray, at: int, *, patches: bool) -> bool | None:
    """Tell whether the line `From ` at a place begins a mail; None: in doubt, and taken as text."""
    if _PATCH.match(data, at) and not patches:
        return False
    kind = _follows(data, at)
    if kind is None:
        return None if _DATED.match(data, at) else False
    before = bytes(data[max(0, at - 2000) : at]).rstrip(b"\r\n")
    heads = before[before.rfind(b"\n--") + 1 :]
    return kind and not (_ATTACHED_MAIL.match(heads) and not _BLANK.search(heads))


def _follows(data: bytes | bytearray, at: int, *, first: bool = False) -> bool | None:
    """Tell whether the headers of a mail come after the From line at a place; None if none do."""
    end = data.find(b"\n", at, at + _LOOK_BYTES)
    if end < 0:
        return None
    dated = _DATED.match(data, at) is not None
    undated = not dated and _UNDATED.match(data, at) is not None
    block = bytes(data[end + 1 : end + _LOOK_BYTES])
    if dated and (again := _FROM_AGAIN.match(block)) is not None:
        block = block[again.end() :]
    if dated and (not block or block[:3].lstrip(b"\r").startswith(b"\n")):  # ... or an empty line after it
        block = block.lstrip(b"\r\n")
        if not (core := _CORE.match(block)) or core[1].lower() not in (b"from", b"received", b"return-path"):
            headers = _HEADERS.match(block)
            if len({name.lower() for name in _CORE.findall(headers[0] if headers else b"")}) > 1:
                return True
            # A mail without headers or with nothing in it, where the line is just as most programs write it.
            alone = _SEPARATOR.match(data, at) and _AFTER_BLANK.search(data[max(0, at - 4) : at])
            return True if alone else None
    blank = _BLANK.search(block)
    block = block[: blank.start()] if blank else block
    if dated:
        lines = block.split(b"\n", 5)[:5]
        return True if _HEADER.match(block) or sum(bool(_CORE.match(line)) for line in lines) else None
    if undated or first:
        return True if _CORE.match(block) and not _OWN_HEADER.match(block) else None
    # A line that may be prose: only headers that nobody types into a text make it a beginning.
    headers = _HEADERS.match(block)
    names = {name.lower() for name in _CORE.findall(headers[0] if headers else b"")}
    return True if len(names) > 3 and names & _TRANSPORT else None
