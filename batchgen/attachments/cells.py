"""The files in a cell: a path, a URL, bytes, or a list of these. What identifies each is read, its content is not kept.

Rows come from elsewhere, so that a path may lead only to files below one folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from batchgen.tokens.pictures import read_picture
from batchgen.values import Attachment

_URL = re.compile(r"https?://|oss://", re.IGNORECASE)
_FILE_URL = re.compile(r"file://(?:localhost)?(?=/)", re.IGNORECASE)
_DATA = re.compile(r"data:(?P<type>[^;,]*)(?:;[^,]*)?;base64,", re.IGNORECASE)
_ENDINGS = {
    "png": "image",
    "jpg": "image",
    "jpeg": "image",
    "gif": "image",
    "webp": "image",
    "bmp": "image",
    "tif": "image",
    "tiff": "image",
    "heic": "image",
    "pdf": "pdf",
    "wav": "audio",
    "mp3": "audio",
}
_SOUNDS = (
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "wav"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), "mp3"),
    (re.compile(rb"fLaC"), "flac"),
    (re.compile(rb"OggS"), "ogg"),
    (re.compile(rb"....ftypM4A", re.DOTALL), "m4a"),
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class AttachmentError(Exception):
    """A file that cannot be sent; the text is a sentence with its name."""


def read_cell(value: Any, folder: Path) -> tuple[Attachment, ...]:
    """Return the files in a cell; null, empty text and empty lists are none. Raises `AttachmentError`."""
    return tuple(found for number, one in enumerate(_items(value), 1) for found in _read_one(one, folder, number))


def changed_since(value: Any, folder: Path, time_s: float) -> bool:
    """Whether a file that a cell names by its path has been written, moved or copied there after a time."""
    for one in _items(value):
        path = one.get("path") if isinstance(one, Mapping) and one.get("bytes") is None else one
        if isinstance(path, str) and not _URL.match(path) and path[:5].lower() != "data:":
            with suppress(OSError, ValueError):  # a missing one is said when its row is asked
                found = os.stat(folder / _plain(path))
                if max(found.st_mtime, found.st_ctime) > time_s:
                    return True
    return False


def _items(value: Any) -> Sequence[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(msgspec.DecodeError, RecursionError):  # a file may be named so
            value = msgspec.json.decode(value)
    return value if isinstance(value, list | tuple) else [value]


def _plain(text: str) -> str:
    """Return a path or a file: URL as a path."""
    match = _FILE_URL.match(text)
    return text if match is None else unquote(text[match.end() :])


def _read_one(value: Any, folder: Path, number: int) -> tuple[Attachment, ...]:
    if _is_nothing(value):
        return ()
    if isinstance(value, Mapping):  # as `datasets` keeps pictures
        data, path = value.get("bytes"), value.get("path")
        if data is not None:
            return (_of_bytes(data, os.path.basename(path) if isinstance(path, str) else f"file {number}"),)
        value = path if path is not None else value.get("url")
        if _is_nothing(value):
            return ()
    if isinstance(value, bytes | bytearray | memoryview):
        return (_of_bytes(bytes(value), f"file {number}"),)
    if not isinstance(value, str):
        raise AttachmentError(f"file {number} is neither a path nor a URL nor bytes, but {type(value).__name__}")
    if (match := _DATA.match(value)) is not None:
        try:
            text = "".join(value[match.end() :].split())  # mail and some libraries break its lines
            return (_of_bytes(msgspec.convert(text, bytes), f"file {number}"),)
        except msgspec.ValidationError as error:
            raise AttachmentError(f"file {number} is a data: URL whose base64 is damaged") from error
    if value[:5].lower() == "data:":
        raise AttachmentError(f"file {number} is a data: URL without base64, as in data:image/png;base64,iVBORw0K...")
    if _URL.match(value):
        return (_of_url(value),)
    return (_of_path(value, folder),)


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str | bytes) and not value)


def _of_bytes(data: bytes, name: str) -> Attachment:
    if not data:
        raise AttachmentError(f"{name}: the file is empty")
    kind, form = kind_of(data)
    return Attachment(name, kind, form, hashlib.sha256(data).digest(), data=data)


def _of_url(url: str) -> Attachment:
    name = url.partition("?")[0].partition("#")[0].rpartition("/")[2] or url
    ending = name.rpartition(".")[2].lower()
    kind = _ENDINGS.get(ending, "image")
    if kind == "pdf":
        raise AttachmentError(f"{name}: a PDF is sent as text or pictures, so that its file is needed, not its URL")
    return Attachment(name, kind, ending, hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest(), url=url)


def _of_path(text: str, folder: Path) -> Attachment:
    text = _plain(text)
    if "\0" in text:
        raise AttachmentError(f"{text!r}: a path cannot hold a null character")
    path = folder / text
    name = path.name
    real = os.path.realpath(path)
    root = os.path.realpath(folder)
    if os.path.commonpath((real, root)) != root:
        raise AttachmentError(f"{text}: the file does not lie below {folder} (attach.folder)")
    if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe would never end
        raise AttachmentError(f"{text}: the file cannot be read (it is {'a folder' if path.is_dir() else 'no file'})")
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 20)
            digest = hashlib.sha256(head)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise AttachmentError(f"{text}: the file cannot be read ({reason})") from error
    if not head:
        raise AttachmentError(f"{text}: the file is empty")
    kind, form = kind_of(head)
    return Attachment(name, kind, form, digest.digest(), path=str(path))


def kind_of(head: bytes) -> tuple[str, str]:
    """Return the kind and form of a file by its first bytes."""
    if b"%PDF-" in head[:1024]:
        return "pdf", "pdf"
    if (picture := read_picture(head)) is not None:
        return "image", picture.kind
    for sign, form in _SOUNDS:
        if sign.match(head):
            return "audio", form
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _BINARY.search(head[:65536]) is None:
        return "text", "text"
    return "other", "other"
