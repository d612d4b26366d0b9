"""Polls open batches by the wall clock until they end, then collects them; cancels them when the deadline is near."""

from __future__ import annotations

import anyio.to_thread
import msgspec

from batchgen.engine.batches.collecting import Collecting
from batchgen.engine.batches.due_times import DueTimes
from batchgen.engine.batches.result_lines import tells_of_rows
from batchgen.engine.batches.returning import Returning
from batchgen.engine.batches.sites import MOST_FAILURES
from batchgen.engine.batches.strays import delete_stray_files, end_stray_batches
from batchgen.engine.batches.tools import LOOK_TIMEOUT_S, Tools
from batchgen.providers.batch_api import BatchError, BatchStatus
from batchgen.storage.batch_files import forget_batch
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import Failure, Verdict

LONGEST_POLL_S = 300.0
SLOWER = 1.5
"""Each look at a batch that has not moved is so many times later than the one before, up to `LONGEST_POLL_S`."""

MOST_MISSES = 3
"""So many looks in a row that find no such batch, or no results of an ended one, before it counts as gone."""

MOST_CLEANINGS = 3


class Watching:
    """Looks at batches that are at the vendor, one step at a time."""

    def __init__(self, tools: Tools, returning: Returning, collecting: Collecting) -> None:
        self._tools = tools
        self._returning = returning
        self._collecting = collecting
        self._due = DueTimes(tools.times.clock)
        self._pause: dict[int, float] = {}
        self._misses: dict[int, int] = {}
        self._fruitless: dict[int, int] = {}
        self._missed_s: dict[int, float] = {}
        self._cleanings: dict[int, int] = {}
        self.trouble: Failure | None = None
        self.longest_s = 0.0
        """The longest that a batch has taken so far."""

    def due_s(self, record: BatchRecord) -> float:
        """Return when to look at a batch next; at a new one after `poll_s`, whatever the vendor's clock says."""
        if record.number not in self._due:
            fresh = record.created_s is not None and record.state == "open" and not record.cancelled
            age_s = max(0.0, self._tools.times.clock() - (record.created_s or 0.0))
            self._due.put(record.number, self._tools.settings.poll_s - age_s if fresh else 0.0)
        return self._due.of(record.number)

    async def look(self, record: BatchRecord, timeout_s: float = LOOK_TIMEOUT_S) -> bool:
        """Look at a batch, and collect it if it has ended; return whether it was collected."""
        tools = self._tools.at(record)
        assert record.id is not None
        response = await tools.call(tools.api.retrieve(record.id), timeout_s)
        found = response if isinstance(response, Failure) else tools.api.read_batch(response)
        if isinstance(found, BatchError):
            found = Failure(found.kind, Verdict.RETRY, found.message)
        if isinstance(found, Failure):
            await self._unseen(record, found)
            return False
        self._misses.pop(record.number, None)
        if found.phase != "ended":
            self._missed_s.pop(record.number, None)
        self.trouble = None
        record = await self._seen(record, found)
        if record.earlier_files:
            record = await end_stray_batches(tools, record, last=found.phase in ("ended", "refused"))
        if found.phase == "refused":
            await self._returning.refused(record, *found.errors)
            return True
        if found.phase != "ended":
            self._later(record)
            if record.cancelled and found.phase != "closing":  # the call was lost, or refused for the moment
                await self.cancel(record)
            return False
        return await self._collect(record, found)

    async def _unseen(self, record: BatchRecord, failure: Failure) -> None:
        tools = self._tools.at(record)
        self.trouble = failure
        if failure.http_status not in (404, 410):
            tools.stop_for(failure)
            if failure.verdict is Verdict.STOP:
                tools.site.shut = failure.message
        elif _counted(self._misses, record) >= MOST_MISSES and (
            not tools.site.seen_any or self._is_patient_no_more(record)
        ):
            if not tools.site.seen_any:
                raise tools.stopped(
                    f"The vendor knows nothing of batch {record.id}, which this run has open there: {failure.message}",
                    "Run it with the key and the address that it was begun with, as batches belong to a project; or, "
                    "if the batch is gone there, with --take-over: its rows are asked again, and may be paid twice.",
                )
            await self._returning.lost(record, f"Batch {record.id} is gone at the vendor")
        self._later(record)

    def _is_patient_no_more(self, record: BatchRecord) -> bool:
        """Whether a batch or its results have not been found for so long that they count as gone."""
        now_s = self._tools.times.clock()
        return now_s - self._missed_s.setdefault(record.number, now_s) >= self._tools.patience_s

    async def _seen(self, record: BatchRecord, found: BatchStatus) -> BatchRecord:
        """Take over what the vendor says of a batch."""
        tools = self._tools.at(record)
        site = tools.site
        site.seen_any, site.shut = True, None
        if site.failures >= MOST_FAILURES:
            tools.sites.taken(site)
        site.failures = 0
        if found.phase in ("queued", "running", "closing"):
            site.refused = 0
        now = msgspec.structs.replace(
            record,
            phase=found.phase,
            word=found.word,
            done=found.completed,
            state="ended" if found.phase == "ended" else record.state,
            results=tuple(found.results),
            input_file=record.input_file or found.input_file,
        )
        if now != record:
            self._pause.pop(record.number, None)
            await self._tools.table.put(now)
        return now

    async def _collect(self, record: BatchRecord, found: BatchStatus) -> bool:
        tools = self._tools.at(record)
        expected = not found.results and (found.completed or found.total is None or found.total > 0)
        late = expected and found.word.lower() in ("completed", "success")
        if late and _counted(self._fruitless, record) <= MOST_MISSES + 2:
            self._later(record)  # the files of results may be named later than the end
            return False
        paths = await self._collecting.download(record, found)
        if isinstance(paths, Failure):
            self.trouble = paths
            if paths.http_status not in (404, 410):
                tools.stop_for(paths)
            elif _counted(self._fruitless, record) > MOST_MISSES + 2 and self._is_patient_no_more(record):
                await self._returning.lost(record, f"The results of batch {record.id} are gone at the vendor")
            self._later(record)
            return False
        if not await anyio.to_thread.run_sync(tells_of_rows, tools, record, found, paths):
            await self._returning.refused(record, *found.errors)
            return True
        tools.room.leave(record.number, record.model)
        tools.site.refused = 0
        if record.created_s is not None and not record.cancelled:
            self.longest_s = max(self.longest_s, tools.times.clock() - record.created_s)
        record = await self._collecting.collect(record, found, paths)
        await self.clean(record, found)
        return True

    async def clean(self, record: BatchRecord, found: BatchStatus | None = None) -> None:
        """Delete what a collected batch has left, here and at the vendor; what cannot be deleted is said."""
        tools = self._tools.at(record)
        forget_batch(tools.directory, record.number)
        if found is None:
            found = BatchStatus(
                id=record.id or "",
                phase="ended",
                word=record.word,
                input_file=record.input_file,
                results=record.results,
            )
        if record.stray:
            await delete_stray_files(tools, record)
        calls = list(tools.api.clean_up(found)) if record.id is not None else []
        if record.id is None and record.input_file is not None:
            calls = [tools.api.delete_file(record.input_file)]
        left: Failure | None = None
        for call in calls:
            response = await tools.call(call)
            refused = response if isinstance(response, Failure) else tools.api.refusal(response)
            if refused is not None and refused.http_status not in (404, 410):
                left = refused
        if left is not None:
            tries = self._cleanings[record.number] = self._cleanings.get(record.number, 0) + 1
            if tries < MOST_CLEANINGS:
                self._due.put(record.number, min(tools.settings.poll_s, LONGEST_POLL_S))
                return
            tools.tell(f"The files of batch {record.id or record.number} stay at the vendor: {left.message}")
        await tools.table.put(msgspec.structs.replace(record, state="cleaned"))

    def say_what_stays(self) -> None:
        """Say which clean-ups were cut off: a run that is complete has no next one to do them."""
        left = [str(record.number) for record in self._tools.table.records.values() if record.state == "collected"]
        if left:
            self._tools.tell(
                f"Files of batches {', '.join(left)} may stay at the vendor: the run was interrupted before they were "
                "deleted."
            )

    async def cancel(self, record: BatchRecord) -> None:
        """Ask the vendor to end a batch; what is finished by then is collected as at any other end."""
        tools, batch_id = self._tools.at(record), record.id
        assert batch_id is not None
        if not record.cancelled:
            record = msgspec.structs.replace(record, cancelled=True)
            await tools.table.put(record)
        response = await tools.call(tools.api.cancel(batch_id), LOOK_TIMEOUT_S)
        self.trouble = response if isinstance(response, Failure) else tools.api.refusal(response)
        self._pause.pop(record.number, None)
        self._due.put(record.number, min(tools.settings.poll_s, 60.0))

    def _later(self, record: BatchRecord) -> None:
        pause_s = self._pause.get(record.number, self._tools.settings.poll_s)
        self._due.put(record.number, pause_s)
        self._pause[record.number] = min(max(LONGEST_POLL_S, self._tools.settings.poll_s), pause_s * SLOWER)


def _counted(counts: dict[int, int], record: BatchRecord) -> int:
    """Count one more of a batch, and return how many there are."""
    counts[record.number] = counts.get(record.number, 0) + 1
    return counts[record.number]
