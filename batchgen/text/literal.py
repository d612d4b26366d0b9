"""Lists and objects as Python prints them: what pandas writes into a cell of a CSV file."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

_LONGEST = 1_000_000
_DEEPEST = 20
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\"", re.DOTALL)
_NO_COMMA = re.compile(rf"(?:{_TEXT.pattern})(?:\s++(?=['\"]))?+|\}}\s++(?=\{{)", re.DOTALL)
"""A text, with the blanks between it and another one, or those between two dictionaries."""
_SIGNS = re.compile(r"[-+~]{2}")


def python_literal(text: str) -> Any:
    """Return the list or dictionary that Python or NumPy has printed; None for any other text.

    NumPy, and so pandas, puts blanks in place of the commas, and Python would join two texts into one.
    Python's parser may take for ever over brackets in brackets and over many signs in a row, which nobody prints.
    """
    text = text.strip()
    if text[:1] not in ("[", "{") or len(text) > _LONGEST:
        return None
    bare = _TEXT.sub("", text)
    depth = 0
    for sign in re.findall(r"[\[{(\]})]", bare):
        depth += 1 if sign in "[{(" else -1
        if depth > _DEEPEST:
            return None
    if _SIGNS.search(bare) is not None:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # a text with a backslash is nothing to warn about
            found = ast.literal_eval(_NO_COMMA.sub(_with_comma, text))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return found if isinstance(found, list | dict) else None


def _with_comma(match: re.Match[str]) -> str:
    found = match[0]
    return f"{found.rstrip()}, " if found[-1:].isspace() else found
