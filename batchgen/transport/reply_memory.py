"""Memory for large replies, from their first byte until what they say is safe on the disk.

A reply may have 32 MB (`BODY_CAP`), and thousands are in flight; together they may have `ROOM_BYTES`, answers that the
disk has not taken yet included. Beyond that only one body is read on, whichever asked first, and the others are left
in their sockets until there is room again; none is read on while answers wait for the disk. So the bound is
`ROOM_BYTES`, one body more, and what each connection reads at a time (up to 256 KB, or what gzip makes of that); and
nobody waits for somebody who waits.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

ROOM_BYTES = 96 * 1024 * 1024
"""Most bytes of unfinished bodies and of answers that wait for the disk, small ones not counted."""

SMALL_BYTES = 64 * 1024
"""A body that is smaller, as nearly all are, need not be counted."""

LARGE_BYTES = 4 * 1024 * 1024
"""Bytes of large replies from which the process has to look after its memory."""

_at_first: list[Callable[[], None]] = []


def call_at_first_large(function: Callable[[], None]) -> None:
    """Have a function called once, when large replies first hold `LARGE_BYTES`: most runs never do."""
    _at_first.append(function)


class Room:
    """The bytes that large replies hold now. Not thread-safe: one event loop owns it."""

    def __init__(self, most: int = ROOM_BYTES) -> None:
        self._most = most
        self._held = 0
        self._unsaved = 0
        self._passing: Share | None = None  # the one that is read on although there is no room
        self._waiting: dict[Share, None] = {}  # in the order they came

    @property
    def full(self) -> bool:
        """Whether a body that grows has to wait."""
        return self._held >= self._most

    def _grow(self, share: Share, size: int) -> bool:
        self._held += size
        if _at_first and self._held >= LARGE_BYTES:
            _at_first.pop()()
        if not self.full or self._passing is share:
            return True
        if self._passing is None and not self._unsaved:
            self._passing = share
            return True
        self._waiting[share] = None
        return False

    def hold(self, size: int) -> None:
        """Count an answer of so many bytes that waits for the disk, until `release`."""
        self._unsaved += size
        self._held += size

    def release(self, size: int) -> None:
        """The disk has taken an answer that was held."""
        self._unsaved -= size
        self._held -= size
        self._go_on()

    def _give_back(self, share: Share) -> None:
        self._held -= share.size
        self._waiting.pop(share, None)
        if self._passing is share:
            self._passing = None
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and (not self.full or (self._passing is None and not self._unsaved)):
            first = next(iter(self._waiting))
            del self._waiting[first]
            if self.full:
                self._passing = first
            first.go_on()


class Share:
    """What one body holds of the room; `go_on` is called when it may be read on after a pause."""

    __slots__ = ("_room", "go_on", "size")

    def __init__(self, room: Room, go_on: Callable[[], object] = lambda: None) -> None:
        self._room = room
        self.go_on = go_on
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def grow(self, size: int) -> bool:
        """Count so many bytes more. False: read no further until `go_on` is called."""
        self.size += size
        return self._room._grow(self, size)

    def give_back(self) -> None:
        """The body is whole or given up."""
        self._room._give_back(self)
        self.size = 0
