"""Foreign text (vendors' messages, cells, file names) made safe for a terminal."""

from __future__ import annotations

import re

from batchgen.text.storable import whole_text

# C0 without tab and newline, DEL, C1, and the marks that reorder text: they could control or mislead a terminal.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return `text` without control characters, and U+FFFD for lone surrogates, which no stream can write."""
    return _CONTROL.sub("", whole_text(text))
