"""Bounds the memory of all requests in progress, those that wait for another attempt included.

Without it 2,000 requests in flight and 4,000 rows waiting could each hold a prompt of 32 MB. A row is begun only
while there is room, so the bound is `PROMPT_BYTES` and one row more.
"""

from __future__ import annotations

from typing import Protocol

import anyio

PROMPT_BYTES = 256 * 1024 * 1024
"""Most bytes of request bodies; the text they were made of is held beside each."""


class Sized(Protocol):
    """A row on its way; `size` is what is counted for it."""

    size: int


class RequestMemory:
    """Counts the bytes of rows on their way. Not thread-safe: one event loop owns it."""

    def __init__(self, most: int = PROMPT_BYTES) -> None:
        self._most = most
        self._held = 0
        self._changed: anyio.Event | None = None
        self.full = False
        """Whether to begin no further row for now."""

    def weigh(self, row: Sized, size: int) -> None:
        """Count a row's request; a later one of the same row takes its place."""
        self._held += size - row.size
        row.size = size
        self.full = self._held >= self._most

    def free(self, row: Sized) -> None:
        """Forget a row that is finished or left pending."""
        self._held -= row.size
        row.size = 0
        self.full = self._held >= self._most
        if self._changed is not None and not self.full:
            self._changed.set()
            self._changed = None

    async def wait(self) -> None:
        """Return when a row may be begun."""
        while self.full:
            if self._changed is None:
                self._changed = anyio.Event()
            await self._changed.wait()
