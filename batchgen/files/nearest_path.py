"""Suggests the path that was meant by one that does not exist."""

from __future__ import annotations

import os
from pathlib import Path

from batchgen.nearest import nearest

_MOST_LOOKED_AT = 10_000  # names of one folder


def did_you_mean(path: str | Path, *, suffix: str = "") -> str:
    """Return ` Did you mean X?` for the nearest path to one that does not exist, or an empty text.

    Folders and file may both be mistyped. Only files whose names end with `suffix` count.
    """
    found = _path(Path(path), suffix)
    return f" Did you mean {found}?" if found is not None else ""


def _path(path: Path, suffix: str) -> Path | None:
    folder: Path | None = path.parent
    if not path.parent.is_dir():
        folder = _path(path.parent, "") if path.parent != path else None
        if folder is None or (folder / path.name).exists():
            return folder and folder / path.name
    assert folder is not None
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_LOOKED_AT), strict=False)]
    except OSError:
        return None
    near = nearest(path.name, [name for name in names if name.endswith(suffix)])
    return folder / near if near is not None else None
