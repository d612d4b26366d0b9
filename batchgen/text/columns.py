"""The error message for a column that does not exist, the same for `input.id`, templates and parameters."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection

from batchgen.nearest import nearest

_WORDS = ("none", "true", "false", "not", "row", "self")
_MOST_LISTED = 30  # a longer list of columns would hide the message


def in_template(column: str) -> str:
    """Return how a template names a column."""
    return column if _is_name(column) else f"row[{json.dumps(column, ensure_ascii=not _plain(column))}]"


def _is_name(column: str) -> bool:
    """Whether a template may use the name as it is: Jinja2's own words are none, and identifiers are composed."""
    return column.isidentifier() and _plain(column) and column.lower() not in _WORDS


def _plain(column: str) -> bool:
    return column == _composed(column)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def missing_column(name: str, available: Collection[str]) -> str:
    """Return `there is no column "x" in the input; did you mean "y"? The columns are ...`, for the end of a message."""
    if not available:
        return f'there is no column "{name}", as there are no columns at all.'
    near = nearest(name, available)
    if near is not None and near != name and _composed(near) == _composed(name):
        return (
            f'there is no column "{name}" in the input, only one that looks the same: its letters are written as '
            f"{near!a}, in another form of Unicode. Write it so: {in_template(near)}."
        )
    listed = ", ".join(f'"{column}"' for column in list(available)[:_MOST_LISTED])
    more = f" and {len(available) - _MOST_LISTED} more" if len(available) > _MOST_LISTED else ""
    hint = f'did you mean "{near}"? The' if near is not None else "the"
    if near is not None and not _is_name(near):
        hint = f'did you mean "{near}", in a template {in_template(near)}? The'
    return f'there is no column "{name}" in the input; {hint} columns are {listed}{more}.'
