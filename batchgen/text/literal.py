"""Lists and objects as Python prints them: what pandas writes into a cell of a CSV file, and some gateways reply."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

_LONGEST = 1_000_000
_DEEPEST = 20
_TEXT = re.compile(r"""([bBuU]?)(?:'(?:[^'\\]|\\.)*+('?)|"(?:[^"\\]|\\.)*+("?))""", re.DOTALL)
"""A text. Its closing quote may be missing, so that one pass finds that out: without it, each quote would be tried."""
_BETWEEN_OBJECTS = re.compile(r"\}\s++(?=\{)")
_WORD = re.compile(r"(?<![\w.])[^\W\d]\w*")
_WORDS = frozenset({"None", "True", "False"})
_NO_SIGN = re.compile(r"[^\w\s()\[\]{},:.+-]|[-+]\s*[-+]")


def python_literal(text: str) -> Any:
    """Return the list or dictionary that Python or NumPy has printed; None for any other text."""
    text = text.strip()
    found = python_value(text) if text[:1] in ("[", "{") else None
    return found if isinstance(found, list | dict) else None


def python_value(text: str) -> Any:
    """Return the list, dictionary, tuple or set that Python or NumPy has printed; None for any other text.

    NumPy, and so pandas, puts blanks in place of the commas, and Python would join two texts into one. Python's parser
    may take for ever over brackets in brackets, signs or operators in a row, which nobody prints.
    """
    text = text.strip()
    if text[:1] not in ("[", "{", "(") or len(text) > _LONGEST:
        return None
    outside: list[str] = []  # what stands between the texts
    written: list[str] = []
    end = 0
    for match in _TEXT.finditer(text):
        if not (match[2] or match[3]):
            return None
        between = text[end : match.start()]
        outside.append(between)
        written += (", " if between.isspace() else _BETWEEN_OBJECTS.sub("}, ", between), match[0])
        end = match.end()
    outside.append(text[end:])
    written.append(_BETWEEN_OBJECTS.sub("}, ", text[end:]))
    if not _is_plain(" ".join(outside)):
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # a text with a backslash is nothing to warn about
            found = ast.literal_eval("".join(written))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
    return found if isinstance(found, list | dict | tuple | set) else None


def _is_plain(outside: str) -> bool:
    """Whether all that stands outside of the texts is numbers, a few words and brackets that are not too deep."""
    if _NO_SIGN.search(outside) is not None or not _WORDS.issuperset(_WORD.findall(outside)):
        return False
    depth = 0
    for sign in re.findall(r"[\[{(\]})]", outside):
        depth += 1 if sign in "[{(" else -1
        if depth > _DEEPEST:
            return False
    return True
