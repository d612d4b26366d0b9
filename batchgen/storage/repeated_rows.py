"""Which rows of the input ask what another row asks too, a bit for each row; kept in the output directory.

A bit too many costs a look-up, one too few a request: who shares an answer compares the requests themselves.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from batchgen.files.replace import replace_file

_FORM = b"batchgen repeated rows 1\n"


class RepeatedRows:
    """The rows, out of so many, that perhaps share their request with another one."""

    def __init__(self, rows: int, bits: bytes = b"") -> None:
        self._bits = bytearray(bits or (rows + 7) >> 3)
        self._any = bool(bits)

    def add(self, rows: pa.Array) -> None:
        """Add some rows."""
        bits = self._bits
        for row in rows.to_pylist():
            bits[row >> 3] |= 1 << (row & 7)
        self._any = self._any or len(rows) > 0

    def __contains__(self, row: int) -> bool:
        return self._any and bool(self._bits[row >> 3] >> (row & 7) & 1)

    def __bool__(self) -> bool:
        return self._any

    def save(self, path: Path, run: str) -> None:
        """Keep them for the next session of a run; where the disk refuses, that one looks for them again."""
        body = bytes(self._bits) if self._any else b""
        head = b"%s%s %d %d\n" % (_FORM, run.encode(), len(body), zlib.crc32(body))
        with suppress(OSError):
            replace_file(path, head + body)


def kept_rows(path: Path, run: str, rows: int) -> RepeatedRows | None:
    """Return the rows that an earlier session of a run with so many rows has found; None if there is no sound file."""
    try:
        form, _, rest = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    head, _, body = rest.partition(b"\n")
    told = b"%s %d %d" % (run.encode(), len(body), zlib.crc32(body))
    if form + b"\n" != _FORM or head != told or len(body) not in (0, (rows + 7) >> 3):
        return None
    return RepeatedRows(rows, body)
