"""Bodies compressed with gzip, which some servers send unasked, decompressed in pieces so that a size limit can
hold."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE_BYTES = 1 << 20
"""The most bytes that are decompressed at a time."""


class Gunzip:
    """Decompresses one body. `parts` raises `zlib.error` for data that is not gzip."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def whole(self) -> bool:
        """Whether the end of the gzip stream, with its checksum, has been seen."""
        return self._inflate.eof

    def parts(self, packed: bytes) -> Iterator[bytes]:
        """Yield what `packed` adds to the body; a further gzip member is begun where one ends."""
        while packed:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            yield self._inflate.decompress(packed, PIECE_BYTES)
            packed = self._inflate.unconsumed_tail or self._inflate.unused_data
