"""The files in a cell: a path, a URL, bytes, or a list of these. What identifies each is read, its content is not kept.

Rows come from elsewhere, so that a path may lead only to files below one folder.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from batchgen.text.literal import python_literal
from batchgen.tokens.pictures import read_picture
from batchgen.values import Attachment

_URL = re.compile(r"https?://|oss://", re.IGNORECASE)
_FILE_URL = re.compile(r"file://(?:localhost)?(?=/)", re.IGNORECASE)
_DATA = re.compile(r"data:(?P<type>[^;,]*)(?:;[^,]*)?;base64,", re.IGNORECASE)
_HOST = re.compile(r"[a-z]+://[^/?#\s]", re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BARE = re.compile(r"[A-Za-z0-9+/_-]{80,}=*\s*")
"""Base64 without anything before it, and longer than names of files are."""
_SHOWN = 200  # letters of a path
_LIST_BYTES = 1_000_000
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
    "heif": "image",
    "avif": "image",
    "pdf": "pdf",
    "wav": "audio",
    "mp3": "audio",
}
_NO_PICTURES = re.compile(r"docx?|xlsx?|pptx?|od[ts]|zip|gz|rar|7z|txt|md|csv|json|xml|html?|svgz?|eml|msg")
"""Endings of addresses that are surely no pictures."""
_VIDEOS = re.compile(r"mp4|m4v|mov|avi|webm|mkv|mpe?g|wmv|flv|3gp|ogv")
NO_VIDEOS = "videos are not sent: draw single pictures of it, for example with ffmpeg, and name these"
_SOUNDS = (
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "wav"),
    (re.compile(rb"ID3|\xff[\xfb\xfa\xf3\xf2\xe3\xe2]"), "mp3"),
    (re.compile(rb"fLaC"), "flac"),
    (re.compile(rb"OggS"), "ogg"),
    (re.compile(rb"....ftyp(?:M4A|M4B|mp4a)", re.DOTALL), "m4a"),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), "aac"),
    (re.compile(rb"#!AMR"), "amr"),
    (re.compile(rb"FORM....AIF[FC]", re.DOTALL), "aiff"),
)
_OTHERS = (
    (re.compile(rb"PK\x03\x04.*word/", re.DOTALL), "docx"),
    (re.compile(rb"PK\x03\x04.*(?:xl|ppt)/|\xd0\xcf\x11\xe0", re.DOTALL), "office"),
    (re.compile(rb"PK|\x1f\x8b|Rar!|7z\xbc\xaf"), "archive"),
    (re.compile(rb"....ftyp|\0...(?:moov|mdat|wide)|\x1aE\xdf\xa3|RIFF....AVI ", re.DOTALL), "video"),
    (re.compile(rb"\0\0\x01[\xba\xb3]|\x30\x26\xb2\x75|FLV"), "video"),
    (re.compile(rb"\x78\x9f\x3e\x22"), "winmail.dat"),
)
_TO_STANDARD = str.maketrans("-_", "+/")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class AttachmentError(Exception):
    """A file that cannot be sent; the text is a sentence with its name."""


def read_cell(value: Any, folder: Path | None) -> tuple[Attachment, ...]:
    """Return the files in a cell; null, empty text and empty lists are none. Raises `AttachmentError`."""
    return tuple(found for number, one in enumerate(_items(value), 1) for found in _read_one(one, folder, number))


def changed_since(value: Any, folder: Path | None, time_s: float) -> bool:
    """Whether a file that a cell names by its path has been written, moved or copied there after a time."""
    for one in _items(value):
        path = one.get("path") if isinstance(one, Mapping) and one.get("bytes") is None else one
        if folder is not None and isinstance(path, str) and not _URL.match(path) and path[:5].lower() != "data:":
            with suppress(OSError, ValueError):  # a missing one is said when its row is asked
                found = os.stat(_found(path, folder))
                if max(found.st_mtime, found.st_ctime) > time_s:
                    return True
    return False


def _items(value: Any) -> Sequence[Any]:
    """Return what is in a cell; a text may hold a list as JSON or as Python prints it (pandas, in CSV)."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and len(value) < _LIST_BYTES:
        text = value.strip()
        with suppress(msgspec.DecodeError, RecursionError):  # a file may be named so
            return _items(msgspec.json.decode(text))
        if (found := python_literal(text)) is not None:
            return _items(found)
    return value if isinstance(value, list | tuple) else [value]


def _found(text: str, folder: Path) -> Path:
    """Return where a path or a file: URL leads: as it is, or else as it was meant."""
    match = _FILE_URL.match(text)
    if match is not None:
        return folder / unquote(text[match.end() :])
    bare = text.strip().strip("\"'")  # Windows copies paths with quotes
    tries = [text, text.strip(), bare, os.path.expanduser(bare), bare.replace("\\", "/"), unquote(bare)]
    tries += [unicodedata.normalize(form, bare) for form in ("NFC", "NFD")]  # a Mac writes letters and marks apart
    return next((folder / one for one in tries if one and os.path.lexists(folder / one)), folder / text)


def _read_one(value: Any, folder: Path | None, number: int) -> tuple[Attachment, ...]:
    if _is_nothing(value):
        return ()
    if isinstance(value, Mapping):  # as `datasets` keeps pictures
        if not value.keys() & {"bytes", "path", "url"}:
            raise AttachmentError(f"file {number} is an object without bytes, path or url")
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
    if _URL.match(value.lstrip()) or value.lstrip()[:5].lower() == "data:":
        value = value.strip()
    if (match := _DATA.match(value)) is not None:
        data = _decoded(value[match.end() :])
        if data is None:
            raise AttachmentError(f"file {number} is a data: URL whose base64 is damaged")
        said = match["type"].partition("/")[0].lower()
        return (_of_bytes(data, f"file {number}", said),)
    if value[:5].lower() == "data:":
        raise AttachmentError(f"file {number} is a data: URL without base64, as in data:image/png;base64,iVBORw0K...")
    if _URL.match(value):
        return (_of_url(value),)
    if _BARE.fullmatch(value) and (data := _decoded(value)) and kind_of(data)[0] in ("image", "pdf", "audio"):
        return (_of_bytes(data, f"file {number}"),)
    return (_of_path(value, folder),)


def _decoded(text: str) -> bytes | None:
    """Return what base64 stands for, with lines broken by mail, of the form for URLs, or without its filling."""
    text = "".join(text.split()).rstrip("=").translate(_TO_STANDARD)
    with suppress(ValueError):
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    return None


def _is_nothing(value: Any) -> bool:
    if isinstance(value, float):  # as pandas marks an empty cell
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, bytes) and not value)


def _of_bytes(data: bytes, name: str, said: str = "") -> Attachment:
    if not data:
        raise AttachmentError(f"{name}: the file is empty")
    kind, form = kind_of(data)
    _refuse_text(name, kind, said)
    return Attachment(name, kind, form, hashlib.sha256(data).digest(), data=data)


def _refuse_text(name: str, kind: str, said: str = "") -> None:
    """Raise `AttachmentError` for a text in the place of a picture: mostly it says why that could not be had."""
    said = said or _ENDINGS.get(name.rpartition(".")[2].lower(), "")
    if kind == "text" and said in ("image", "pdf", "audio"):
        words = {"image": "picture", "pdf": "PDF", "audio": "recording"}[said]
        raise AttachmentError(f"{name}: it is no {words} but a text, perhaps a message of who should have sent it")


def _of_url(url: str) -> Attachment:
    if not _HOST.match(url):
        raise AttachmentError(f"{url[:_SHOWN]}: the address names no host")
    name = url.partition("?")[0].partition("#")[0].rpartition("/")[2] or url
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    kind = _ENDINGS.get(ending, "image")
    if _VIDEOS.fullmatch(ending):
        raise AttachmentError(f"{name}: {NO_VIDEOS}")
    if _NO_PICTURES.fullmatch(ending):
        raise AttachmentError(f"{name}: only pictures can be sent by their address; fetch the file and name its path")
    if kind == "pdf":
        raise AttachmentError(f"{name}: a PDF is sent as text or pictures, so that its file is needed, not its URL")
    return Attachment(name, kind, ending, hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest(), url=url)


def _of_path(text: str, folder: Path | None) -> Attachment:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    try:
        impossible = b"\0" in os.fsencode(text)
    except UnicodeEncodeError:  # a lone surrogate
        impossible = True
    if impossible:
        raise AttachmentError(f"{shown!a}: a path cannot hold such characters, as a null character")
    if _ADDRESS.match(text) and not _FILE_URL.match(text):
        raise AttachmentError(
            f"{shown}: files are read from this machine, or sent as an https:// address; fetch it first"
        )
    if folder is None:
        raise AttachmentError(f"{shown}: the input is at an address, so that attach.folder has to say where files lie")
    path = _found(text, folder)
    name = path.name
    real = os.path.realpath(path)
    root = os.path.realpath(folder)
    if os.path.commonpath((real, root)) != root:
        raise AttachmentError(f"{shown}: the file does not lie below {root} (attach.folder)")
    if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe would never end
        raise AttachmentError(f"{shown}: the file cannot be read (it is {'a folder' if path.is_dir() else 'no file'})")
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 20)
            digest = hashlib.sha256(head)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise AttachmentError(f"{shown}: the file cannot be read ({reason}{_several(text, folder)})") from error
    if not head:
        raise AttachmentError(f"{shown}: the file is empty")
    kind, form = kind_of(head)
    _refuse_text(name, kind)
    return Attachment(name, kind, form, digest.digest(), path=str(path))


def _several(text: str, folder: Path) -> str:
    """Return a hint where a text names several files."""
    names = [name.strip() for name in re.split(r"[;,|\n]", text)]
    if len(names) < 2 or not os.path.isfile(folder / names[0]):
        return ""
    return f"; several files are a list: {json.dumps(names[:2], ensure_ascii=False)}"


def kind_of(head: bytes) -> tuple[str, str]:
    """Return the kind and form of a file by its first bytes."""
    if b"%PDF-" in head[:1024]:
        return "pdf", "pdf"
    if (picture := read_picture(head)) is not None:
        return "image", picture.kind
    for sign, form in _SOUNDS:
        if sign.match(head):
            return "audio", form
    for sign, form in _OTHERS:
        if sign.match(head):
            return "other", form
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _BINARY.search(head[:65536]) is None:
        return "text", "text"
    return "other", "other"
