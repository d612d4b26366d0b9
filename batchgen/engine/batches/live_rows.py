"""Rows that are asked live beside the batches, or after them, by the engine of ordinary calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import islice

import anyio

from batchgen.engine.protocol import Engine, EngineParts, Outlet
from batchgen.engine.summary import AskedLive
from batchgen.engine.work import RowInProgress
from batchgen.money.ledger import Charges
from batchgen.storage.batch_table import BatchTable
from batchgen.values import Result

CHUNK_ROWS = 500
"""Rows taken from a source at a time: the others stay on disk."""


class _Counted:
    """Where results of rows that were asked live go: they are counted on the way."""

    def __init__(self, out: Outlet, live: LiveRows) -> None:
        self._out = out
        self._live = live
        self.wait_for_room = out.wait_for_room

    @property
    def congested(self) -> bool:
        return self._out.congested

    def emit(self, result: Result) -> RowInProgress | None:
        self._live.ended(1, (result.input_cost, result.output_cost))
        return self._out.emit(result)

    def spend(self, charges: Charges) -> None:
        self._out.spend(charges)


class LiveRows:
    """A queue of rows that are asked live, filled while the engine works it off.

    `asked` counts the rows that were put in; `engine` is None until there is one. With `refuses` no row is taken: it
    stays pending.
    """

    def __init__(self, build: Callable[[EngineParts], Engine], parts: EngineParts, table: BatchTable) -> None:
        self._build = build
        self._parts = parts
        self._table = table
        self._sources: deque[Iterator[RowInProgress]] = deque()
        self._chunk: deque[RowInProgress] = deque()
        self._news = anyio.Event()
        self._closed = False
        self._ended, self._cost = 0, Decimal(0)
        self.asked = 0
        self.engine: Engine | None = None
        self.refuses = False

    def add(self, rows: Iterable[RowInProgress]) -> None:
        """Have these rows asked; they are drawn when it is their turn."""
        if self.refuses:
            return
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
        await engine.run(self, _Counted(out, self))

    def asked_live(self, too_long: int) -> AskedLive | None:
        """Return what was asked live so far; None for nothing."""
        return AskedLive(self._ended, self._cost, too_long) if self.asked or too_long else None

    def ended(self, rows: int, costs: Iterable[Decimal | None]) -> None:
        """Count rows that have ended, and what they have cost."""
        self._ended += rows
        for cost in costs:
            self._cost += cost or 0

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
