"""The memory of large replies, bounded from their first byte until their answers are written to disk.

A reply may have 32 MB (`BODY_CAP`) and thousands may be in flight; together they may take `ROOM_BYTES`, with the
answers that are not on disk yet. Beyond that only one body is read further, the first that asked, and the others stay
in their sockets until there is room again; none is read further while answers wait for the disk. So the bound is
`ROOM_BYTES`, one more body, and what each connection reads at a time (up to 256 KB, or what that decompresses to). No
body ever waits for another one that waits, so that there is no deadlock.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

ROOM_BYTES = 96 * 1024 * 1024
"""The most bytes of incomplete bodies and of answers that wait for the disk; small ones are not counted."""

SMALL_BYTES = 64 * 1024
"""Smaller bodies, which nearly all are, are not counted."""

LARGE_BYTES = 4 * 1024 * 1024
"""So many bytes of large replies call the function of `call_at_first_large`."""

_at_first: list[Callable[[], None]] = []


def call_at_first_large(function: Callable[[], None]) -> None:
    """Have a function called once, when large replies first hold `LARGE_BYTES`. In most runs they never do."""
    _at_first.append(function)


class Room:
    """Counts the bytes that large replies hold. Not thread-safe: it is used on one event loop only."""

    def __init__(self, most: int = ROOM_BYTES) -> None:
        self._most = most
        self._held = 0
        self._unsaved = 0
        self._passing: Share | None = None  # the one that is read further although there is no room
        self._waiting: dict[Share, None] = {}  # in the order they came

    @property
    def full(self) -> bool:
        """Whether a body that grows has to pause."""
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
        """Uncount an answer of so many bytes: it has been written to disk."""
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
    """The bytes that one body holds. `go_on` is called when it may be read further after a pause."""

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
        """Count so many more bytes; return False if reading has to pause until `go_on` is called."""
        self.size += size
        return self._room._grow(self, size)

    def give_back(self) -> None:
        """Uncount the body: it is complete or was given up."""
        self._room._give_back(self)
        self.size = 0
