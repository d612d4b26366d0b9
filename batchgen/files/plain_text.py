"""Text files that people write by hand, in whatever encoding their editor chose."""

from __future__ import annotations

import codecs

_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def hand_written(content: bytes) -> str:
    """Return the text of a file. Windows programs write a byte order mark, or UTF-16 with one.

    Raises `UnicodeDecodeError` for other encodings than UTF-8.
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8-sig")
    return content.decode(encoding)
