"""Relative paths in a job file start at the file's own folder, so that a job works from any working directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchgen.errors import JobError
from batchgen.stores.address import is_address, shown

PATH_KEYS = (
    "input.path",
    "prompt.system_file",
    "prompt.user_file",
    "prompt.examples",
    "attach.folder",
    "response.schema",
    "pricing.file",
    "output.path",
    "output.state",
)
_MAY_BE_ADDRESSES = frozenset({"input.path", "prompt.examples", "output.path"})


def refuse_addresses(table: Mapping[str, Any], where: str) -> None:
    """Raise `JobError` for an address where a path of this machine is needed."""
    for key in PATH_KEYS:
        name, _, field = key.partition(".")
        values = table.get(name)
        value = values.get(field) if isinstance(values, Mapping) else None
        if key not in _MAY_BE_ADDRESSES and isinstance(value, str) and is_address(value):
            raise JobError(
                f"{where}: {key} takes a path on this machine, and {shown(value)} is an address: copy it from there."
            )


def resolve_paths(table: dict[str, Any], folder: Path) -> None:
    """Rewrite the relative paths of a decoded job file in place, so that they start at the working directory."""
    for key in PATH_KEYS:
        name, _, field = key.partition(".")
        values = table.get(name)
        if isinstance(values, Mapping) and isinstance(value := values.get(field), str):
            table[name] = {**values, field: _resolved(value, folder)}


def _resolved(path: str, folder: Path) -> str:
    if path in ("", "-") or path.lstrip().startswith("{") or is_address(path):  # the schema itself begins so
        return path
    joined = os.path.join(folder, os.path.expanduser(path))
    tidy = os.path.normpath(joined)
    # behind a symbolic link `..` is not the folder that the text of the path suggests
    return tidy if os.path.realpath(tidy) == os.path.realpath(joined) else joined
