"""What a lost reply has left at the vendor although no list showed it: found later, when lists have caught up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from email.utils import parsedate_to_datetime

import msgspec

from batchgen.engine.batches.tools import Tools
from batchgen.providers.batch_api import BatchFile, BatchPage, BatchStatus
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import ApiCall, Failure, Response

MOST_PAGES = 500

DAY_S = 86_400.0
"""So much earlier than its creation a batch is asked for where a list begins at a time: clocks differ."""


async def pages(tools: Tools, call: ApiCall) -> AsyncIterator[BatchPage | Failure]:
    """Yield the pages of a list; a failure, and no more, where one cannot be had now.

    It ends with a page that brings nothing new: some servers begin again from the front.
    """
    following: ApiCall | None = call
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        if following is None:
            return
        response = await tools.call(following)
        page = response if isinstance(response, Failure) else tools.api.read_page(response)
        if isinstance(response, Failure) or isinstance(page, Failure):
            yield page
            return
        yield msgspec.structs.replace(page, at_s=_date_s(response))
        new = {one.id for one in _shown(page)} - seen
        seen |= new
        following = page.next if new else None


def _shown(page: BatchPage) -> list[BatchStatus | BatchFile]:
    return [*page.batches, *page.files]


def is_past(page: BatchPage, since_s: float) -> bool:
    """Whether all of a page is older than a time, and so all that follows; not where a list begins with the oldest."""
    times = [one.created_s for one in _shown(page)]
    known = [time_s for time_s in times if time_s is not None]
    return bool(known) and len(known) == len(times) and max(known) < since_s and known[0] >= known[-1]


def _date_s(response: Response) -> float | None:
    """Return when a reply was made, as its header says."""
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return None


async def delete_stray_files(tools: Tools, record: BatchRecord) -> None:
    """Delete the files of a batch whose upload had no reply, so that they were uploaded again."""
    async for page in pages(tools, tools.api.list_files()):
        if isinstance(page, Failure):
            return
        for file in page.files:
            if file.name == record.name and file.id != record.input_file:
                await tools.call(tools.api.delete_file(file.id))
        if is_past(page, record.planned_s - DAY_S):
            return


async def end_stray_batches(tools: Tools, record: BatchRecord, *, last: bool) -> BatchRecord:
    """Cancel batches that were created by a call without a reply, after all, and count them as possibly billed.

    After the `last` look nothing is looked for any more: where it brought no list, what was not found counts, too.
    """
    known = {other.id for other in tools.table.records.values()}
    for file in record.earlier_files:
        call = tools.api.list_batches((record.intent_s or tools.times.clock()) - DAY_S, file)
        async for page in pages(tools, call):
            if isinstance(page, Failure):
                if not last:
                    return record
                for _ in record.earlier_files:
                    tools.parts.budget.abandon(record.held, record.rows)
                return msgspec.structs.replace(record, earlier_files=())
            for status in page.batches:
                if status.input_file != file or status.id in known:
                    continue
                known.add(status.id)
                if status.phase == "refused":
                    continue
                if status.phase != "ended":
                    await tools.call(tools.api.cancel(status.id))
                if file in record.earlier_files:
                    tools.parts.budget.abandon(record.held, record.rows)
                tools.tell(
                    f"The vendor shows batch {status.id} only now, with the rows of batch {record.number}: it is "
                    "cancelled, and what it has done by then may be billed too."
                )
                left = tuple(name for name in record.earlier_files if name != file)
                record = msgspec.structs.replace(record, earlier_files=left)
                await tools.table.put(record)
            if is_past(page, record.planned_s - DAY_S):
                break
    return without_strays(tools, record) if last else record


def without_strays(tools: Tools, record: BatchRecord) -> BatchRecord:
    """Return a batch of which nothing else can be at the vendor; what was reserved for that is free again."""
    tools.parts.budget.settle(record.held * len(record.earlier_files), Decimal(0))
    return msgspec.structs.replace(record, earlier_files=())
