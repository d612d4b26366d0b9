"""Which event loop carries the connections."""

from __future__ import annotations

import importlib.util
from typing import Any


def loop_options() -> dict[str, Any]:
    """Options for `anyio.run`: uvloop where the platform has it."""
    return {"use_uvloop": importlib.util.find_spec("uvloop") is not None}
