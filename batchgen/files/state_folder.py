"""The folder in the user's state directory for what runs share, and for journals of outputs in object stores."""

from __future__ import annotations

import os
from pathlib import Path

from batchgen.errors import OutputError


def state_folder() -> Path:
    """Return the folder, which may not exist yet. Raises `OutputError` where the user has no home.

    A relative `XDG_STATE_HOME` is ignored, as the XDG Base Directory Specification asks.
    """
    base = os.environ.get("XDG_STATE_HOME") or ""
    try:
        root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    except RuntimeError:
        raise OutputError("This user has no home directory: set XDG_STATE_HOME to a folder for batchgen.") from None
    return root / "batchgen"
