"""Rows that are asked live beside the batches, or after them, by the engine of ordinary calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import anyio

from batchgen.engine.protocol import Engine, EngineParts, Outlet
from batchgen.engine.work import RowInProgress
from batchgen.storage.batch_table import BatchTable
from batchgen.values import Result

CHUNK_ROWS = 500
"""Rows taken from a source at a time: the others stay on disk."""


class LiveRows:
    """A queue of rows that are asked live, filled while the engine works it off.

    `asked` counts the rows that were put in; `engine` is None until there is one.
    """

    def __init__(self, build: Callable[[EngineParts], Engine], parts: EngineParts, table: BatchTable) -> None:
        self._build = build
        self._parts = parts
        self._table = table
        self._sources: deque[Iterator[RowInProgress]] = deque()
        self._chunk: deque[RowInProgress] = deque()
        self._news = anyio.Event()
        self._closed = False
        self.asked = 0
        self.engine: Engine | None = None

    def add(self, rows: Iterable[RowInProgress]) -> None:
        """Have these rows asked; they are drawn when it is their turn."""
        self._sources.append(iter(rows))
        self._tell()

    @property
    def wanted(self) -> bool:
        """Whether there are rows that wait."""
        return bool(self._sources or self._chunk)

    async def run(self, out: Outlet) -> None:
        """Ask the rows as they come, until `close`; returns when all are worked off."""
        while not self.wanted:
            if self._closed:
                return
            await self._news.wait()
        engine = self.engine = self._build(self._parts)
        await self._table.live_rows_begin(engine.most_in_flight)
        await engine.run(self, out)

    def close(self) -> None:
        """No more rows come."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def __iter__(self) -> Iterator[RowInProgress | Result]:
        while self._chunk:
            self.asked += 1
            yield self._chunk.popleft()

    async def more(self) -> bool:
        """Bring the next rows; False when there are none and none will come."""
        while not self._chunk:
            while self._sources and not self._chunk:
                self._chunk.extend(islice(self._sources[0], CHUNK_ROWS))
                if not self._chunk:
                    self._sources.popleft()
            if self._chunk:
                return True
            if self._closed:
                return False
            await self._news.wait()
        return True
