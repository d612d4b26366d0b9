"""Suggests the path that was meant by one that does not exist."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

_MOST_LOOKED_AT = 10_000  # names of one folder


def did_you_mean(path: str | Path, *, suffix: str = "") -> str:
    """Return ` Did you mean X?` for the nearest path to one that does not exist, or an empty text.

    Folders and file may both be mistyped. Only files whose names end with `suffix` count.
    """
    found = _nearest(Path(path), suffix)
    return f" Did you mean {found}?" if found is not None else ""


def _nearest(path: Path, suffix: str) -> Path | None:
    folder: Path | None = path.parent
    if not path.parent.is_dir():
        folder = _nearest(path.parent, "") if path.parent != path else None
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


def nearest(wanted: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant, or None."""
    folded = {name.casefold(): name for name in names}
    wanted = wanted.casefold()
    near = difflib.get_close_matches(wanted, folded, n=1, cutoff=0.6)
    near = near or [name for name in folded if wanted and name.startswith(wanted + ".")]
    return folded[near[0]] if near else None
