"""Memory for replies on their way in, shared by all requests in flight.

A reply may have 32 MB (`BODY_CAP`), and thousands are in flight; together they may have `ROOM_BYTES`. Beyond that only
one body is read on, whichever asked first, and the others are left in their sockets until there is room again. So the
bound is `ROOM_BYTES` and one body more, and nobody waits for somebody who waits.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio

ROOM_BYTES = 192 * 1024 * 1024
"""Most bytes of unfinished bodies, small ones not counted."""

PIECE_BYTES = 64 * 1024
"""What is read of a plain reply at a time; one that is smaller, as nearly all are, is not counted."""


class Room:
    """The bytes that bodies hold now. Not thread-safe: one event loop owns it."""

    def __init__(self, most: int = ROOM_BYTES) -> None:
        self._most = most
        self._held = 0
        self._passing: Body | None = None  # the one that is read on although there is no room
        self._changed: anyio.Event | None = None

    @property
    def full(self) -> bool:
        """Whether a body that grows has to wait."""
        return self._held >= self._most

    def body(self) -> Body:
        """Return an empty body, to be used as a context manager: at its end its bytes are given back."""
        return Body(self)

    async def _take(self, body: Body, size: int) -> None:
        self._held += size
        while self.full and self._passing is not body:
            if self._passing is None:
                self._passing = body
                return
            if self._changed is None:
                self._changed = anyio.Event()
            await self._changed.wait()

    def _give_back(self, body: Body) -> None:
        self._held -= body.size
        if self._passing is body:
            self._passing = None
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Body:
    """The bytes of one reply in the making."""

    __slots__ = ("_room", "pieces", "size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.pieces: list[bytes] = []
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room._give_back(self)

    async def add(self, piece: bytes) -> None:
        """Take a piece in; return when the next one may be read."""
        self.pieces.append(piece)
        self.size += len(piece)
        await self._room._take(self, len(piece))

    def joined(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.pieces)
