"""Files for pyarrow, which takes a path as UTF-8 only."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa


def arrow_file(path: Path | str) -> str | pa.NativeFile:
    """Return what pyarrow opens for a path: the path itself, or the file where its name is not UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return pa.OSFile(os.fsencode(path))
    return os.fspath(path)
