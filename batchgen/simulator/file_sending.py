"""Sends a file over a connection at the pace at which the client takes it, so that its size does not matter."""

from __future__ import annotations

import asyncio
import zlib
from typing import BinaryIO

from batchgen.simulator.exchange import FileBody

_PIECE = 64 * 1024
_GZIP = 31  # zlib's name for the format
_LAST_CHUNK = b"0\r\n\r\n"


class FileSending:
    """A file on its way; at most `most` of its bytes are sent."""

    def __init__(self, transport: asyncio.Transport, body: FileBody, most: int) -> None:
        self._transport = transport
        self._file: BinaryIO = open(body.path, "rb")  # noqa: SIM115 - closed by `close`
        self._file.seek(body.start)
        self._left = min(most, body.size)
        self._chunked = body.chunked
        self._deflate = zlib.compressobj(wbits=_GZIP) if body.gzip else None

    def send(self) -> bool:
        """Send a piece. Return whether there is more."""
        piece = self._file.read(min(_PIECE, self._left))
        self._left -= len(piece)
        last = not piece or not self._left
        if self._deflate is not None:
            piece = self._deflate.compress(piece) + (self._deflate.flush() if last else b"")
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            if last:
                piece += _LAST_CHUNK
        self._transport.write(piece)
        return not last

    def close(self) -> None:
        """Close the file."""
        self._file.close()
