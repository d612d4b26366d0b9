"""The error message for a column that does not exist, the same for `input.id`, templates and parameters."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

_MOST_LISTED = 30  # a longer list of columns would hide the message


def missing_column(name: str, available: Collection[str]) -> str:
    """Return `there is no column "x" in the input; did you mean "y"? The columns are ...`, for the end of a message."""
    if not available:
        return f'there is no column "{name}", as there are no columns at all.'
    nearest = get_close_matches(name, available, n=1, cutoff=0.6) or [
        column for column in available if column.strip().casefold() == name.strip().casefold()
    ]
    listed = ", ".join(f'"{column}"' for column in list(available)[:_MOST_LISTED])
    more = f" and {len(available) - _MOST_LISTED} more" if len(available) > _MOST_LISTED else ""
    hint = f'did you mean "{nearest[0]}"? The' if nearest else "the"
    return f'there is no column "{name}" in the input; {hint} columns are {listed}{more}.'
