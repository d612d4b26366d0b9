"""64-bit hashes of all rows, in row order, and which rows have one in common: exact, in bounded memory.

Two values with the same hash need not be equal. Who asks compares the values themselves, of these rows only.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

import pyarrow as pa

from batchgen.errors import InputError
from batchgen.files.compute import pc

_HELD_ROWS = 1 << 20
"""Hashes held in memory: 8 MB. The others are in a temporary file."""

_SHARE_ROWS = 1 << 21  # compared at a time: 50 MB


class Alike(NamedTuple):
    """Rows of which each has its hash in common with another; equal hashes stand together."""

    rows: pa.Array
    hashes: pa.Array


class RowHashes:
    """The hashes of rows; row 0 is the first that was added."""

    def __init__(self) -> None:
        self._held = array("q")
        self._file: IO[bytes] | None = None
        self._written = 0

    def __len__(self) -> int:
        return self._written + len(self._held)

    def extend(self, hashes: Iterable[int]) -> None:
        """Take the hashes of the next rows, as signed numbers of 64 bits. Raises `InputError` when the disk is full."""
        self._held.extend(hashes)
        if len(self._held) >= _HELD_ROWS:
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="batchgen-")  # noqa: SIM115 (see `close`)
                self._file.write(memoryview(self._held).cast("B"))
                self._file.flush()
            except OSError as error:
                raise InputError(
                    f"Looking for equal rows needs 8 bytes for each in the temporary folder: {error.strerror}. Make "
                    "room there, or name another folder in the environment variable TMPDIR."
                ) from error
            self._written += len(self._held)
            self._held = array("q")

    def alike(self) -> Iterator[Alike]:
        """Yield the rows that have their hash in common with others; those of one hash come together."""
        shares = 1 << max(0, (len(self) // _SHARE_ROWS).bit_length())
        for share in range(shares):
            rows, hashes = [], []
            for first, block in self._blocks():
                chosen = pc.indices_nonzero(pc.equal(pc.bit_wise_and(block, pa.scalar(shares - 1, pa.int64())), share))
                rows.append(pc.add(chosen.cast(pa.int64()), first))
                hashes.append(block.take(chosen))
            if not hashes:
                return
            found = pa.table({"hash": pa.concat_arrays(hashes), "row": pa.concat_arrays(rows)})
            found = found.take(pc.sort_indices(found["hash"]))
            ordered = found["hash"].combine_chunks()
            again = pc.equal(ordered.slice(1), ordered.slice(0, max(0, len(ordered) - 1)))
            none = pa.array([False] * min(1, len(ordered)), pa.bool_())
            found = found.filter(pc.or_(pa.concat_arrays([none, again]), pa.concat_arrays([again, none])))
            yield Alike(found["row"].combine_chunks(), found["hash"].combine_chunks())

    def take(self, rows: pa.Array) -> pa.Array:
        """Return the hashes of some rows, in the order of `rows`."""
        order = pc.sort_indices(rows)
        wanted = rows.take(order)
        found = []
        for first, block in self._blocks():
            here = wanted.filter(pc.and_(pc.greater_equal(wanted, first), pc.less(wanted, first + len(block))))
            found.append(block.take(pc.subtract(here, first)))
        places = pc.sort_indices(order)  # the inverse of a permutation
        return pa.concat_arrays(found).take(places) if found else pa.array([], pa.int64())

    def close(self) -> None:
        """Delete the temporary file."""
        if self._file is not None:
            self._file.close()

    def _blocks(self) -> Iterator[tuple[int, pa.Array]]:
        """Yield all hashes in pieces, each with the number of its first row."""
        if self._file is not None:
            self._file.seek(0)
            for first in range(0, self._written, _HELD_ROWS):
                size = min(_HELD_ROWS, self._written - first) * 8
                yield first, _as_array(self._file.read(size))
        if self._held:
            yield self._written, _as_array(self._held.tobytes())


def _as_array(data: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(data) // 8, [None, pa.py_buffer(data)])
