"""gzip bodies, which nobody asks for and some send: unpacked by pieces, so that a bomb is noticed while it is small."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE_BYTES = 1 << 20
"""Most bytes unpacked at a time."""


class Gunzip:
    """One body. `parts` raises `zlib.error` for what is no gzip."""

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
