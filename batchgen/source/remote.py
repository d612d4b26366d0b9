"""Input files that lie in a store: found by their address, pinned to the version they have now.

Of Parquet only what is needed is fetched, range by range; files of other formats are copied to a temporary folder
once, since they are read from beginning to end several times.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path

from batchgen.errors import InputError
from batchgen.nearest import nearest
from batchgen.source.file import File, Format, Reading
from batchgen.source.files import check_together, checked, data_files, find_files, format_of, natural_key
from batchgen.stores.address import Address, is_address, parse_address
from batchgen.stores.opening import open_store
from batchgen.stores.protocol import MissingError, NoRangesError, Store, StoredObject, StoreError, again
from batchgen.stores.remote_file import RemoteObject, copy_object

_MAGIC = re.compile(r"[*?\[]")
_copies: dict[tuple[str, str], str] = {}


def find_input(path: str, reading: Reading) -> tuple[File, ...]:
    """Return the files that a path or an address means, as `find_files` does. Raises `InputError`."""
    if not is_address(path) or os.path.lexists(path):
        return find_files(path, reading)
    address = parse_address(path, InputError)
    try:
        store = open_store(address)
        found = _objects(store, address)
        root = _root(address)
        files = tuple(_file(store, address, entry, root, reading) for entry in found)
    except StoreError as error:
        raise InputError(str(error)) from None
    check_together(address.text, files)
    return files


def _root(address: Address) -> str:
    """Return what the names of the files do not have: the folder that the address is, or is a glob in."""
    literal = _MAGIC.split(address.key)[0]
    return literal.rpartition("/")[0] + "/" if literal != address.key else address.key + "/"


def _objects(store: Store, address: Address) -> list[StoredObject]:
    """Return the objects that an address means: one, those in a folder, or those that match a glob."""
    if address.scheme in ("http", "https"):
        return [again(lambda: store.head(address.key))]
    literal = _MAGIC.split(address.key)[0]
    try:
        if address.key:
            return [again(lambda: store.head(address.key))]
    except MissingError:
        pass
    folder = literal.rpartition("/")[0] if literal != address.key else address.key
    entries = {entry.key: entry for entry in again(lambda: store.listing(folder)) if not entry.key.endswith("/")}
    if literal != address.key:
        pattern = re.compile(_pattern(address.key))
        names = [key for key in entries if pattern.fullmatch(key) and not key.rpartition("/")[2].startswith(".")]
        if not names:
            raise InputError(f"No file matches the glob {address.text}.")
    elif not entries:
        raise InputError(f"The input {address.text} does not exist.{_did_you_mean(store, address)}")
    else:
        below = f"{folder}/" if folder else ""
        names = [below + name for name in data_files([key.removeprefix(below) for key in entries], address.text)]
    names.sort(key=natural_key)
    if len(names) > 1:
        names = [name for name in names if entries[name].size] or names
    return [entries[name] for name in names]


def _pattern(glob: str) -> str:
    """Return the regular expression of a glob: `*` and `?` stay within a folder, `**/` goes down any number of them."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]+\])", glob)
    words = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        words.get(part)
        or (part.replace("[!", "[^") if part.startswith("[") and part.endswith("]") else re.escape(part))
        for part in parts
    )


def _did_you_mean(store: Store, address: Address) -> str:
    folder, _, name = address.key.rpartition("/")
    keys = [entry.key for entry in again(lambda: store.listing(folder))]
    below = len(folder) + 1 if folder else 0
    near = nearest(name, {key[below:].partition("/")[0] for key in keys})
    if near is None:
        return ""
    return f" Did you mean {address.scheme}://{address.bucket}/{folder + '/' if folder else ''}{near}?"


def _file(store: Store, address: Address, entry: StoredObject, root: str, reading: Reading) -> File:
    key = entry.key.partition("?")[0] if address.scheme in ("http", "https") else entry.key
    shown = f"{address.scheme}://{address.bucket.rpartition('@')[2]}/{key}"
    kind = format_of(shown, reading)
    stamp = int.from_bytes(hashlib.sha256(entry.version.encode()).digest()[:7])
    name = entry.key.removeprefix(root) if entry.key != address.key else os.path.basename(key)
    copy = None
    if entry.size and (kind[0] is not Format.PARQUET or not _has_ranges(store, entry)):
        copy = _copied(store, entry, shown)
        if kind[0] is not Format.PARQUET and _is_gzip(copy):  # servers and stores pack files without changing names
            kind = format_of(f"{shown.removesuffix('.gz')}.gz", reading)
    return checked(
        File(shown, name, *kind, entry.size, stamp, None, reading, remote=RemoteObject(store, entry), copy=copy)
    )


def _is_gzip(copy: str) -> bool:
    with open(copy, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _has_ranges(store: Store, entry: StoredObject) -> bool:
    """Whether parts of a file can be fetched, of exactly this version."""
    try:
        again(lambda: store.read(entry.key, entry.size - 1, 1, entry.version))
    except NoRangesError:
        return False
    return bool(entry.version)


def _copied(store: Store, entry: StoredObject, shown: str) -> str:
    """Return a copy of an object on this machine, made once in the life of the process."""
    known = _copies.get((shown, entry.version)) if entry.version else None
    if known is None:
        target = Path(_folder().name, f"{len(_copies)}{''.join(Path(shown).suffixes[-2:])}")
        try:
            copy_object(store, entry, target)
        except OSError as error:
            raise InputError(
                f"{shown} is copied to a temporary file to be read, and that cannot be written: {error}. Make room, or "
                "name another folder by TMPDIR."
            ) from error
        known = _copies[shown, entry.version] = str(target)
    return known


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the copies, which goes with the process."""
    return tempfile.TemporaryDirectory(prefix="batchgen-")
