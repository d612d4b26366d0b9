"""Writes of requests, collected over one iteration of the event loop and done together in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Outbox:
    """Collects writes; used only on the loop that made it.

    Writing one request after the other wakes a sleeping server once instead of many times and keeps the kernel's code
    in the cache, which saves 11 of 80 µs for each request to a server that does almost nothing. The loop also reads
    between the iterations, so that an unasked reply is seen before the next request is sent on its connection.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._writes: list[Callable[[], None]] = []

    def add(self, write: Callable[[], None]) -> None:
        """Have `write` called after the loop has read from its sockets once more."""
        if not self._writes:
            # asyncio runs the callbacks of this iteration's reads after the first `call_soon`.
            self._loop.call_soon(self._loop.call_soon, self._flush)
        self._writes.append(write)

    def _flush(self) -> None:
        writes, self._writes = self._writes, []
        for write in writes:
            write()
