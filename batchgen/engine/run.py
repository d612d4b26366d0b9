"""The whole corridor on one page: source → pending rows → runner → journal → parts → summary."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pyarrow as pa

from batchgen.engine.attempt import Completer
from batchgen.engine.control import Control
from batchgen.engine.deduplication import Repeats, Sharing, find_repeats
from batchgen.engine.provider_health import Watch
from batchgen.engine.reporter import Progress, Reporter
from batchgen.engine.row_feed import Feed
from batchgen.engine.structured_turns import StructuredCompleter
from batchgen.engine.summary import Summary
from batchgen.engine.work import RowInProgress
from batchgen.engine.workers import Outlet, Runner
from batchgen.errors import StoppedError, StorageStop
from batchgen.job.parts import JobParts, check_budget
from batchgen.job.settings import LimitSettings
from batchgen.money.budget import Budget
from batchgen.money.ledger import Charges
from batchgen.money.reservation import Reservations
from batchgen.pace.limiter import Limiter
from batchgen.pace.pacer import Pacer
from batchgen.pace.retry import AttemptCounts, RetryPolicy
from batchgen.pace.values import Limits
from batchgen.source import Scan
from batchgen.storage.killed_runs import possibly_billed
from batchgen.storage.pace_file import PaceRecord
from batchgen.storage.result_schema import PriceLabel
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shards import SHARD_ROWS, cut, first_needed_row
from batchgen.storage.writer import Writer
from batchgen.transport.protocol import OpenTransport, Transport
from batchgen.values import Prompt, Result, Status, Turn

OPEN_SHARDS = 2
"""Shards that may be unfinished at a time: one being worked off, one waiting for its slowest rows. Each is 20 MB."""

STATE_EVERY_S = 2.0
"""How often a running process rewrites `run.json`, which is what `status` shows."""


class Execution:
    """One execution of a job in a locked output directory."""

    def __init__(
        self,
        parts: JobParts,
        scan: Scan,
        directory: RunDirectory,
        transport: OpenTransport,
        reporter: Reporter,
        *,
        only: AbstractSet[int] | None,
    ) -> None:
        self._parts = parts
        self._scan = scan
        self._directory = directory
        self._transport = transport
        self._reporter = reporter
        self._only = only
        self._limits = parts.job.limits
        self._limiter = Limiter(Pacer(self._pace_limits(), random.Random(), time.monotonic()))
        self._started_s = time.monotonic()
        session = directory.state.sessions + 1 if directory.state is not None else 1
        self._pace = PaceRecord(session, self._started_s, time.time_ns() // 1_000)
        sums = directory.journal.sums()
        self._before = sums.totals()
        everything = sums.totals()
        self._begun: dict[int, tuple[Turn, ...]] = {}
        for unfinished in directory.journal.spent():
            everything.add(unfinished)
            if unfinished.turns:
                self._begun[unfinished.row] = unfinished.turns
        spent = everything.cost or Decimal(0)
        self._sessions = [session for session in directory.journal.sessions() if not session.clean]
        before = directory.state.summary if directory.state is not None else {}
        self._budget = Budget(self._limits.budget, spent, possibly_billed(before, self._sessions, everything))
        self._sharing: Sharing | None = None
        self._standing = Progress(
            rows=scan.rows,
            settled=self._before.rows,
            failed=sums.rows(Status.FAILED),
            spent=(self._before.cost or Decimal(0)) if parts.currency is not None else None,
            budget=self._limits.budget,
            currency=parts.currency or "",
        )

    async def go(self, control: Control) -> Summary:
        """Work until the end, an interruption or a stop; leave the directory in a state that says which."""
        parts = self._parts
        error: StoppedError | None = None
        try:
            async with AsyncExitStack() as stack:
                repeats = await anyio.to_thread.run_sync(self._find_repeats)
                if repeats is not None:
                    stack.callback(repeats.store.close)
                transport = await stack.enter_async_context(self._transport)
                self._completer = self._completer_over(transport)
                self._writer = await stack.enter_async_context(
                    Writer(
                        self._directory,
                        parts.layout,
                        concurrency=transport.concurrency,
                        on_commit=self._committed,
                        publish=self._only is None,
                    )
                )
                known = self._directory.journal.shards()
                self._sharing = Sharing(repeats, self._writer) if repeats is not None else None
                problems: dict[int, str] = {}
                feed = stack.enter_context(
                    Feed(
                        cut(self._batches(first_needed_row(known), problems), known=known),
                        problems,
                        parts.template,
                        self._writer,
                        carried=self._kept_columns(),
                        open_shards=OPEN_SHARDS + 2 * transport.concurrency // SHARD_ROWS,
                        failed=lambda row, failure: self._completer.result(
                            RowInProgress(row, Prompt(), AttemptCounts()), failure
                        ),
                        sharing=self._sharing,
                        only=self._only,
                    )
                )
                outlet: Outlet = self._writer if self._sharing is None else self._sharing
                self.runner = Runner(self._completer, self._limiter, feed, outlet, self._leave)
                self._reporter.started(self._standing)
                control.attach(self)
                async with anyio.create_task_group() as side:
                    side.start_soon(self._watch_storage)
                    side.start_soon(self._save_state)
                    side.start_soon(self._record_pace)
                    await self.runner.run(transport.concurrency)
                    side.cancel_scope.cancel()
        except StoppedError as stopped:
            error = stopped
        self._reporter.finished(self._standing)
        return await anyio.to_thread.run_sync(self._conclude, error or self.runner.error)

    def _find_repeats(self) -> Repeats | None:
        parts, directory = self._parts, self._directory
        if not parts.dedupe:
            return None
        return find_repeats(parts, self._scan.rows, directory.journal, directory.shared_path)

    def _completer_over(self, transport: Transport) -> Completer:
        parts = self._parts
        build: Callable[..., Completer] = Completer
        if parts.answers is not None:
            build = partial(StructuredCompleter, parts.answers, keep=self._keep_turn, begun=self._begun)
        return build(
            provider=parts.provider,
            model=parts.model,
            transport=transport,
            limiter=self._limiter,
            retry=RetryPolicy(parts.job.retry, random.Random()),
            reserve=Reservations(
                self._budget,
                price_of=parts.price_of,
                model=parts.model,
                parameters=parts.job.model.parameters,
                currency=parts.currency or "",
            ),
            watch=Watch(parts.endpoint.host, worked=self._before.rows > self._standing.failed),
            price_of=parts.price_of,
            stream=parts.job.model.stream,
            key=parts.endpoint.key,
            note=self._reporter.note,
        )

    def _kept_columns(self) -> list[str]:
        """The input columns that parts are made of: the carried ones, and the id for `row_id`."""
        layout = self._parts.layout
        return [name for name in self._parts.source.columns if name in layout.carried.names or name == layout.id]

    def _batches(self, start_row: int, problems: dict[int, str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        parts = self._parts
        kept = self._kept_columns()
        columns = [name for name in parts.source.columns if name in kept or name in parts.template.columns]
        if not self._scan.rows:  # one empty part, so that readers of the results find the columns
            yield 0, pa.RecordBatch.from_pylist([], schema=pa.schema([parts.source.schema.field(c) for c in columns]))
        for batch in parts.source.batches(start_row, columns):
            problems.update(batch.problems)
            yield batch.first_row, batch.table

    def _pace_limits(self) -> Limits:
        limits = self._limits
        return Limits(
            concurrency=min(limits.concurrency, self._transport.concurrency),
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            timeout_s=limits.timeout_s,
        )

    def interrupt(self) -> None:
        """Stop sending and let what is in flight finish; a second call cancels it."""
        self.runner.interrupt()

    def change_limits(self, limits: LimitSettings) -> None:
        """Go on with other limits from now on. Raises `JobError` for a budget that could not be kept."""
        if limits.budget is not None and self._parts.model:
            check_budget(self._parts.job, self._parts.price_of(self._parts.model))
        if limits.concurrency > self._transport.concurrency:
            self._reporter.note(f"limits.concurrency is {self._transport.concurrency} at most until the next start.")
        self._limits = limits
        self._limiter.pacer.change(self._pace_limits())
        self._limiter.changed()
        self._budget.change_cap(limits.budget)
        self._standing.budget = limits.budget
        self.runner.widen(min(limits.concurrency, self._transport.concurrency))

    def _committed(self, results: Sequence[Result]) -> None:
        if self._sharing is not None:
            self._sharing.committed(results)
        standing = self._standing
        standing.settled += len(results)
        for result in results:
            if result.status is Status.FAILED:
                standing.failed += 1
            if result.input_cost is not None and result.output_cost is not None and standing.spent is not None:
                standing.spent += result.input_cost + result.output_cost
        standing.refused = self._completer.refused
        self._reporter.moved(standing)

    def _leave(self, work: RowInProgress) -> None:
        """Put on record what a row has used up that stays pending."""
        if work.tally.requests:
            billed = work.billed or Charges(work.row, 0)
            self._writer.spend(msgspec.structs.replace(billed, attempts=work.tally.requests))

    def _keep_turn(self, spent: Charges) -> None:
        self._writer.spend(spent)

    async def _watch_storage(self) -> None:
        try:
            await self._writer.watch()
        except StoppedError as error:
            self.runner.stop(error)

    async def _save_state(self) -> None:
        while True:
            try:
                await anyio.to_thread.run_sync(self._directory.save, "running", msgspec.to_builtins(self._progress()))
            except StorageStop as error:
                # A disk that refuses this refuses the journal too, and that is what decides. But in a directory that
                # is gone SQLite writes on, into files that nobody finds again.
                if not self._directory.in_place:
                    self.runner.stop(error)
            await anyio.sleep(STATE_EVERY_S)

    async def _record_pace(self) -> None:
        while True:
            now_s = time.monotonic()
            self._pace.add(self._limiter.pacer.snapshot(now_s))
            await anyio.sleep(self._pace.interval_s(now_s))

    def _kept_aside(self) -> dict[str, Any]:
        """What the next run needs to know of this one if it is killed: see `killed_runs.possibly_billed`."""
        counted = max((session.number for session in self._sessions), default=0)
        return {"killed_counted": counted, "most_held": self._budget.most_held}

    def _progress(self) -> dict[str, Any]:
        standing = self._standing
        return {
            "rows": standing.rows,
            "succeeded": standing.settled - standing.failed,
            "failed": standing.failed,
            "pending": standing.rows - standing.settled,
            "refused": standing.refused,
            "cost": standing.spent,
            "currency": self._parts.currency,
            "wall_s": round(time.monotonic() - self._started_s, 3),
            "possibly_billed": self._budget.possibly_billed,
            **self._kept_aside(),
        }

    def _conclude(self, error: StoppedError | None) -> Summary:
        """Write the cost summary and `run.json`, and say how the run ended; a disk that refuses these stops it."""
        self._pace.add(self._limiter.pacer.snapshot(time.monotonic()))
        try:
            summary = self._summary(error)
        except (sqlite3.Error, OSError) as unreadable:
            return self._summary_unread(error or StorageStop(f"The journal cannot be read any more: {unreadable}."))
        try:
            self._pace.save(self._directory.path)
            kept = msgspec.to_builtins({**msgspec.structs.asdict(summary), **self._kept_aside()})
            self._directory.finish(kept, self._label, summary.state)
        except StorageStop as refused:
            summary = msgspec.structs.replace(summary, state="stopped", error=summary.error or _told(refused))
        return summary

    def _summary_unread(self, error: StoppedError) -> Summary:
        """What is known of a run whose journal is out of reach: the counts of what was committed."""
        standing = self._standing
        wall_s = time.monotonic() - self._started_s
        return Summary(
            state="stopped",
            rows=standing.rows,
            succeeded=standing.settled - standing.failed,
            failed=standing.failed,
            pending=standing.rows - standing.settled,
            attempts=0,
            refused=standing.refused,
            input_tokens=None,
            output_tokens=None,
            total_tokens=None,
            cost=standing.spent,
            currency=self._parts.currency,
            possibly_billed=self._budget.possibly_billed,
            wall_s=round(wall_s, 3),
            rows_per_s=round((standing.settled - self._before.rows) / wall_s, 3),
            limited_by=None,
            output=str(self._directory.path),
            error=_told(error),
        )

    def _summary(self, error: StoppedError | None) -> Summary:
        """Sum up what is stored."""
        journal = self._directory.journal
        sums = journal.sums()
        totals = sums.totals()
        settled = totals.rows
        unfinished = journal.spent()
        for spent in unfinished:
            totals.add(spent)
        wall_s = time.monotonic() - self._started_s
        pending = self._scan.rows - settled
        published = all(record.sealed for record in journal.shards())
        if pending == 0 and published and self._only is None and not isinstance(error, StorageStop):
            state = "complete"
        elif error is None and self.runner.interrupted:
            state = "interrupted"
        else:
            state = "stopped"
        return Summary(
            state=state,
            rows=self._scan.rows,
            succeeded=sums.rows(Status.SUCCEEDED),
            failed=sums.rows(Status.FAILED),
            pending=pending,
            attempts=totals.attempts,
            refused=self._completer.refused,
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
            total_tokens=totals.total_tokens,
            cost=totals.cost,
            currency=self._parts.currency,
            possibly_billed=self._budget.possibly_billed,
            wall_s=round(wall_s, 3),
            rows_per_s=round((settled - self._before.rows) / wall_s, 3),
            limited_by=self._limiter.pacer.limited_by(),
            output=str(self._directory.path),
            shared=totals.shared,
            error=None
            if error is None or state == "complete"
            else {"kind": type(error).__name__, "message": str(error)},
        )

    def _label(self, model: str | None) -> PriceLabel:
        price = self._parts.price_of(self._parts.model or model or "")
        return PriceLabel(price.currency, price.price_date, price.price_source) if price else PriceLabel()


def _told(error: StoppedError) -> dict[str, str]:
    return {"kind": type(error).__name__, "message": str(error)}
