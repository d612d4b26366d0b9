"""Plain text tables, for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest


def table(rows: Sequence[Sequence[str]], *, words: int = 1, indent: str = "") -> list[str]:
    """Return the lines of a table whose first row is the head. The first `words` columns are aligned to the left, the
    others to the right."""
    widths = [max(map(_width, column)) for column in zip_longest(*rows, fillvalue="")]
    return [
        indent
        + "  ".join(
            _padded(cell, width, left=place < words)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _padded(cell: str, width: int, *, left: bool) -> str:
    blank = " " * (width - _width(cell))
    return cell + blank if left else blank + cell


def _width(text: str) -> int:
    """Return the width on a terminal: East Asian wide characters take two columns, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
