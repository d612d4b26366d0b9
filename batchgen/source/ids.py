"""Whether the ids of all rows differ: exact, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

import pyarrow as pa

from batchgen.files.hashes import RowHashes

_SUSPECTS = 1_000  # looked at in one re-reading

Chunks = Iterator[tuple[int, pa.Array]]
"""Ids with the number of their first row; strings or 64-bit integers."""


class IdCheck:
    """Collects a 64-bit hash of each id; equal hashes are then looked up again, so that a collision is no duplicate."""

    def __init__(self) -> None:
        self._hashes = RowHashes()

    def add(self, ids: pa.Array) -> None:
        """Take the next ids, without nulls."""
        self._hashes.extend(_hashes(ids))

    def duplicate(self, reread: Callable[[], Chunks]) -> tuple[str, list[int]] | None:
        """Return one id that more than one row has, with those rows, or None. `reread` gives all ids once more."""
        suspects = (hashed for alike in self._hashes.alike() for hashed in alike.hashes.unique().to_pylist())
        while suspect := {hashed for hashed, _ in zip(suspects, range(_SUSPECTS), strict=False)}:
            rows: dict[str | int, list[int]] = {}
            for first, ids in reread():
                for place, (value, hashed) in enumerate(zip(ids.to_pylist(), _hashes(ids), strict=True), first):
                    if hashed in suspect:
                        rows.setdefault(value, []).append(place)
            for value, places in rows.items():
                if len(places) > 1:
                    return str(value), places
        return None

    def close(self) -> None:
        """Let go of the hashes."""
        self._hashes.close()


def _hashes(ids: pa.Array) -> array[int]:
    if pa.types.is_integer(ids.type):
        start = ids.offset * 8
        return array("q", ids.buffers()[1].slice(start, len(ids) * 8).to_pybytes())
    return array("q", map(hash, ids.to_pylist()))
