"""The rule for text: which spellings of a text count as the same.

Two texts are the same when they differ only in

1. Unicode form: composed or decomposed, full or half width, ligatures, presentation forms, invisible characters. Signs
   keep their meaning: `x²` is not `x2`, and an emoji is not another emoji;
2. the case of letters;
3. white space, and `_` between letters or digits, which counts as a space;
4. a full stop, comma or semicolon at the end of a word (`Ltd.`, `Windows 11, 23H2`);
5. the kind of dash (`−`, `–`, `-`) and of quotation mark, and quotation marks or `**` around the whole text.

Everything else stays: signs, comparators, currency, symbols, emoji, digits, other punctuation. A text with anything
visible or invisible in it never becomes empty.
"""

from __future__ import annotations

import re
import unicodedata

from batchgen.text.invisible import INVISIBLE

NO_VALUE = frozenset(("none", "null", "nil", "n/a", "nan", "nat", "<na>", "#n/a"))
"""How programs and models write that a field has no value, after `same_text`."""

_LOOSE = re.compile(r"(?<=[^\s.,;])[.,;]+(?=\s|$)")
_GAPS = re.compile(r"(?<=[^\W_])_+(?=[^\W_])|\s+")
_QUOTES = {'"': '"', "'": "'", "`": "`", "«": "»", "‹": "›", "「": "」", "『": "』", "**": "**"}
_SAME = (
    dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("‘’‚‛′´", "'")
    | dict.fromkeys("“”„‟″", '"')
    | {"。": ".", "，": ",", "；": ";", "、": ","}
)
_KEPT_FORMS = ("<super>", "<sub>", "<circle>", "<square>", "<fraction>", "<vertical>")


class _Spellings(dict[int, str]):
    """Code point → how it is compared, found when it is first met."""

    def __missing__(self, point: int) -> str:
        letter = chr(point)
        self[point] = found = _plain_letter(letter)
        return found


def _plain_letter(letter: str) -> str:
    if letter in INVISIBLE:
        return ""
    if letter in _SAME:
        return _SAME[letter]
    form, _, _ = unicodedata.decomposition(letter).partition(" ")
    if not form.startswith("<") or form in _KEPT_FORMS:
        return letter
    if form == "<compat>" and unicodedata.category(letter)[0] not in "LZN":
        return letter  # an accent that stands alone, an ellipsis: signs of their own
    plain = unicodedata.normalize("NFKC", letter)
    return "".join(_SAME.get(one, one) for one in plain)


_SPELLINGS = _Spellings()


def same_text(text: str) -> str:
    """Return the form that all spellings of a text share; empty only for white space."""
    if text.isascii():
        same = text.lower()
    else:
        same = unicodedata.normalize("NFC", text).translate(_SPELLINGS)
        same = unicodedata.normalize("NFC", unicodedata.normalize("NFC", same).casefold())
    same = _without_quotes(_GAPS.sub(" ", same).strip())
    while (shorter := _without_quotes(_LOOSE.sub("", same))) != same:
        same = shorter
    return same or text.strip()


def _without_quotes(text: str) -> str:
    """Take off quotation marks that stand around the whole text, and only there."""
    while (close := _QUOTES.get(text[:1]) or _QUOTES.get(text[:2])) is not None:
        inner = text[len(close) : -len(close)]
        if not inner.strip() or not text.endswith(close) or close in inner:
            return text
        text = inner.strip()
    return text
