"""A run that was published in an object store, as an output directory on this machine: where it runs, or a copy."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.files.disk_errors import mend
from batchgen.files.modes import make_directory
from batchgen.files.replace import replace_file, replacing
from batchgen.files.state_folder import state_folder
from batchgen.storage.own_files import STATE_FILE, is_run
from batchgen.storage.run_state import read_run_json
from batchgen.stores.address import Address, is_address, parse_address
from batchgen.stores.opening import open_store
from batchgen.stores.protocol import MissingError, OutageError, Store, StoreError, again, read_whole
from batchgen.stores.remote_file import pieces

T = TypeVar("T")

CLAIM, POINTER = "claim.json", "run.json"


class Claim(Struct, frozen=True):
    """Who is going to publish: `token` is the machine's own, `state` its directory there."""

    token: str
    host: str
    pid: int
    state: str
    job: str
    since: str


class Pointer(Struct, frozen=True, kw_only=True):
    """The published `run.json`: which run and generation is the current one, its files with size and CRC-32, its
    state."""

    run: str
    directory: str
    files: Mapping[str, tuple[int, int]]
    state: msgspec.Raw


def read_claim(store: Store, address: Address) -> Claim | None:
    """Return who has claimed a target. Raises `StoreError`."""
    return _read(store, address, CLAIM, Claim)


def read_pointer(store: Store, address: Address) -> Pointer | None:
    """Return what is published at a target. Raises `StoreError`."""
    return _read(store, address, POINTER, Pointer)


def _read(store: Store, address: Address, name: str, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(read_whole(store, address.below(name)), type=kind)
    except MissingError:
        return None
    except msgspec.MsgspecError as error:
        raise StoreError(f"{address.text}/{name} is none of batchgen's files: {error}.") from None


def state_directory(address: Address) -> Path:
    """Return where the journal of an output in a store lies, unless the job says another folder."""
    return state_folder() / _slug(address)


def _slug(address: Address) -> str:
    """Return a file name for an address that people recognise, and that no other address has."""
    digest = hashlib.sha256(address.text.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', address.text)[-80:].lstrip('.-')}-{digest}"


def local_directory(named: Path | str, *, state_only: bool = False) -> Path:
    """Return the output directory that a path or an address means.

    Of an address this is where the run lies, if this machine makes it, else a copy of what is published, fetched
    once (with `state_only` just its `run.json`). Raises `OutputError` where nothing is published,
    or the store cannot be read.
    """
    text = str(named)
    if not isinstance(named, str) or not is_address(text) or os.path.lexists(text):
        return Path(named)
    address = parse_address(text, OutputError, writing=True)
    state = state_directory(address)
    try:
        store = open_store(address)
        claim = read_claim(store, address)
        if claim is not None and claim.host == socket.gethostname() and is_run(Path(claim.state)):
            return Path(claim.state)
        pointer = read_pointer(store, address)
        if pointer is None and claim is not None:
            raise OutputError(
                f"{text}: nothing is published there yet. The run of {claim.job} on {claim.host} has claimed it, and "
                f"its answers so far are in {claim.state} there."
            )
        if pointer is None:
            raise OutputError(f"{text} is not an output of batchgen: it has no {POINTER}.")
        known = read_run_json(state) if is_run(state) else None
        if known is not None and (known.run == pointer.run or pointer.run in known.reuse):
            return state
        wanted = msgspec.structs.replace(pointer, files={}) if state_only else pointer
        return fetch_generation(store, address, wanted, _copies() / _slug(address) / pointer.directory)
    except OutageError as error:
        if is_run(state):
            return state
        raise OutputError(str(error)) from None
    except StoreError as error:
        raise OutputError(str(error)) from None


def _copies() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "batchgen"


def fetch_generation(store: Store, address: Address, pointer: Pointer, target: Path) -> Path:
    """Copy a published run to this machine, but for files that are there already; `run.json` comes last.

    Raises `StoreError`, and `OutputError` where it cannot be written or a file is not as it was published.
    """
    try:
        for name, (size, crc) in pointer.files.items():
            if not re.fullmatch(r"(results/)?[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
                raise OutputError(f"{address.text}/{POINTER} names a file {name!r}, which is none of an output.")
            path = target / name
            if path.is_file() and path.stat().st_size == size:
                continue
            make_directory(path.parent)
            if _copy(store, address.below(f"{pointer.directory}/{name}"), path) != (size, crc):
                path.unlink()
                raise OutputError(f"{address.text}/{pointer.directory}/{name} is not as it was published.")
        if not is_run(target):
            make_directory(target)
            replace_file(target / STATE_FILE, bytes(pointer.state))
    except OSError as error:
        raise OutputError(f"{target}, the copy of {address.text}, cannot be written: {error}. {mend(error)}") from error
    return target


def _copy(store: Store, key: str, path: Path) -> tuple[int, int]:
    """Copy an object; return its size and CRC-32."""
    found = again(lambda: store.head(key))
    crc = 0
    with replacing(path) as file:
        for data in pieces(store, found):
            crc = zlib.crc32(data, crc)
            file.write(data)
    return found.size, crc
