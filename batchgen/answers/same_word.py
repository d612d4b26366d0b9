"""When two spellings are one word: a label, or a word of a schema's enum."""

from __future__ import annotations

import re
import unicodedata

from batchgen.text.invisible import INVISIBLE

GAP = re.compile(r"(?<=[^\W_])[\s_-]++(?=[^\W_])")
_BLANKS = re.compile(r"\s++")
_SLASH = re.compile(r" ?/ ?")
_SAME = dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-") | dict.fromkeys(map(ord, INVISIBLE))
_SAME |= {wide: wide - 0xFEE0 for first, last in ("０９", "ＡＺ", "ａｚ") for wide in range(ord(first), ord(last) + 1)}


def word_key(text: str) -> str:
    """Return the form in which spellings of one word are the same text."""
    text = composed(composed(text).translate(_SAME).casefold()).strip()
    return _SLASH.sub("/", _BLANKS.sub(" ", GAP.sub(" ", text)))


def composed(text: str) -> str:
    """Return a text with each letter and its marks as one sign, however they were written."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
