"""The simulator stands apart from what it tests."""

from __future__ import annotations

import re
from pathlib import Path

import batchgen.simulator


def test_nothing_of_batchgen_but_the_nouns_is_imported():
    """Wire bodies are written a second time here; a shared mistake would cancel itself out."""
    sources = Path(batchgen.simulator.__file__).parent.rglob("*.py")
    imported = {
        name for path in sources for name in re.findall(r"(?:from|import) (batchgen[\w.]*)", path.read_text("utf-8"))
    }
    assert {name for name in imported if not name.startswith("batchgen.simulator")} <= {
        "batchgen.values",
        "batchgen.errors",
    }
