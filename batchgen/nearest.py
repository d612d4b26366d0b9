"""The name that was meant by one that does not exist: a mistyped key, column, model or file."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(wanted: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the name that was probably meant, or None. Neither case nor blanks around a name count.

    `cutoff`: how alike they have to be, from 0 to 1; a file's name may lack its extension.
    """
    import difflib  # here, as only a message needs it

    folded = {name.strip().casefold(): name for name in names}
    wanted = wanted.strip().casefold()
    near = difflib.get_close_matches(wanted, folded, n=1, cutoff=cutoff)
    near = near or [name for name in folded if wanted and name.startswith(wanted + ".")]
    return folded[near[0]] if near else None
