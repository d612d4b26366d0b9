"""Rows of batches that are asked live instead: a small rest, and what is open when the deadline is near."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from batchgen.engine.batches.deadline import Deadline
from batchgen.engine.batches.live_rows import LiveRows
from batchgen.engine.batches.returning import work_of
from batchgen.engine.batches.strays import without_strays
from batchgen.engine.batches.tools import LOOK_TIMEOUT_S, RowPlaces, Tools
from batchgen.engine.batches.watching import Watching
from batchgen.engine.work import RowInProgress
from batchgen.storage.batch_files import StagedRows
from batchgen.storage.batch_table import BatchRecord

_NOTHING = Decimal(0)


class TurningLive:
    """Takes rows out of batches and has them asked live."""

    def __init__(self, tools: Tools, live: LiveRows, places: RowPlaces, watching: Watching, deadline: Deadline) -> None:
        self._tools = tools
        self._live = live
        self._places = places
        self._watching = watching
        self._deadline = deadline

    async def look(self, records: Sequence[BatchRecord], staged: int) -> None:
        """Cancel what is open when the rest has to be asked live, and have it asked. `staged` rows are in no batch."""
        rows = sum(record.rows for record in records) + staged
        cancel_s, last_s = self._deadline.cancel_s(rows), self._deadline.last_call_s(rows)
        now_s = self._tools.times.clock()
        if cancel_s is None or last_s is None or now_s < cancel_s:
            return
        for record in records:
            if record.state in ("planned", "uploading", "uploaded"):
                await self.ask(record, "the deadline was near", counts=False)
            elif record.state == "open" and not record.cancelled:
                self._tools.tell(f"The deadline is near: batch {record.number} is cancelled, its rest is asked live.")
                await self._watching.cancel(record)
            elif now_s >= last_s and not await self._has_ended(record, rows):
                self._tools.tell(f"Batch {record.number} has not ended in time: its rows are asked live.")
                await self.ask(
                    self._tools.table.records[record.number], "it had not ended by the deadline", counts=True
                )

    async def _has_ended(self, record: BatchRecord, rows: int) -> bool:
        """Look once more at a batch whose rows are paid twice if they are asked live, as the last look may be minutes
        ago; return whether it has ended and is collected."""
        left_s = self._deadline.last_look_s(self._tools.times.clock(), rows)
        if record.state not in ("open", "ended") or not left_s:
            return False
        await self._watching.look(record, min(left_s, LOOK_TIMEOUT_S))
        return not self._tools.table.records[record.number].unfinished

    async def ask(self, record: BatchRecord, reason: str, *, counts: bool) -> None:
        """Have the rows of a batch asked live. `counts`: it may be billed for them too."""
        budget, tools = self._tools.parts.budget, self._tools
        rows = [row for row in tools.table.members(record.number) if self._places.of(row) == record.number]
        if rows:
            self._live.add(self._drawn(tools.at(record), record.number, set(rows)))
        if counts:
            budget.abandon(record.held, len(rows))
        else:
            budget.settle(record.held, _NOTHING)
        for row in rows:
            self._places.put(row, 0)
        record = without_strays(tools, record)
        await tools.table.put(msgspec.structs.replace(record, state="collected", reason=reason))

    @staticmethod
    def _drawn(tools: Tools, number: int, wanted: set[int]) -> Iterator[RowInProgress]:
        """Return the rows of a batch, read from its file when it is their turn; the file is opened now."""

        def draw() -> Iterator[RowInProgress | None]:
            with StagedRows(tools.directory, number) as rows:
                yield None
                for line in range(len(rows)):
                    staged = rows[line]
                    if staged.row in wanted:
                        yield work_of(tools, staged)

        drawn = draw()
        next(drawn)
        return (work for work in drawn if work is not None)
