"""Whether the ids of all rows differ: exact, at 8 bytes a row plus a bounded share for the check."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

_SHARE_ROWS = 1 << 21  # sorted at a time: 50 MB beside the 8 bytes a row
_SLICE_ROWS = 1 << 20
_SUSPECTS = 1_000  # looked at in one re-reading

Chunks = Iterator[tuple[int, pa.Array]]
"""Ids with the number of their first row; strings or 64-bit integers."""


class IdCheck:
    """Collects a 64-bit hash of each id; equal hashes are then looked up again, so that a collision is no duplicate."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, ids: pa.Array) -> None:
        """Take the next ids, without nulls."""
        self._hashes.extend(_hashes(ids))

    def duplicate(self, reread: Callable[[], Chunks]) -> tuple[str, list[int]] | None:
        """Return one id that more than one row has, with those rows, or None. `reread` gives all ids once more."""
        suspects = self._suspects()
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

    def _suspects(self) -> Iterator[int]:
        """Yield each hash that occurs more than once."""
        if not self._hashes:
            return
        hashes = pa.Array.from_buffers(pa.int64(), len(self._hashes), [None, pa.py_buffer(self._hashes)])
        shares = 1 << max(0, (len(self._hashes) // _SHARE_ROWS).bit_length())
        for share in range(shares):
            parts = []
            for start in range(0, len(hashes), _SLICE_ROWS):
                part = hashes.slice(start, _SLICE_ROWS)
                if shares > 1:
                    part = part.filter(pc.equal(pc.bit_wise_and(part, pa.scalar(shares - 1, pa.int64())), share))
                parts.append(part)
            joined = pa.concat_arrays(parts)
            ordered = joined.take(pc.sort_indices(joined))
            again = ordered.slice(1).filter(pc.equal(ordered.slice(1), ordered.slice(0, max(0, len(ordered) - 1))))
            yield from again.unique().to_pylist()


def _hashes(ids: pa.Array) -> array[int]:
    if pa.types.is_integer(ids.type):
        start = ids.offset * 8
        return array("q", ids.buffers()[1].slice(start, len(ids) * 8).to_pybytes())
    return array("q", map(hash, ids.to_pylist()))
