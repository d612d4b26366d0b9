"""From a planned batch to an open one: upload its file, create it, and find it again where the reply was lost.

Calls that create something are never sent again blindly. Before each its state is on disk; when the reply is lost, or
the process died, the vendor's lists are searched for what may be there: a file by its name, which is unique, a batch by
its file, its metadata or the ids in its results. Only what is in no list, a minute later either, is created anew; and
as the file of a batch is deleted first, a late creation would fail for want of it. Where there is no file that could be
deleted, such a batch counts as possibly billed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal

import msgspec

from batchgen.engine.batches.due_times import DueTimes
from batchgen.engine.batches.identity import is_ours
from batchgen.engine.batches.returning import Returning
from batchgen.engine.batches.strays import DAY_S, is_past, pages
from batchgen.engine.batches.tools import Tools
from batchgen.providers.batch_api import BatchError, BatchFile, BatchIntent, BatchPage, BatchStatus
from batchgen.storage.batch_files import lines_path
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import ApiCall, Failure, FailureKind

BEFORE_S = 300.0
"""A batch created that much before its call by the vendor's clock is looked at too."""

LATEST_S = 3_600.0
"""No batch is created so long after its call."""

NO_LIST = (404, 405, 501)
"""What a server without a list of files or batches answers, and any other where the address is wrong."""

MOST_UPLOADS = 3

SOON_S = 1.0
"""Seconds until a call is tried again that failed for the moment; doubled each time."""

LONGEST_S = 300.0


class HandingIn:
    """Brings batches one step further at a time. Methods return the record as it is then."""

    def __init__(self, tools: Tools, returning: Returning) -> None:
        self._tools = tools
        self._returning = returning
        self._due = DueTimes(tools.times.clock)
        self._tries: dict[int, int] = {}
        self._uploads = Counter[int]()
        self._ahead_s = 0.0  # of the vendor's clock
        self._waiting_for_room: set[int] = set()
        self._unproven: set[int] = set()
        self.trouble: Failure | None = None

    def due_s(self, record: BatchRecord) -> float:
        """Return when there is something to do for a batch."""
        return self._due.of(record.number)

    def waits_for_room(self, record: BatchRecord) -> bool:
        """Whether a batch waits for room in the vendor's queue."""
        return record.number in self._waiting_for_room

    def room_may_be_there(self) -> None:
        """A batch has moved on in the queue: those that wait for it are tried again."""
        for number in self._waiting_for_room | self._unproven:
            self._due.forget(number)
        self._waiting_for_room.clear()
        self._unproven.clear()

    async def advance(self, record: BatchRecord) -> None:
        """Do the next step of a batch that is not open yet."""
        inline = self._tools.at(record).api.inline
        if record.state == "uploading" and not inline:
            await self._find_file(record)
        elif record.state == "planned" and not inline:
            await self._upload(record)
        elif record.state == "creating":
            await self._find_batch(record)
        else:
            await self._create(record)

    # ---- the file

    async def _upload(self, record: BatchRecord) -> None:
        tools = self._tools.at(record)
        if not await self._fits(record):
            return
        record = await self._put(record, state="uploading")
        try:
            response = await tools.call(tools.api.upload(lines_path(tools.directory, record.number), record.name))
        except FileNotFoundError:
            await self._returning.whole(record, "its file is gone from the output directory", counts=False)
            return
        found = response if isinstance(response, Failure) else tools.api.read_file(response)
        if isinstance(found, BatchFile):
            await self._uploaded(record, found)
        elif found.kind is FailureKind.TOO_LONG:
            await self._returning.refused(record, BatchError(found.message, found.code, too_large=True))
        else:
            await self._failed(record, found)

    async def _uploaded(self, record: BatchRecord, file: BatchFile) -> None:
        self._uploads[record.number] += 1
        self._settled(record)
        await self._put(record, state="uploaded", input_file=file.id)

    async def _find_file(self, record: BatchRecord) -> None:
        """Look for a file whose upload had no reply; without one it is uploaded again, which costs nothing."""
        tools = self._tools.at(record)
        async for page in self._pages(tools, tools.api.list_files()):
            if page is None:
                return self._later(record)
            for file in page.files:
                if file.name == record.name and file.bytes in (None, record.bytes) and file.failed is None:
                    return await self._uploaded(record, file)
            if is_past(page, record.planned_s - BEFORE_S):
                break
        await self._put(record, state="planned", stray=True)
        return None

    async def _ready(self, record: BatchRecord) -> bool:
        """Whether the vendor has checked the file. One that can never be used is uploaded anew."""
        tools = self._tools.at(record)
        assert record.input_file is not None
        response = await tools.call(tools.api.file(record.input_file))
        found = response if isinstance(response, Failure) else tools.api.read_file(response)
        if isinstance(found, Failure):
            if found.http_status in (404, 410):
                await self._put(record, state="planned", input_file=None)
            else:
                await self._failed(record, found)
            return False
        if found.failed is not None:
            if self._uploads[record.number] >= MOST_UPLOADS:
                raise tools.stopped(f"The vendor cannot use the file of a batch: {found.failed}")
            await self._delete_file(record)
            await self._put(record, state="planned", input_file=None)
            return False
        if not found.ready:
            self._later(record)
        return found.ready

    async def _delete_file(self, record: BatchRecord) -> bool:
        """Delete the input file; return whether it is gone for sure."""
        if record.input_file is None:
            return False
        tools = self._tools.at(record)
        response = await tools.call(tools.api.delete_file(record.input_file))
        refused = response if isinstance(response, Failure) else tools.api.refusal(response)
        return refused is None or refused.http_status in (404, 410)

    # ---- the batch

    async def _fits(self, record: BatchRecord) -> bool:
        """Whether the queue has room; else the batch waits until another has left it, or is made into smaller ones."""
        tools = self._tools.at(record)
        if record.rows > 1 and record.tokens > tools.room.limit(record.model):
            await self._returning.whole(record, "too many tokens for the vendor's queue", counts=False)
            return False
        proven = self._proven(record)
        if proven and tools.room.may_take(record.number, record.model, record.tokens):
            return True
        if proven and tools.sites.with_room(tools.site, tools.waiting, record.tokens):
            await self._returning.whole(record, "another endpoint's queue has room", counts=False)
            return False
        (self._waiting_for_room if proven else self._unproven).add(record.number)
        self._due.put(record.number, self._tools.settings.poll_s)
        return False

    def _proven(self, record: BatchRecord) -> bool:
        """Whether the queue has taken enough batches for one more to be tried.

        As long as nobody says how much it takes, few are handed in at a time, so that few are refused.
        """
        site = self._tools.at(record).site
        if site.room.given:
            return True
        table = self._tools.table
        others = [
            one
            for one in table.records.values()
            if one.number != record.number and one.id and one.endpoint == record.endpoint
        ]
        taken = sum(one.phase not in ("", "checking", "refused") for one in others)
        at_a_time = 0 if site.refusals else taken // 4
        return sum(one.state == "open" and one.phase == "checking" for one in others) <= at_a_time

    async def _create(self, record: BatchRecord) -> None:
        tools = self._tools.at(record)
        checked = tools.api.limits.needs_file_ready or record.number in self._tries  # the file may be what was refused
        if checked and record.input_file is not None and not await self._ready(record):
            return
        if tools.leaving.begun or not await self._fits(record):
            return
        record = await self._put(record, state="creating", intent_s=tools.times.clock(), lost=False, looked=0)
        try:
            response = await tools.call(tools.api.create(self._intent(record)), creates=True)
        except FileNotFoundError:
            await self._returning.whole(record, "its file is gone from the output directory", counts=False)
            return
        found = response if isinstance(response, Failure) else tools.api.read_batch(response)
        if isinstance(found, BatchStatus):
            await self.opened(record, found)
        elif isinstance(found, BatchError):
            await self._returning.refused(record, found)
        elif found.maybe_billed:
            self.trouble = found
            tools.sites.failing(tools.site, found)
            self._later(await self._put(record, lost=True))
        elif found.http_status in (404, 410) and record.input_file and self._uploads[record.number] < MOST_UPLOADS:
            self.trouble = found  # the file is not there yet, or no more
            await self._delete_file(record)
            self._later(await self._put(record, state="planned", input_file=None))
        else:
            record = await self._put(record, state="planned" if tools.api.inline else "uploaded")
            await self._failed(record, found)

    async def opened(self, record: BatchRecord, found: BatchStatus) -> None:
        """Take over a batch that the vendor shows."""
        self._tools.at(record).site.seen_any = True
        self._settled(record)
        self._tools.at(record).site.failures = 0
        self._tools.at(record).room.may_take(record.number, record.model, record.tokens)
        record = await self._put(
            record,
            state="open",
            id=found.id,
            input_file=found.input_file or record.input_file,
            created_s=found.created_s or self._tools.times.clock(),
            phase=found.phase,
            word=found.word,
        )
        if found.phase == "refused":
            await self._returning.refused(record, *found.errors)

    def _intent(self, record: BatchRecord) -> BatchIntent:
        tools = self._tools
        return BatchIntent(
            run=tools.table.mark_of(record.number),
            part=record.number,
            sha=record.sha,
            path=lines_path(tools.directory, record.number),
            rows=record.rows,
            window=record.window,
            input_file=record.input_file,
            model=record.model,
        )

    async def _find_batch(self, record: BatchRecord) -> None:
        """Look for a batch whose creation had no reply."""
        tools, now_s = self._tools.at(record), self._tools.times.clock()
        intent, intent_s = self._intent(record), record.intent_s or now_s
        taken = {other.id for other in tools.table.records.values() if other.id is not None}
        undecided = False
        async for page in self._pages(tools, tools.api.list_batches(intent_s - DAY_S, record.input_file)):
            if page is None:
                return self._later(record)
            since_s = min(intent_s, intent_s + self._ahead_s) - BEFORE_S
            until_s = max(intent_s, intent_s + self._ahead_s) + LATEST_S
            for status in page.batches:
                ours = status.id not in taken and tools.api.is_of(status, intent)
                if ours is None and since_s <= (status.created_s or now_s) <= until_s:
                    ours = await is_ours(tools, record, status)
                    undecided = undecided or ours is None
                if ours:
                    return await self.opened(record, status)
            if is_past(page, since_s):
                break
        if undecided:
            return self._later(record, least_s=tools.settings.poll_s)
        waited_s = now_s - intent_s
        if not record.looked or 0 <= waited_s < tools.times.look_again_s:
            await self._put(record, looked=record.looked + 1)
            self._due.put(record.number, max(SOON_S, tools.times.look_again_s - max(0.0, waited_s)))
            return None
        return await self._not_there(record)

    async def _not_there(self, record: BatchRecord) -> None:
        """No list has the batch: hand its rows in anew, in another file."""
        if self._tools.at(record).api.inline:
            await self._returning.whole(record, "the vendor never confirmed it", counts=True)
            return
        tools, files = self._tools.at(record), record.earlier_files
        held = record.input_file is not None and tools.parts.budget.reserve(record.held)
        if not held and tools.times.clock() - (record.intent_s or 0) < tools.patience_s:
            self._later(record, least_s=tools.settings.poll_s)  # as long as the list may lag the budget bears one alone
        elif await self._delete_file(record):
            self._settled(record)
            if held and record.input_file is not None:
                files = (*files, record.input_file)
            await self._put(
                record, state="planned", input_file=None, intent_s=None, lost=False, looked=0, earlier_files=files
            )
        else:
            if held:
                tools.parts.budget.settle(record.held, Decimal(0))
            self._later(record)

    async def _pages(self, tools: Tools, call: ApiCall) -> AsyncIterator[BatchPage | None]:
        """Yield the pages of a list; None where one cannot be had now."""
        async for page in pages(tools, call):
            if isinstance(page, Failure):
                self.trouble = page
                if page.http_status not in NO_LIST:
                    tools.stop_for(page)
                    yield None
                elif not tools.site.seen_any:
                    raise tools.stopped(
                        f"The vendor has no list in which what was begun could be found: {page.message}",
                        "Run it with the key and the address that it was begun with. Where there is no such list, run "
                        "it with --take-over: what cannot be found is handed in again, and may be paid twice.",
                    )
            else:
                self._ahead_s = 0.0 if page.at_s is None else page.at_s - self._tools.times.clock()
                yield page

    # ---- what all of them do

    async def _failed(self, record: BatchRecord, failure: Failure) -> None:
        """Try again later, unless nothing else can succeed either."""
        self.trouble = failure
        self._tools.at(record).stop_for(failure)
        self._later(record, least_s=failure.retry_after_s or 0.0)

    def _later(self, record: BatchRecord, *, least_s: float = 0.0) -> None:
        tries = self._tries[record.number] = self._tries.get(record.number, 0) + 1
        pause_s = max(least_s, min(LONGEST_S, SOON_S * 2.0 ** min(tries - 1, 20)))
        self._due.put(record.number, pause_s)

    def _settled(self, record: BatchRecord) -> None:
        self.trouble = None
        self._due.forget(record.number)
        self._tries.pop(record.number, None)
        self._waiting_for_room.discard(record.number)

    async def _put(self, record: BatchRecord, **changes: object) -> BatchRecord:
        changed = msgspec.structs.replace(record, **changes)
        await self._tools.table.put(changed)
        return changed
