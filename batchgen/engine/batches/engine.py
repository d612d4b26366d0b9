"""The engine of the vendor's batch queue: hands rows in as batches, waits for these, and brings the results back.

One loop does one thing at a time: takes rows from the feed until a file is full, brings every batch a step further that
is due, waits. All that lasts is in the journal and in files of the output directory; a run that is started again goes
on with the batches that it finds there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Literal

import anyio
import anyio.abc

from batchgen.engine.batches.collecting import Collecting
from batchgen.engine.batches.deadline import Deadline
from batchgen.engine.batches.handing_in import HandingIn
from batchgen.engine.batches.leaving import CutOffError
from batchgen.engine.batches.live_rows import LiveRows
from batchgen.engine.batches.returning import Returning
from batchgen.engine.batches.showing import endpoint_figures, shown, waits_text, with_live
from batchgen.engine.batches.staging import Staging
from batchgen.engine.batches.tools import RowPlaces, Tools
from batchgen.engine.batches.turning_live import TurningLive
from batchgen.engine.batches.watching import Watching
from batchgen.engine.protocol import Engine, EngineFigures, EngineParts, Outlet, RowFeed
from batchgen.engine.work import RowInProgress
from batchgen.errors import BudgetStop, StoppedError
from batchgen.job.settings import LimitSettings
from batchgen.storage.batch_files import batch_files
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import Result

Mode = Literal["finish", "detach", "cancel"]
"""`detach` ends when everything is handed in; `cancel` ends all batches and collects what they have."""

PLANNED_AHEAD = 2
"""Files on disk that wait to be handed in before the feed waits too."""

GATHER_S = 3600.0
"""How long a file that is not full waits while other batches are open, for rows that come back from these and for the
budget that they leave."""

FEW_ROWS, FEW_SHARE, FEW_MOST = 10, 0.01, 1_000
"""A rest of no more rows than this, or this share of the run's, is asked live: it would take another day."""

SLOW_S = 30.0
"""Where the steps of all batches take longer, the deadline is thought of between them."""

LEAST_WAIT_S = 0.02

_NOTHING = Decimal(0)


class BatchEngine:
    """Brings rows to results by batches; `live` builds the engine for rows that are asked live."""

    def __init__(
        self,
        tools: Tools,
        live: Callable[[EngineParts], Engine],
        deadline: Deadline,
        mode: Mode = "finish",
        *,
        take_over: bool = False,
    ) -> None:
        parts = tools.parts
        self._tools = tools
        self._mode = mode
        self._deadline = deadline
        self._times = tools.times
        self._places = RowPlaces()
        self._found = RowPlaces()  # where rows were when the run began
        self._last_found = -1
        self._earlier: set[int] = set()
        self._live = LiveRows(live, parts, tools.table)
        self._staging = Staging(tools, self._places, self._live)
        self._staging.closed = self._live.refuses = mode == "cancel"
        self._returning = Returning(tools, self._staging, self._live, self._places)
        self._collecting = Collecting(tools, self._staging, self._live, self._places)
        self._handing_in = HandingIn(tools, self._returning)
        self._watching = Watching(tools, self._returning, self._collecting)
        self._turning_live = TurningLive(tools, self._live, self._places, self._watching, deadline)
        self._kept_back: deque[RowInProgress] = deque()
        self._fed_row = -1
        self._rows_seen = 0
        self._drained = self._sealed_at_end = False
        self._halted = False
        self._abort = anyio.CancelScope()
        self._sleeping: anyio.CancelScope | None = None
        self._error: StoppedError | None = None
        self._out_of_reach: StoppedError | None = None
        self._interrupted = self._handed_in = False

    @property
    def most_in_flight(self) -> int:
        """A kill loses nothing, a batch is found again; rows that are asked live are counted once there are any."""
        return 0

    async def run(self, rows: RowFeed, out: Outlet) -> None:
        """Work the rows off; return when there are none left, when all are handed in, or after a stop."""
        self._collecting.out = self._returning.out = out
        self._take_up()
        with self._abort:
            async with AsyncExitStack() as stack:
                for site in self._tools.sites.all:
                    await stack.enter_async_context(site.client)
                side = await stack.enter_async_context(anyio.create_task_group())
                side.start_soon(self._run_live, out)
                try:
                    await self._work(rows, out)
                except CutOffError:
                    pass  # the run was interrupted: the next one finds in the journal what was begun
                except StoppedError as error:
                    self.stop(error)
                except OSError as error:  # those of the network are failures
                    self.stop(self._staging.disk_stop(error))
                finally:
                    self._live.close()
        self._staging.discard()
        if self._interrupted and self._drained and not self._tools.table.unfinished:
            self._watching.say_what_stays()
        if self._out_of_reach is not None:
            self.stop(self._out_of_reach)

    async def _run_live(self, out: Outlet) -> None:
        await self._live.run(out)
        engine = self._live.engine
        if engine is not None and (error := engine.figures().error) is not None:
            self.stop(error)

    def _take_up(self) -> None:
        """Find the batches of earlier runs: their rows, and what is reserved for them."""
        table = self._tools.table
        for record in table.unfinished:
            self._earlier.add(record.number)
            self._tools.parts.budget.hold(record.held * (1 + len(record.earlier_files)))
            for row in table.members(record.number):
                self._found.put(row, record.number)
                self._last_found = max(self._last_found, row)
        for number, path in batch_files(self._tools.directory):
            if number not in self._earlier:
                path.unlink(missing_ok=True)

    # ---- the loop

    async def _work(self, rows: RowFeed, out: Outlet) -> None:
        table = self._tools.table
        while not self._halted:
            await self._feed(rows, out)
            began_s = self._times.clock()
            for record in list(table.records.values()):
                if self._halted:
                    return
                await self._step(table.records[record.number])
                if self._times.clock() > began_s + SLOW_S:
                    await self._look_at_deadline()
            await self._look_at_deadline()
            await self._hand_in_rest()
            self._handed_in = self._mode == "detach" and self._all_handed_in()
            if self._handed_in or self._is_done():
                return
            self._out_of_reach = self._only_out_of_reach()
            if self._out_of_reach is not None:
                return
            await self._pause()

    async def _step(self, record: BatchRecord) -> None:
        """Bring a batch one step further, if it is due."""
        now_s = self._times.clock()
        if record.state == "cleaned":
            return
        if record.state == "collected":
            if self._watching.due_s(record) <= now_s:
                await self._watching.clean(record)
        elif record.state in ("open", "ended"):
            if self._watching.due_s(record) <= now_s and self._is_fed(record):
                if self._mode == "cancel" and record.state == "open" and not record.cancelled:
                    await self._watching.cancel(record)
                elif (
                    await self._watching.look(record) or self._tools.table.records[record.number].phase != record.phase
                ):
                    self._handing_in.room_may_be_there()
        elif self._mode == "cancel" and record.state != "creating":
            await self._returning.whole(record, "cancelled before it was handed in", counts=False)
        elif self._is_fed(record):
            site = self._tools.at(record).site
            if record.state != "creating" and site.out is not None and not site.on_trial:
                await self._returning.whole(record, f"goes to another endpoint: {site.out}", counts=False)
            elif self._handing_in.due_s(record) <= now_s:
                await self._handing_in.advance(record)

    def _is_fed(self, record: BatchRecord) -> bool:
        """Whether the feed has come past the rows of a batch: only then is it known which have a result already."""
        if self._drained or record.number not in self._earlier:
            return True
        return max(self._tools.table.members(record.number), default=-1) <= self._fed_row

    # ---- rows in

    async def _feed(self, rows: RowFeed, out: Outlet) -> None:
        """Take rows until something is to be handed in, or there is no room for more."""
        await self._staging.add_waiting()
        while self._kept_back:
            if not await self._take(self._kept_back[0]):
                break
            self._kept_back.popleft()
        if self._kept_back and self._fed_row >= self._last_found:
            return
        while not self._drained and not self._halted and self._may_feed():
            before = len(self._tools.table.records)
            for item in rows:
                if out.congested:
                    await out.wait_for_room()
                if isinstance(item, Result):
                    self._fed_row = max(self._fed_row, item.row)
                    if not self._waits(item.row):
                        out.emit(item)
                elif not await self._take(item):
                    self._kept_back.append(item)
                    if self._fed_row >= self._last_found:  # else batches of earlier runs wait for their rows
                        return
                if self._halted or len(self._tools.table.records) > before:
                    return
            if not await rows.more():
                self._drained = True

    def _may_feed(self) -> bool:
        if self._fed_row < self._last_found:
            return True
        waiting = sum(record.state in ("planned", "uploading", "uploaded") for record in self._tools.table.unfinished)
        return waiting < PLANNED_AHEAD * max(1, sum(map(self._tools.sites.takes, self._tools.sites.all)))

    async def _take(self, work: RowInProgress) -> bool:
        """Take a row of the feed; False if the budget has no room for it now."""
        self._fed_row = max(self._fed_row, work.row)
        if self._waits(work.row):
            return True
        turns = self._tools.parts.dialogue.resume(work)
        if self._mode == "cancel":
            return True
        self._rows_seen += 1
        return await self._staging.add(work, turns=turns) != "no budget"

    def _waits(self, row: int) -> bool:
        """Whether a batch of an earlier run is to bring a row's answer, even if it could not be asked any more now."""
        number = self._found.of(row)
        if not number or self._tools.table.counted.get(row, 0) >= number:
            return False
        self._places.put(row, number)
        return True

    async def _hand_in_rest(self) -> None:
        """Plan batches of files that are not full, at the end of the feed and when nothing more is to be waited for; or
        have a small rest asked live."""
        staging = self._staging
        if not staging.rows or not (self._drained or self._kept_back):
            return
        open_ones = bool(self._tools.table.unfinished)
        now_s = self._times.clock()
        first = self._drained and not self._sealed_at_end and not staging.all_returned
        gathered = (staging.oldest_s or now_s) + GATHER_S <= now_s or not self._deadline.has_time(
            now_s + GATHER_S, staging.rows, self._watching.longest_s
        )
        if not (first or not open_ones or gathered or self._mode == "detach"):
            return
        self._sealed_at_end = self._drained
        few = min(FEW_MOST, max(FEW_ROWS, int(FEW_SHARE * self._rows_seen)))
        late = not self._deadline.has_time(now_s, staging.rows, self._watching.longest_s)
        small = staging.all_returned and staging.rows <= few and not open_ones
        if late or (small and self._mode != "detach"):
            before = set(self._tools.table.records)
            await staging.seal_all()
            for number in set(self._tools.table.records) - before:
                await self._turning_live.ask(self._tools.table.records[number], "asked live", counts=False)
        else:
            await staging.seal_all()

    async def _look_at_deadline(self) -> None:
        if self._mode != "cancel":
            fed = [record for record in self._tools.table.unfinished if self._is_fed(record)]
            await self._turning_live.look(fed, self._staging.rows)

    # ---- the end

    def _all_handed_in(self) -> bool:
        """Whether nothing could be handed in now: what waits for room in the queue or the budget waits for results."""
        if self._staging.rows or self._live.wanted:
            return False
        if not (self._waits_for_budget() if self._kept_back or self._staging.without_budget else self._drained):
            return False
        unfinished = self._tools.table.unfinished
        return bool(unfinished) and all(
            record.state in ("open", "ended") or self._handing_in.waits_for_room(record) for record in unfinished
        )

    def _waits_for_budget(self) -> bool:
        """Whether the row that was kept back has no room still, after what was collected since."""
        left = self._tools.parts.budget.left
        return left is not None and self._staging.refused_row is not None and self._staging.refused_row[0] > left

    def _is_done(self) -> bool:
        if any(record.state != "cleaned" for record in self._tools.table.records.values()):
            return False
        back = [*self._kept_back, *(work for work, _, _ in self._staging.without_budget)]
        if back and not self._live.wanted:
            worst, prompt = self._staging.refused_row or (_NOTHING, back[0].prompt)
            if self._staging.rows or self._tools.parts.budget.fits_later(worst):
                return False
            raise BudgetStop(self._tools.site.reservations.exhausted(worst, prompt))
        return self._drained and not self._staging.rows and not back

    def _only_out_of_reach(self) -> StoppedError | None:
        """Return why what is left cannot be had now: batches of endpoints that do not show them any more."""
        if not self._drained or self._kept_back or self._staging.without_budget or self._staging.rows:
            return None
        return None if self._live.wanted else self._tools.out_of_reach()

    async def _pause(self) -> None:
        """Wait until something is due."""
        now_s = self._times.clock()
        due = [self._next_s(record) for record in self._tools.table.records.values() if record.state != "cleaned"]
        rows = sum(record.rows for record in self._tools.table.unfinished)
        due += [at for at in (self._deadline.cancel_s(rows), self._deadline.last_call_s(rows)) if at and at > now_s]
        wait_s = max(LEAST_WAIT_S, min(due, default=now_s) - now_s)
        if (not self._kept_back and not self._drained and self._may_feed()) or not due:
            wait_s = 0.0
        with anyio.CancelScope() as self._sleeping:
            if not self._halted:
                await self._times.sleep(wait_s)
        self._sleeping = None

    def _next_s(self, record: BatchRecord) -> float:
        at_vendor = record.state in ("open", "ended", "collected")
        return self._watching.due_s(record) if at_vendor else self._handing_in.due_s(record)

    # ---- from outside

    def stop(self, reason: StoppedError) -> None:
        """Hand nothing more in; batches stay open for the next run."""
        if self._error is None and not self._interrupted:
            self._error = reason
        self._halt()
        if self._live.engine is not None:
            self._live.engine.stop(reason)

    def interrupt(self) -> None:
        """Leave the batches open; rows in flight live may finish, other calls soon (`leaving`). A second call cancels
        all."""
        if self._interrupted:
            self._abort.cancel()
            return
        self._interrupted = True
        self._tools.leaving.begin()
        self._halt()
        if self._live.engine is not None:
            self._live.engine.interrupt()

    def _halt(self) -> None:
        self._halted = True
        self._live.close()
        if self._sleeping is not None:
            self._sleeping.cancel()

    def change(self, limits: LimitSettings) -> None:
        """Go on with other limits; only rows that are asked live have any."""
        if self._live.engine is not None:
            self._live.engine.change(limits)

    def figures(self) -> EngineFigures:
        """Return what there is to say now."""
        live = None if self._live.engine is None else self._live.engine.figures()
        requests = self._tools.parts.requests
        records, sites = list(self._tools.table.records.values()), self._tools.sites
        trouble = self._handing_in.trouble or self._watching.trouble
        masked = self._masked(None if trouble is None else trouble.message)
        figures = EngineFigures(
            refused=sum(site.refusals for site in sites.all),
            limited_by=None,
            possibly_billed=self._tools.parts.budget.possibly_billed,
            error=self._error,
            interrupted=self._interrupted,
            trouble=masked,
            waits_for=waits_text(
                records, self._times.clock(), min(map(self._next_s, self._tools.table.unfinished), default=None)
            ),
            batches=tuple(shown(record, sites) for record in records),
            handed_in=self._handed_in,
            asked_live=self._live.asked_live(self._staging.too_long),
            left_out=self._masked(sites.left_out),
            endpoints=endpoint_figures(sites, requests.sites, () if live is None else live.endpoints, self._masked),
        )
        return figures if live is None else with_live(figures, live)

    def _masked(self, text: str | None) -> str | None:
        return None if text is None else self._tools.parts.results.masker.message(text)
