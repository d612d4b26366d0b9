"""Compressed bodies, which some servers send unasked, decompressed in pieces so that a size limit can hold."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Any

import pyarrow as pa

PIECE_BYTES = 1 << 20
"""The most bytes that are decompressed at a time."""

_BY_ZLIB = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_BY_ARROW = {"br": "brotli", "zstd": "zstd"}
_KNOWN = frozenset({"identity", *_BY_ZLIB, *_BY_ARROW})
_UNKNOWN = "unknown"
_MEMBER = b"\x1f"  # how a further part of a body in gzip begins; its second byte may come with the next piece
_AS_IT_IS = b'{[<:" \r\n'  # what JSON, pages and keep-alives begin with, and none of these formats but the rarest


class UnpackError(Exception):
    """The bytes are not what Content-Encoding says, or it names something unknown. `cut`: they have no end."""

    def __init__(self, message: str, *, cut: bool = False) -> None:
        super().__init__(message)
        self.cut = cut


class Unpacker:
    """Decompresses one body. A gateway may have done so already and left the header, or have written something into it
    that is no compression (`utf-8`, `aws-chunked`): such a body stays as it is. Of one that was compressed twice only
    the outer layer is taken off; whoever reads replies knows the inner one by its first bytes."""

    def __init__(self, encoding: str) -> None:
        names = [name for name in map(str.strip, encoding.lower().split(",")) if name and name != "identity"]
        self._name = names[-1] if names else "identity"
        if not all(name in _BY_ZLIB for name in names[:-1]) or self._name not in _KNOWN:
            self._name = _UNKNOWN
        self._encoding = encoding
        self._inflate: Any = None
        self._held: list[bytes] = []
        self._begun = False

    def parts(self, packed: bytes) -> Iterator[bytes]:
        """Yield what `packed` adds to the body. Raises `UnpackError`."""
        if packed and not self._begun:
            self._begin(packed[0])
        if self._name in _BY_ARROW:
            self._held.append(packed)
            return
        if self._inflate is None:
            yield packed
            return
        try:
            while packed:
                if self._inflate.eof:
                    if not packed.startswith(_MEMBER):  # padding, or what a server has written behind its body
                        return
                    self._inflate = zlib.decompressobj(_BY_ZLIB[self._name])
                yield self._inflate.decompress(packed, PIECE_BYTES)
                packed = self._inflate.unconsumed_tail or self._inflate.unused_data
        except zlib.error as error:
            raise UnpackError(f"zlib.error: {error}") from None

    def rest(self) -> Iterator[bytes]:
        """Yield what is left when the body has ended: all of one that can only be decompressed whole. Raises
        `UnpackError`, also where the compressed data has no end; an empty body is complete."""
        if self._inflate is not None and not self._inflate.eof:
            raise UnpackError("the compressed data has no end", cut=True)
        if not self._held:
            return
        packed, self._held = pa.BufferReader(b"".join(self._held)), []
        try:
            with pa.CompressedInputStream(packed, _BY_ARROW[self._name]) as unpacked:
                while piece := unpacked.read(PIECE_BYTES):
                    yield piece
        except (OSError, pa.ArrowException) as error:
            raise UnpackError(f"{type(error).__name__}: {error}") from None

    def _begin(self, first: int) -> None:
        self._begun = True
        if first in _AS_IT_IS:
            self._name = "identity"
        elif self._name == _UNKNOWN:
            raise UnpackError(self._encoding)
        elif self._name in _BY_ZLIB:
            raw = self._name == "deflate" and first & 0x0F != zlib.DEFLATED  # without zlib's own header
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS if raw else _BY_ZLIB[self._name])


async def unpacked(encoding: str, body: AsyncIterable[bytes]) -> AsyncIterator[Iterator[bytes]]:
    """Yield, for each piece of a body as it arrives and for its end, what that adds to the decompressed body."""
    unpacker = Unpacker(encoding)
    async for packed in body:
        yield unpacker.parts(packed)
    yield unpacker.rest()
