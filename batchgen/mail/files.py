"""Where mails lie: files of any name, mailboxes, folders as mail programs keep them → raw mails, one at a time.

What a file is, its content says: an mbox begins with a From line, a mail with headers. So Thunderbird's folders without
an extension, MH and Enron folders, Maildirs in part or whole and Apple's .emlx are found without a list of layouts.
What was passed over is told, with the reason.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
from msgspec import Struct

from batchgen.errors import InputError
from batchgen.files.arrow import arrow_file
from batchgen.mail.decode import LARGEST_MAIL
from batchgen.mail.mbox import as_lines, cut_mbox, junk_before, looks_like_mbox
from batchgen.source.files import natural_key
from batchgen.text.storable import storable

_HEAD_BYTES = 8192
_HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:")
_MAIL_HEADER = re.compile(
    rb"^(from|to|subject|date|message-id|received|return-path|mime-version|delivered-to|x-[a-z0-9-]+)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_EMLX_LENGTH = re.compile(rb"[ \t]*(\d{1,12})[ \t]*\r?\n")
_EMLX_FLAGS = re.compile(rb"<key>flags</key>\s*<integer>(\d{1,18})</integer>")
_EMLX_DELETED = 2
_MAILDIR_FLAGS = re.compile(r"[:;!-]2,([A-Za-z]*)$")
_KNOWN = (
    "known are mails (.eml, .emlx or without an extension), mbox files (also .gz, .bz2, .xz, .zst), Maildirs and "
    "folders of these"
)
_MBOX = (".mbox", ".mbx")
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_TAR = (257, b"ustar")  # where the header of each file in a tar archive has its mark
_UTF_16 = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"F\0r\0": "utf-16-le", b"\0F\0r": "utf-16-be"}
"""How a file of mails begins that an editor or a shell has saved as UTF-16."""

_HOUSEKEEPING = re.compile(
    r".*\.(?:msf|toc|idx|lock|db|sqlite|localstorage|msgfilter)|\..*|dovecot.*|courier.*|maildir(?:folder|size)"
    r"|table_of_contents|info\.plist|thumbs\.db|desktop\.ini|msgfilterrules\.dat|popstate\.dat|filterlog\.html"
    r"|subscriptions|.*\.plist",
    re.IGNORECASE | re.DOTALL,
)
_NO_MAIL = "no mail"
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, pa.ArrowException)
_MAGIC = {
    b"\xd0\xcf\x11\xe0": "Outlook's own format: save the mail as .eml first",
    b"!BDN": "an Outlook data file (.pst, .ost): export its mails first",
    b"\xcf\xad\x12\xfe": "an Outlook Express folder (.dbx): export its mails first",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"PK\x05\x06": "a zip archive: unpack it first",
    b"7z\xbc\xaf": "an archive: unpack it first",
    b"Rar!": "an archive: unpack it first",
    b"%PDF": "a PDF",
    b"BABYL OPTIONS:": "a file of Emacs's RMAIL (Babyl): save it as mbox first",
}


class RawMail(Struct, frozen=True):
    """`source`: the file, relative to what was asked for, with `:` and the byte offset in an mbox; no two are equal.

    `read_bytes` is how much of the input has been read up to here. `problem`: why there is nothing to decode.
    `deleted`: the mail program marked it so. `note`: what is doubtful about where it begins or ends.
    """

    source: str
    body: bytes
    read_bytes: int
    cut: bool = False
    problem: str | None = None
    deleted: bool = False
    note: str | None = None


class LeftOut(Struct, frozen=True):
    """A file that was passed over. `own`: it is the mail program's own, such as an index, and holds no mail."""

    name: str
    reason: str
    own: bool = False


Tell = Callable[[LeftOut], None]


def size_of(paths: Sequence[Path]) -> int | None:
    """Return the bytes of mboxes and single mails, None for what is not known beforehand."""
    if any(not path.is_file() or path.suffix.lower() in _PACKED for path in paths):
        return None
    return sum(path.stat().st_size for path in paths)


def raw_mails(paths: Sequence[Path], tell: Tell) -> Iterator[RawMail]:
    """Yield the mails under the paths in natural order of the names; `tell` is told of each file passed over.

    Raises `InputError` if there is nothing to read. A file in a folder that cannot be opened becomes a mail with a
    `problem`. Of several paths the sources begin with the path as it was given.
    """
    _check_apart(paths)
    read = 0
    for path in paths:
        prefix = f"{storable(str(path)).rstrip('/')}/" if len(paths) > 1 and path.is_dir() else ""
        last = 0
        for mail in _under(path, prefix, str(path) if len(paths) > 1 else path.name, tell):
            last = mail.read_bytes
            yield mail if not read else _moved(mail, read)
        read += last


def _check_apart(paths: Sequence[Path]) -> None:
    """Refuse a path that is inside another one: its mails would be read twice."""
    real = [path.resolve() for path in paths]
    for number, one in enumerate(real):
        for other, second in enumerate(real):
            if number != other and (one == second or one in second.parents):
                raise InputError(f"{paths[other]} is named twice, or is inside {paths[number]}: name each mail once.")


def _moved(mail: RawMail, read: int) -> RawMail:
    return RawMail(mail.source, mail.body, read + mail.read_bytes, mail.cut, mail.problem, mail.deleted, mail.note)


def _under(path: Path, prefix: str, name: str, tell: Tell) -> Iterator[RawMail]:
    try:
        if path.is_dir():
            yield from _directory(path, prefix, tell)
        elif path.is_file():
            found: list[LeftOut] = []
            yield from _file(path, storable(name), found.append)
            if found:
                what = "" if found[0].reason == _NO_MAIL else f": it is {found[0].reason}"
                raise InputError(f"{path} is no mail{what}; {_KNOWN}.")
        else:
            path.stat()
            raise InputError(f"{path} is no regular file or directory; {_KNOWN}.")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged: it cannot be unpacked ({error}).") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _directory(root: Path, prefix: str, tell: Tell) -> Iterator[RawMail]:
    read = 0

    def source_of(path: Path) -> str:
        return prefix + storable(str(path.relative_to(root)))

    def refused(error: OSError) -> None:
        tell(LeftOut(source_of(Path(error.filename)), f"a folder that cannot be read: {error.strerror}"))

    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError(f"{root} cannot be read: Permission denied.")
    for folder, folders, names in os.walk(root, onerror=refused):
        folders.sort(key=natural_key)
        for name in [*folders]:
            path = Path(folder, name)
            if path.is_symlink():
                tell(LeftOut(source_of(path), "a link to a folder: name it as a path of its own"))
            elif name == "Attachments" and "Messages" in folders:
                folders.remove(name)
                tell(LeftOut(source_of(path), "attachments that Apple Mail keeps beside the mails", own=True))
        for name in sorted(names, key=natural_key):
            path = Path(folder, name)
            source = source_of(path)
            try:
                facts = path.stat()
                if not stat.S_ISREG(facts.st_mode):
                    tell(LeftOut(source, "no regular file"))
                    continue
                for mail in _file(path, source, tell):
                    yield _moved(mail, read)
                read += facts.st_size
            except (OSError, *_DAMAGE) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                yield RawMail(source, b"", read, problem=f"the file cannot be read: {reason or error}")


def _file(path: Path, source: str, tell: Tell) -> Iterator[RawMail]:
    """Yield the mails of a file, or tell why there are none."""
    name = path.name.lower()
    name = path.stem.lower() if name.endswith(_PACKED) else name
    folder = path.parent.name
    maildir = folder in ("cur", "new") or (folder == "tmp" and (path.parent.parent / "cur").is_dir())
    with _unpacked(path) as file:
        head = file.read(_HEAD_BYTES)[:_HEAD_BYTES]
    with _unpacked(path) as file:  # once more, as not all of them can be rewound
        if not head and not name.endswith((".eml", ".emlx")):
            return  # an empty mailbox
        if (maildir and folder == "tmp") or (_HOUSEKEEPING.fullmatch(name) and not looks_like_mail(head)):
            tell(LeftOut(source, "a file of the mail program's own", own=True))
        elif (other := _other_kind(head)) is not None:  # whatever its name is, and though its mails have headers
            tell(LeftOut(source, other))
        elif (
            looks_like_mbox(head)
            or (_may_be_mbox(name) and _begins_with_junk(head))
            or (name.endswith(_MBOX) and (head.startswith(b"From ") or looks_like_mail(head)))
        ):
            for cut in cut_mbox(file):
                yield RawMail(f"{source}:{cut.place}", cut.body, cut.read_bytes, cut.cut, note=cut.note)
        elif name.endswith((".eml", ".emlx")) or looks_like_mail(head, sure=maildir):
            body = file.read(LARGEST_MAIL + 1)
            yield _single(source, name, body[:LARGEST_MAIL], cut=len(body) > LARGEST_MAIL, read=len(body))
        else:
            tell(LeftOut(source, _NO_MAIL))


def _may_be_mbox(name: str) -> bool:
    """Whether a file has the name of a mailbox: these have an ending of their own, or none."""
    return name.endswith(_MBOX) or "." not in name


def _begins_with_junk(head: bytes) -> bool:
    """Whether a file is an mbox with something before its first mail, and no mail that shows one in its text."""
    return junk_before(as_lines(head)) > 0 and (head.startswith(b">From ") or not looks_like_mail(head))


def _other_kind(head: bytes) -> str | None:
    """Return what a file that begins so is, if it is known and no mail."""
    place, mark = _TAR
    if head.startswith(mark, place):
        return "a tar archive: unpack it first"
    return next((what for magic, what in _MAGIC.items() if head.startswith(magic)), None)


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacked where its first bytes say that it is packed."""
    with path.open("rb") as plain:
        head = plain.read(6)
        plain.seek(0)
        if head.startswith(b"\x1f\x8b"):
            yield cast(BinaryIO, gzip.GzipFile(fileobj=plain))
        elif head.startswith(b"BZh"):
            yield cast(BinaryIO, bz2.BZ2File(plain))
        elif head.startswith(b"\xfd7zXZ"):
            yield cast(BinaryIO, lzma.LZMAFile(plain))  # noqa: SIM115 (`plain` is what has to be closed)
        elif head.startswith(b"\x28\xb5\x2f\xfd"):
            with pa.input_stream(arrow_file(path), compression="zstd") as unpacked:
                yield cast(BinaryIO, unpacked)
        elif (encoding := next((name for mark, name in _UTF_16.items() if head.startswith(mark)), None)) is not None:
            yield cast(BinaryIO, codecs.EncodedFile(plain, "utf-8", encoding, errors="replace"))
        else:
            yield plain


def looks_like_mail(head: bytes, *, sure: bool = False) -> bool:
    """Tell whether a file that begins so is a mail: it begins with headers, two of which only mails have.

    `sure`: the place says that it is one, so that any header is enough.
    """
    head = as_lines(head.removeprefix(b"\xef\xbb\xbf")).lstrip(b"\r\n")
    while head.startswith((b"From ", b">From ")):
        head = head.partition(b"\n")[2]
    block = re.split(rb"\n\r*\n", head, maxsplit=1)[0]
    found = len({name.lower() for name in _MAIL_HEADER.findall(block)})
    if not _HEADER_LINE.match(head):
        return sure and found > 1
    return sure or found > 1


def _single(source: str, name: str, body: bytes, *, cut: bool, read: int) -> RawMail:
    """Return the mail of a file that holds one."""
    flags = _MAILDIR_FLAGS.search(name)
    deleted = flags is not None and "t" in flags[1]
    if name.endswith(".emlx") and (length := _EMLX_LENGTH.match(body)) is not None:
        begin = length.end()
        end = begin + int(length[1])
        if body[end : end + 100].lstrip()[:5] != b"<?xml":  # a length that is wrong: the list of properties ends it
            found = body.rfind(b"<?xml")
            end = found if found > begin and body.find(b"<plist", found) >= 0 else len(body)
        found_flags = _EMLX_FLAGS.search(body, end)
        deleted = found_flags is not None and bool(int(found_flags[1]) & _EMLX_DELETED)
        body = body[begin:end]
    return RawMail(source, body, read, cut, deleted=deleted)
