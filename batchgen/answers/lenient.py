"""Almost-JSON → a value, without guessing: what Python and JavaScript print, and a few small mistakes.

Beyond JSON it takes Python's literals (single and triple quotes, escapes, tuples, True, None) and SQL's words, bare
keys, curly quotes, Chinese commas and colons, line breaks in strings, trailing commas, NaN (as null), and a missing
comma before a quoted key. Each string ends at its first quote that is not escaped, and what follows must be what the
grammar asks for: so a text is read in one way or not at all, and every leaf of the value stands in the text, at the
same keys. Comments, bare words as values, values that are missing and strings side by side are errors. One pass, no
backtracking, and bounded depth.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

DEEPEST = 100
"""Levels of an answer; deeper ones would exhaust the stack of one reader or another."""

_TOKEN = re.compile(
    r"""(?P<space>\s*+)(?:
    (?P<mark>[{}\[\](),:，：])
    |(?P<triple>\"{3}[^"\\]*+(?:\\.[^"\\]*+)*+\"{3}|'{3}[^'\\]*+(?:\\.[^'\\]*+)*+'{3})
    |(?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+"|'[^'\\]*+(?:\\.[^'\\]*+)*+')
    |(?P<curly>“[^“”]*+”|‘[^‘’]*+’)
    |(?P<number>[+-]?(?:(?:0|[1-9][0-9_]*+)(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)(?![\w.])
    |(?P<word>[^\W\d][\w$-]*+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"""\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|N\{([^{}]{1,100})\}|([0-7]{1,3})|(.))""", re.DOTALL
)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "\n": ""}
_LETTERS |= {letter: letter for letter in "\"'\\/"}
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None, "NaN": None}
_WORDS |= {"TRUE": True, "FALSE": False, "NULL": None}
_WIDE = {"，": ",", "：": ":"}  # the marks of Chinese keyboards
_CLOSING = {"[": "]", "(": ")"}
_END = ("", "", False)


class AmbiguousError(Exception):
    """The text can be read in two ways."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of its pairs. Raise `AmbiguousError` for a key with two values."""
    found = dict(pairs)
    if len(found) != len(pairs):
        for key, value in pairs:
            if repr(found[key]) != repr(value):  # True == 1 in Python, not in JSON
                raise AmbiguousError(f'the key "{key[:100]}" appears twice with different values')
    return found


def finite(text: str) -> float:
    """Return the number; raise `ValueError` where it is beyond a 64-bit float (JSON has no infinity)."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:20]} is beyond a 64-bit float")
    return number


def read_lenient(text: str) -> Any:
    """Return the value of a whole text. Raise `ValueError` if it is none, `AmbiguousError` if it is two."""
    reader = _Reader(text)
    value = reader.value(0)
    reader.end()
    return value


class _Reader:
    """Reads one text: `_kind`, `_text` and `_spaced` are the token that comes next."""

    def __init__(self, text: str) -> None:
        self._source = text.rstrip()
        self._place = 0
        self._advance()

    def _advance(self) -> None:
        """Move to the next token."""
        if self._place == len(self._source):
            self._kind, self._text, self._spaced = _END
            return
        match = _TOKEN.match(self._source, self._place)
        if match is None or match.lastgroup is None:
            raise ValueError("no token")
        text = match[match.lastgroup]
        self._kind, self._text, self._spaced = match.lastgroup, _WIDE.get(text, text), bool(match["space"])
        self._place = match.end()

    def _take(self, mark: str) -> bool:
        """Move over a mark, if it comes next."""
        if self._kind != "mark" or self._text != mark:
            return False
        self._advance()
        return True

    def end(self) -> None:
        if self._kind:
            raise ValueError("something follows the value")

    def value(self, depth: int) -> Any:
        kind, text = self._kind, self._text
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        if kind == "mark" and text in "{[(":
            self._advance()
            return self._object(depth) if text == "{" else self._list(text, depth)
        found: Any
        if kind in ("string", "triple", "curly"):
            found = self._string()
        elif kind == "number":
            digits = text.replace("_", "")
            found = int(digits) if digits.lstrip("+-").isdecimal() else finite(digits)
        elif kind == "word" and text in _WORDS:
            found = _WORDS[text]
        else:
            raise ValueError("no value")
        self._advance()
        return found

    def _string(self) -> str:
        if self._kind == "curly":
            return self._text[1:-1]
        edge = 3 if self._kind == "triple" else 1
        inner = self._text[edge:-edge]
        return _ESCAPE.sub(_unescaped, inner) if "\\" in inner else inner

    def _list(self, opening: str, depth: int) -> Any:
        items: list[Any] = []
        comma = False
        while not self._take(_CLOSING[opening]):
            if items and not comma:
                raise ValueError("no comma")
            items.append(self.value(depth + 1))
            comma = self._take(",")
        return items[0] if opening == "(" and len(items) == 1 and not comma else items

    def _object(self, depth: int) -> dict[str, Any]:
        pairs: list[tuple[str, Any]] = []
        comma = True
        bare: bool | None = None
        while not self._take("}"):
            quoted = self._kind in ("string", "curly")
            if not (quoted or self._kind in ("word", "number")) or bare is quoted:
                raise ValueError("no key")  # also where some keys are quoted and some not: a quote may stand wrongly
            if not comma and not (quoted and self._spaced):
                raise ValueError("no comma")
            bare = not quoted
            key = self._string() if quoted else self._text
            self._advance()
            if not self._take(":"):
                raise ValueError("no colon")
            pairs.append((key, self.value(depth + 1)))
            comma = self._take(",")
        return unique(pairs)


def _unescaped(match: re.Match[str]) -> str:
    """Return the character of an escape of JSON or Python. Raise `ValueError` for others: their meaning is a guess."""
    for group, base in ((1, 16), (2, 16), (3, 16), (5, 8)):
        if match[group]:
            return chr(int(match[group], base))
    if match[4]:
        try:
            return unicodedata.lookup(match[4])
        except KeyError:
            raise ValueError("no such character") from None
    if match[6] not in _LETTERS:
        raise ValueError("no escape")
    return _LETTERS[match[6]]
