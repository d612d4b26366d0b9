"""Where mails lie: .eml files, mbox files, Maildirs and directories of these → raw mails, one at a time.

An mbox is cut here rather than by `mailbox.mbox`, which reads the whole file before it gives the first mail, keeps a
place for each, opens the file for writing, and takes any body line that begins with "From " for a new mail.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from msgspec import Struct

from batchgen.errors import InputError
from batchgen.mail.decode import LARGEST_MAIL
from batchgen.source.files import natural_key

_LINE_BYTES = 1 << 20  # a longer line comes in pieces, so that a file of zeros does not fill the memory
_FROM_LINE = re.compile(rb"From (?:\S.*)?(?:\d\d?:\d\d|\b(?:19|20)\d\d\b)")
_QUOTED_FROM = re.compile(rb">+From ")
_HEADER_LINE = re.compile(rb"(?:[!-9;-~]+[ \t]*:)")
_EXTENSIONS = (".eml", ".mbox", ".mbx")
_KNOWN = "known are .eml files, mbox files (also .gz), Maildirs and directories of these"


class RawMail(Struct, frozen=True):
    """`source`: the file, relative to what was asked for, with `:` and the byte offset in an mbox; no two are equal.

    `read_bytes` is how much of the input has been read up to here. `problem`: why there is nothing to decode.
    """

    source: str
    body: bytes
    read_bytes: int
    cut: bool = False
    problem: str | None = None


def size_of(path: Path) -> int | None:
    """Return the bytes of an mbox or single mail, None for what is not known beforehand."""
    return path.stat().st_size if path.is_file() and path.suffix != ".gz" else None


def raw_mails(path: Path) -> Iterator[RawMail]:
    """Yield the mails under a path in natural order of the names. Raises `InputError` if there is nothing to read.

    A file in a directory that cannot be opened becomes a mail with a `problem`.
    """
    try:
        if path.is_dir():
            yield from _directory(path)
        elif path.is_file():
            yield from _file(path, path.name)
        else:
            path.stat()
            raise InputError(f"{path} is no regular file or directory; {_KNOWN}.")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is damaged: it cannot be unpacked ({error}).") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _directory(root: Path) -> Iterator[RawMail]:
    read = found = 0
    for folder, folders, names in os.walk(root):
        folders.sort(key=natural_key)
        maildir = os.path.basename(folder) in ("cur", "new") and Path(folder, "../tmp").is_dir()
        for name in sorted(names, key=natural_key):
            path = Path(folder, name)
            stem = name.lower().removesuffix(".gz")
            if not (maildir and not name.startswith(".")) and not stem.endswith(_EXTENSIONS):
                continue
            source = str(path.relative_to(root))
            found += 1
            try:
                for mail in _file(path, source, single=maildir or stem.endswith(".eml")):
                    yield RawMail(mail.source, mail.body, read + mail.read_bytes, mail.cut, mail.problem)
                read += path.stat().st_size
            except (OSError, EOFError, zlib.error, InputError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                yield RawMail(source, b"", read, problem=f"the file cannot be read: {reason or error}")
    if not found:
        raise InputError(f"{root} holds no mail; {_KNOWN}.")


def _file(path: Path, source: str, *, single: bool = False) -> Iterator[RawMail]:
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        file = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if packed else plain
        head = file.read(4096)
        file.seek(0)
        if not single and head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").startswith(b"From "):
            yield from _mbox(file, source)
            return
        if not single and path.suffix.lower() in (".mbox", ".mbx"):
            if not head:
                return  # an empty mailbox
            raise InputError(f'{path} is no mbox: it does not begin with a line "From ".')
        if not single and not _HEADER_LINE.match(head.removeprefix(b"\xef\xbb\xbf").lstrip()) and path.suffix != ".eml":
            raise InputError(f"{path} is no mail; {_KNOWN}. (Outlook's .msg has to be saved as .eml first.)")
        body = file.read(LARGEST_MAIL + 1)
        yield RawMail(source, _mail(body[:LARGEST_MAIL]), len(body), len(body) > LARGEST_MAIL)


def _mail(body: bytes) -> bytes:
    """Return a mail without what some programs put before its headers: a byte order mark, empty lines, a From line."""
    body = body.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    return body.partition(b"\n")[2] if body.startswith(b"From ") else body


def _mbox(file: BinaryIO, source: str) -> Iterator[RawMail]:
    """Cut an mbox: a mail begins after a line `From ` with a time or year in it, at the start or after an empty line.

    Lines `>From ` lose one `>`, as mboxrd has it (https://www.rfc-editor.org/rfc/rfc4155 names no rule; mboxo, which
    quotes once only, reads the same but for lines that were so quoted in the mail itself).
    """
    lines: list[bytes] = []
    size = place = start = 0
    blank, whole_line, cut, begun = True, True, False, False
    while line := file.readline(_LINE_BYTES):
        if whole_line and blank and _FROM_LINE.match(line):
            if begun:
                yield RawMail(f"{source}:{start}", b"".join(lines), place, cut)
            lines.clear()
            size, start, cut, begun = 0, place, False, True
        elif begun:
            text = line[1:] if whole_line and _QUOTED_FROM.match(line) else line
            if size + len(text) <= LARGEST_MAIL:
                lines.append(text)
                size += len(text)
            else:
                cut = True
        place += len(line)
        if whole_line:
            blank = line in (b"\n", b"\r\n")
        whole_line = line.endswith(b"\n")
    if begun:
        yield RawMail(f"{source}:{start}", b"".join(lines), place, cut)
