"""Rows that come back from a batch that was refused, or that is gone: into other files, without an attempt used."""

from __future__ import annotations

from collections.abc import Iterator, Set
from decimal import Decimal

import msgspec

from batchgen.engine.batches.live_rows import LiveRows
from batchgen.engine.batches.staging import Staging
from batchgen.engine.batches.strays import without_strays
from batchgen.engine.batches.tools import RowPlaces, Tools
from batchgen.engine.protocol import Outlet
from batchgen.engine.work import RowInProgress
from batchgen.errors import ProviderStop
from batchgen.pace.retry import AttemptCounts
from batchgen.providers.batch_api import NO_REASON, BatchError
from batchgen.storage.batch_files import StagedRow, StagedRows
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import Failure, Verdict

MOST_REFUSED = 24
"""So many batches refused one after the other, with none taken between, stop the run: halving 16 million rows finds the
one that is at fault in as many."""

_NOTHING = Decimal(0)


def work_of(tools: Tools, staged: StagedRow) -> RowInProgress:
    """Return a row as it was when it was put into its batch, at the endpoint of the tools."""
    work = RowInProgress(staged.row, staged.prompt, AttemptCounts(attempts=staged.attempts), key=staged.key)
    work.endpoint = tools.site.place
    tools.parts.dialogue.replay(work, staged.turns)
    work.tally.attempts = staged.attempts
    return work


class Returning:
    """Brings back the rows of whole batches."""

    def __init__(self, tools: Tools, staging: Staging, live: LiveRows, places: RowPlaces) -> None:
        self._tools = tools
        self._staging = staging
        self._live = live
        self._places = places
        self._budget = tools.parts.budget
        self.out: Outlet

    async def refused(self, record: BatchRecord, *errors: BatchError) -> None:
        """Decide on a batch that was refused as a whole, for these reasons: no row of it ran."""
        tools = self._tools.at(record)
        site = tools.site
        site.refusals += 1
        error = errors[0] if errors else NO_REASON
        reason = f"refused: {error.message}"
        if error.stops:
            if tools.sites.leave_out(site, error.message):
                await self.whole(record, reason, counts=False)
                return
            await self._finish(record, reason)
            raise self._stop(record, error)
        if error.queue_full:
            alone = tools.room.refused(record.number, record.model, record.tokens, error.queue_limit)
            if tools.sites.with_room(site, tools.waiting, record.tokens):
                await self.whole(record, reason, counts=False)
                return
            if not alone:
                await self._again(record)
                return
            tools.tell(f"The vendor's queue takes smaller batches only, {error.message}: files are halved.")
            await self.whole(record, reason, counts=False)
            return
        site.refused += 1
        if site.refused >= MOST_REFUSED:
            await self._finish(record, reason)
            raise self._stop(record, error)
        if error.too_large:
            site.most_rows = max(1, min(site.most_rows, record.rows // 2))
            site.most_bytes = max(1_000, min(site.most_bytes, record.bytes // 2 + 1_000))
            await self.whole(record, reason, counts=False)
        elif record.rows == 1 and error.message == NO_REASON.message:
            await self._without_bad_rows(record, {0}, reason)  # the row may not be at fault: asked live, that is said
        elif record.rows == 1:
            await self._fail(record, error)
        else:
            lines = {one.line - 1 for one in errors if one.line is not None and one.line <= record.rows}
            if len(lines) == record.rows:
                await self._finish(record, reason)
                raise self._stop(record, error)
            await self._without_bad_rows(record, lines, reason)

    def _stop(self, record: BatchRecord, error: BatchError) -> ProviderStop:
        tools = self._tools.at(record)
        return tools.stopped(f"The vendor refused batch {record.number}{tools.where}: {error.message}")

    async def _again(self, record: BatchRecord) -> None:
        """Let the batch wait until another has left the queue; it is handed in again as another file."""
        tools = self._tools.at(record)
        if record.input_file is not None:
            for name in (record.input_file, *record.results):
                await tools.call(tools.api.delete_file(name))
        anew = {"input_file": None, "id": None, "intent_s": None, "phase": "", "word": "", "created_s": None}
        await tools.table.put(msgspec.structs.replace(record, state="planned", results=(), **anew))

    async def _fail(self, record: BatchRecord, error: BatchError) -> None:
        """End the only row of a batch with the vendor's reason."""
        failure, tools = Failure(error.kind, Verdict.FAIL, error.message, code=error.code), self._tools.at(record)
        for _, staged in self._rows(record):
            self._budget.settle(staged.held, _NOTHING)
            self._places.put(staged.row, 0)
            work = work_of(tools, staged)
            work.tally.requests = 1
            result = self._tools.parts.results.result(work, failure)
            instead = self.out.emit(self._tools.parts.dialogue.finish(work, failure, result))
            if instead is not None:
                await self._staging.add_back(instead)
        await self._finish(record, f"refused: {error.message}")

    async def _without_bad_rows(self, record: BatchRecord, lines: Set[int], reason: str) -> None:
        """Ask the rows live that are named; where none is, make two batches of this one."""
        await self._staging.seal_all()
        for line, staged in self._rows(record):
            if line in lines:
                self._budget.settle(staged.held, _NOTHING)
                self._places.put(staged.row, 0)
                self._live.add([work_of(self._tools.at(record), staged)])
                continue
            if not lines and line == record.rows // 2:
                await self._staging.seal_all()
            await self._back(record, staged, counts=False, rounds=staged.rounds)
        await self._staging.seal_all()
        await self._finish(record, reason)

    async def lost(self, record: BatchRecord, what: str) -> None:
        """Bring the rows of a batch back that the vendor has taken and now knows nothing of.

        Raises `ProviderStop` where such rows were in another batch before: one after the other would be paid in vain.
        One that is cancelled is given up.
        """
        if not self._staging.closed and any(staged.rounds for _, staged in self._rows(record)):
            raise self._tools.stopped(
                f"{what}, as happened to rows of it before",
                "Look at the vendor's own page for what has become of it. Running the same command again looks for it "
                "anew; batchgen cancel gives it up, so that its rows are asked, and paid, once more.",
            )
        self._tools.tell(f"{what}: its rows are asked again.")
        await self.whole(record, what, counts=True, rounds=1)

    async def whole(self, record: BatchRecord, reason: str, *, counts: bool, rounds: int = 0) -> None:
        """Bring all rows of a batch back. `counts`: it may have been billed all the same; `rounds` is 1 where it has
        brought them nothing."""
        returned = 0
        for _, staged in self._rows(record):
            await self._back(record, staged, counts=counts, rounds=staged.rounds + rounds)
            returned += 1
        if not returned:
            self._budget.settle(record.held, _NOTHING)
        await self._finish(record, reason)

    async def _back(self, record: BatchRecord, staged: StagedRow, *, counts: bool, rounds: int) -> None:
        if counts:
            self._budget.abandon(staged.held)
        else:
            self._budget.settle(staged.held, _NOTHING)
        self._places.put(staged.row, 0)
        await self._staging.add_back(work_of(self._tools.at(record), staged), turns=staged.turns, rounds=rounds)

    def _rows(self, record: BatchRecord) -> Iterator[tuple[int, StagedRow]]:
        """Yield the rows that are still in a batch, with their lines; none where their file is gone."""
        try:
            with StagedRows(self._tools.directory, record.number) as rows:
                for line, row in enumerate(self._tools.table.members(record.number)):
                    if self._places.of(row) == record.number and line < len(rows):
                        yield line, rows[line]
        except FileNotFoundError as error:
            self._tools.tell(f"The rows of batch {record.number} cannot be read back ({error}): run again to ask them.")

    async def _finish(self, record: BatchRecord, reason: str) -> None:
        for row in self._tools.table.members(record.number):
            if self._places.of(row) == record.number:
                self._places.put(row, 0)
        tools = self._tools.at(record)
        tools.room.leave(record.number, record.model)
        record = without_strays(tools, record)
        await self._tools.table.put(msgspec.structs.replace(record, state="collected", reason=reason))
