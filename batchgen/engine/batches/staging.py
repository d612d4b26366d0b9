"""Rows into files: each row as a line of a file that is handed in when it is full, and nothing of it in memory.

A file takes what may stand in one batch: one model and one setting of its thinking, up to the vendor's limits. What
does not fit into a line is asked live.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Literal

import anyio.to_thread
from msgspec import Struct

from batchgen.engine.batches.live_rows import LiveRows
from batchgen.engine.batches.sites import BatchSite
from batchgen.engine.batches.tools import RowPlaces, Tools
from batchgen.engine.work import RowInProgress
from batchgen.errors import BudgetStop, StorageStop
from batchgen.money.worst_case import Unbounded
from batchgen.storage.batch_files import StagedFiles, StagedRow, encode_row
from batchgen.storage.batch_table import BatchRecord
from batchgen.tokens.count import rough_tokens
from batchgen.values import Failure, Prompt, Request, Turn

MOST_GROUPS = 8
"""Files that are written at a time: one for each model and setting of its thinking."""

TOKEN_MARGIN = 1.1
"""The vendor may count more input tokens than the estimate; a queue that is too full is refused."""

Placed = Literal["staged", "live", "no budget", "left"]


class StagingFile(Struct):
    """A file that is being written. `since_s` is when its first row came; `returned` counts rows that an earlier batch
    brought nothing for."""

    files: StagedFiles
    site: BatchSite
    model: str
    since_s: float
    held: Decimal = Decimal(0)
    tokens: int = 0
    returned: int = 0


class Staging:
    """Writes rows into files and plans a batch for each that is full. `places` says where each row is."""

    def __init__(self, tools: Tools, places: RowPlaces, live: LiveRows) -> None:
        self._tools = tools
        self._places = places
        self._live = live
        self._budget = tools.parts.budget
        self._open: dict[str, StagingFile] = {}
        self._site: BatchSite | None = None  # what the next files are made for
        self._file_tokens = 1
        self._next = max(tools.table.records, default=0) + 1
        self.refused_row: tuple[Decimal, Prompt] | None = None
        self.without_budget: deque[tuple[RowInProgress, tuple[Turn, ...], int]] = deque()
        """Rows that came back and for which the budget has no room now, with their turns and rounds."""
        self.too_long = 0
        """Rows whose request is longer than a line may be."""
        self.closed = False
        """Whether no more rows are handed in: they stay pending."""

    @property
    def rows(self) -> int:
        """Rows in files that are not full yet."""
        return sum(len(file.files.members) for file in self._open.values())

    @property
    def all_returned(self) -> bool:
        """Whether they all were in a batch before."""
        return all(file.returned == len(file.files.members) for file in self._open.values())

    @property
    def oldest_s(self) -> float | None:
        """When the first of them came."""
        return min((file.since_s for file in self._open.values()), default=None)

    async def add(self, work: RowInProgress, *, turns: tuple[Turn, ...] = (), rounds: int = 0) -> Placed:
        """Take a row in. Raises `BudgetStop` where nothing bounds its cost, `StorageStop` when the disk refuses."""
        if self.closed:
            return "left"
        tools = self._tools
        attachments = tools.parts.requests.attachments
        if work.prompt.attached and attachments is not None:
            loaded = await anyio.to_thread.run_sync(attachments.load, work.prompt)
            if isinstance(loaded, Failure):
                self._live.add([work])  # which fails it with the reason
                return "live"
            work.prompt = loaded
        site = self._choose()
        work.text = None  # rows wait for long here
        request = site.requests.provider.build_request(work.prompt, stream=False)
        tokens = int(rough_tokens(len(request.body)) * TOKEN_MARGIN)
        first = work.prompt if work.dialogue is None else work.dialogue.first
        group = f"{site.place} {site.api.group(request)}"
        await self._make_room(site, group, len(request.body), tokens)
        file = self._open.get(group) or await self._begin(site, group, request.model)
        line = site.api.line(tools.custom_id(file.files.number, len(file.files.members)), request)
        most = min(site.most_bytes, tools.settings.longest_line(site.api.limits))
        try:
            body = encode_row(StagedRow(work.row, work.key, first, Decimal(0), turns, work.tally.attempts, rounds))
        except (OverflowError, TypeError, UnicodeEncodeError):
            body = b""  # a number that has no place in the file of rows
        if len(line) >= most or not body:
            self._ask_live(work)
            return "live"
        held = self._hold(site, request, work.prompt)
        if held is None:
            return "no budget"
        if held:
            body = encode_row(StagedRow(work.row, work.key, first, held, turns, work.tally.attempts, rounds))
        try:
            file.files.add(line, work.row, body)
        except OSError as error:
            raise self.disk_stop(error) from error
        file.held += held
        file.tokens += tokens
        file.returned += rounds > 0
        self._places.put(work.row, file.files.number)
        if len(file.files.members) >= site.most_rows:
            await self.seal(group)
        return "staged"

    async def add_back(self, work: RowInProgress, *, turns: tuple[Turn, ...] = (), rounds: int = 0) -> None:
        """Take in a row that comes back from a batch; raises as `add` does."""
        if await self.add(work, turns=turns, rounds=rounds) == "no budget":
            self.without_budget.append((work, turns, rounds))

    async def add_waiting(self) -> None:
        """Take in the rows that came back and found no room in the budget, as far as there is room now."""
        while self.without_budget:
            work, turns, rounds = self.without_budget[0]
            if await self.add(work, turns=turns, rounds=rounds) == "no budget":
                return
            self.without_budget.popleft()

    def _ask_live(self, work: RowInProgress) -> None:
        if not self.too_long:
            self._tools.tell("Rows whose request is too long for a line of a batch are asked live, at the full price.")
        self.too_long += 1
        self._live.add([work])

    def _choose(self) -> BatchSite:
        """Return the endpoint that files are made for now: the same until one of them is full."""
        sites = self._tools.sites
        if self._site is None or not (sites.takes(self._site) or self._site.on_trial):
            self._site = sites.choose(self._tools.waiting, self._file_tokens)
        return self._site

    def _hold(self, site: BatchSite, request: Request, prompt: Prompt) -> Decimal | None:
        """Reserve the most that a row can cost; None where the budget has no room for it now."""
        worst = site.reservations.worst_case(request, prompt)
        if isinstance(worst, Unbounded):
            if site.reservations.budget.cap is not None:
                raise BudgetStop(worst.reason)
            return Decimal(0)
        if self._budget.reserve(worst):
            return worst
        self.refused_row = worst, prompt
        return None

    async def _make_room(self, site: BatchSite, group: str, size: int, tokens: int) -> None:
        """Plan a batch of a file that has no room for the next row, or of the fullest one of too many."""
        file = self._open.get(group)
        if file is not None:
            full = file.files.bytes + size + 1_000 > site.most_bytes
            if full or (file.files.members and file.tokens + tokens > site.room.limit(file.model)):
                await self.seal(group)
        elif len(self._open) >= MOST_GROUPS:
            await self.seal(max(self._open, key=lambda name: len(self._open[name].files.members)))

    async def _begin(self, site: BatchSite, group: str, model: str) -> StagingFile:
        try:
            files = StagedFiles(self._tools.directory, self._next)
        except OSError as error:
            raise self.disk_stop(error) from error
        self._next += 1
        file = self._open[group] = StagingFile(files, site, model, self._tools.times.clock())
        return file

    async def seal(self, group: str) -> None:
        """Plan a batch of a file: it and its place in the journal are on disk when this returns."""
        file = self._open.pop(group)
        files, tools = file.files, self._tools
        if not files.members:
            files.discard()
            return
        try:
            sha = await anyio.to_thread.run_sync(files.finish)
        except OSError as error:
            files.discard()
            raise self.disk_stop(error) from error
        record = BatchRecord(
            number=files.number,
            state="planned",
            rows=len(files.members),
            bytes=files.bytes,
            tokens=file.tokens,
            model=file.model,
            mark=tools.table.mark,
            name=f"bg-{tools.table.mark}-{files.number}-{sha}.jsonl",
            sha=sha,
            window=tools.settings.window,
            planned_s=tools.times.clock(),
            endpoint=file.site.identity,
            begun_s=tools.began_s,
            held=file.held,
        )
        await tools.table.add(record, files.members)
        file.site.planned += record.rows
        self._file_tokens = max(self._file_tokens, record.tokens)
        self._site = None

    async def seal_all(self) -> None:
        """Plan batches of all files, full or not."""
        for group in list(self._open):
            await self.seal(group)

    def discard(self) -> None:
        """Leave what is not planned; its rows come again with the next run."""
        for file in self._open.values():
            self._budget.settle(file.held, Decimal(0))
            file.files.discard()
        self._open.clear()

    def disk_stop(self, error: OSError) -> StorageStop:
        """Return the stop for what the disk refuses."""
        return StorageStop(f"Files of batches cannot be written or read in {self._tools.directory} ({error}).")
