"""Opening files with pyarrow, which accepts only paths that are valid UTF-8."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa


def arrow_file(path: Path | str) -> str | pa.NativeFile:
    """Return what pyarrow can open for a path: the path, or an open file if the path is not valid UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return pa.OSFile(os.fsencode(path))
    return os.fspath(path)
