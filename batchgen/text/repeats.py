"""Tells cumulative pieces of a text, each of which repeats all before it, from increments."""

from __future__ import annotations

from collections.abc import Sequence

REPEATED_LETTERS = 16
"""So many repeated characters cannot be chance."""


def is_cumulative(pieces: Sequence[str]) -> bool:
    """Whether every piece begins with the whole of the one before it, and the text grows.

    Increments hardly ever look like that; the first two pieces mostly decide. Two pieces alone tell nothing where the
    first one comes yet another time: the text itself repeats its beginning, and nothing of it may be dropped.
    """
    if len(pieces) < 2 or not pieces[1].startswith(pieces[0]) or len(pieces[-1]) <= len(pieces[0]):
        return False
    if len(pieces) == 2 and pieces[1].startswith(pieces[0], len(pieces[0])):
        return False
    repeated = 0
    for number in range(1, len(pieces)):
        if not pieces[number].startswith(pieces[number - 1]):
            return False
        repeated += len(pieces[number - 1])
    return repeated >= REPEATED_LETTERS
