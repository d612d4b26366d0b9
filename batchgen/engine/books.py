"""Counts and costs of a run: read from the journal when it begins, updated while it goes, summed up at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from batchgen.engine.endpoints import unused_figures
from batchgen.engine.protocol import EngineFigures
from batchgen.engine.reporter import Progress, RecentRate
from batchgen.engine.summary import Summary
from batchgen.errors import StoppedError, StorageStop
from batchgen.job.parts import JobParts
from batchgen.job.reuse import Reuse
from batchgen.money.budget import Budget
from batchgen.money.ledger import Sums
from batchgen.money.worst_case import Unbounded, WorstCase
from batchgen.providers.finish_reasons import OUR_WORDS
from batchgen.storage.batch_table import BatchShown
from batchgen.storage.killed_runs import Experience, possibly_billed, unclean_since
from batchgen.storage.result_schema import PriceLabel
from batchgen.storage.retries import settled_sums
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import Refreshed, SavedSummary
from batchgen.text.figures import money, quantity
from batchgen.values import Result, Status, Turn


class Books:
    """The counts and sums of a run in `directory`. `rows` is the size of the job.

    `begun` has the turns of rows that earlier runs left in the middle of a structured answer, by row.
    """

    def __init__(self, parts: JobParts, rows: int, directory: RunDirectory) -> None:
        self._parts = parts
        self.reuse: Reuse | None = None
        self.refreshed: Refreshed | None = None
        self._directory = directory
        self._started_s = time.monotonic()
        journal = directory.journal
        sums, waiting = settled_sums(journal)
        settled, everything = sums.totals(), sums.totals()
        everything.add(waiting)
        self.begun: dict[int, tuple[Turn, ...]] = {}
        for unfinished in journal.spent():
            everything.add(unfinished)
            if unfinished.turns:
                self.begun[unfinished.row] = unfinished.turns
        self._killed = [session for session in journal.sessions() if not session.clean]
        self.session = directory.state.sessions + 1 if directory.state is not None else 1
        before = directory.state.summary if directory.state is not None else SavedSummary()
        cap = parts.job.limits.budget
        self.notes: list[str] = []
        self._budget_before = before.budget
        if cap is None and before.budget is not None:
            cap = before.budget
            self.notes.append(f"The budget of {money(cap, parts.currency or '')} holds on; --budget gives another.")
        self._dearest = before.dearest
        self._saved_before = before.saved
        self._most_out = 0
        self._batches: tuple[BatchShown, ...] = ()
        self._endpoints: list[dict[str, Any]] = []
        spent = everything.cost or Decimal(0)
        lost = before.possibly_billed
        if fresh := unclean_since(before, self._killed):
            lost = possibly_billed(before, fresh, self._experience(rows - settled.rows, settled.rows, spent, before))
            requests, cost = lost.requests - before.possibly_billed.requests, lost.cost - before.possibly_billed.cost
            self.notes.append(
                f"An earlier run was killed: {quantity(requests, 'request')} may have been charged without an answer, "
                f"up to {money(cost, parts.currency or '')}."
            )
        self.budget = Budget(cap, spent, lost, before.unreported)
        self.max_failed = parts.job.limits.max_failed
        self._settled_before = settled.rows
        self._recent = RecentRate(settled.rows - settled.reused, self._started_s)
        self._failures = Counter[str]()
        for group, totals in sums:
            if group.status is Status.FAILED:
                self._failures[str(group.error_kind)] += totals.rows
        self.progress = Progress(
            rows=rows,
            settled=settled.rows,
            kept=settled.rows,
            failed=sums.rows(Status.FAILED),
            reused=settled.reused,
            spent=(settled.cost or Decimal(0)) if parts.currency is not None else None,
            budget=cap,
            currency=parts.currency or "",
        )

    @property
    def worked(self) -> bool:
        """Whether an earlier run of the job had answers."""
        return self.progress.settled > self.progress.failed

    def committed(self, results: Sequence[Result]) -> None:
        """Count results that are durable now."""
        progress, succeeded = self.progress, Status.SUCCEEDED
        progress.settled += len(results)
        asked = [result for result in results if not result.reused]
        progress.reused += len(results) - len(asked)
        progress.input_tokens += sum([result.input_tokens or 0 for result in asked])
        progress.cached_tokens += sum([result.cached_tokens or 0 for result in asked])
        for result in results:
            if result.status is not succeeded:
                progress.failed += 1
                self._failures[str(result.error_kind)] += 1
        costs = [cost for result in results if (cost := result.cost) is not None]
        if costs and progress.spent is not None:
            progress.spent = sum(costs, progress.spent)
            self._dearest = max(self._dearest, *costs)

    def _experience(self, pending: int, rows: int, spent: Decimal, before: SavedSummary) -> Experience:
        """Return what is known of the costs of rows; looks through the journal's once, after a kill."""
        for result in self._directory.journal.unpublished():
            if result.input_cost is not None and result.output_cost is not None:
                self._dearest = max(self._dearest, result.input_cost + result.output_cost)
        parts = self._parts
        worst = WorstCase(parts.price_of, parts.model, parts.job.model.parameters).of_job()
        return Experience(
            pending=pending,
            rows=rows if self._dearest else 0,
            dearest=self._dearest,
            worst=None if isinstance(worst, Unbounded) else worst,
            left=None
            if before.budget is None
            else max(Decimal(0), before.budget - spent - before.possibly_billed.cost - before.unreported),
        )

    def too_many_failed(self) -> str | None:
        """Return why the run should stop by `limits.max_failed`, None if it should not.

        A share is one of the rows that have a result; where few have, of 100 rows or of all, whichever is less.
        """
        most, progress = self.max_failed, self.progress
        if most is None or not progress.failed:
            return None
        among = 1.0 if most >= 1 else max(progress.settled, min(100, progress.rows))
        if progress.failed < most * among:
            return None
        return (
            f"{progress.failed:,} of {progress.settled:,} rows failed, and limits.max_failed is {most:g}: raise it to "
            "go on; --retry-failed tries the failed rows again."
        )

    def change_budget(self, cap: Decimal | None) -> None:
        """Put another budget in force from now on."""
        self.budget.change_cap(cap)
        self.progress.budget = cap

    def kept_aside(self, *, pilot: bool = False) -> dict[str, Any]:
        """Return what the next run needs to know of this one: its budget, and what counts if it is killed.

        A budget that a `pilot` was given is the pilot's own.
        """
        counted = max((session.number for session in self._killed), default=0)
        return {
            "killed_counted": counted,
            "most_out": self._most_out,
            "dearest": self._dearest,
            "budget": self._budget_before if pilot else self.budget.cap,
            "unreported": self.budget.unreported,
            "failures": dict(self._failures),
        }

    def heard(self, figures: EngineFigures) -> None:
        """Take over what the engine says of itself."""
        progress = self.progress
        progress.refused, progress.retried, progress.trouble = figures.refused, figures.retried, figures.trouble
        progress.waits_for, progress.limited_by = figures.waits_for, figures.limited_by
        progress.in_flight, progress.left_out = figures.in_flight, figures.left_out
        self._batches = figures.batches
        if figures.endpoints:
            self._endpoints = self._known_endpoints(figures.endpoints)
        self._most_out = max(self._most_out, figures.in_flight)

    def _known_endpoints(self, figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the figures of the endpoints with what prices and bills go by, and after them those that an earlier
        session had besides."""
        found = []
        own = self._parts.job.model.endpoints
        for site, settings, one in zip(self._parts.sites, own, figures, strict=True):
            told = {
                "model": site.model,
                "api_key_env": site.job.model.api_key_env or "",
                "region": site.price_of.region,
                "lane": settings.lane or "",
                "provider": settings.provider or "",
            }
            found.append({**one, **told})
        names = {one["endpoint"] for one in found}
        before = self._directory.state.summary.endpoints if self._directory.state is not None else ()
        return found + [
            {
                **unused_figures(one.endpoint),
                **{name: getattr(one, name) for name in ("model", "api_key_env", "region", "lane", "provider")},
            }
            for one in before
            if one.endpoint not in names
        ]

    def ended(self, figures: EngineFigures, error: StoppedError | None) -> None:
        """Take over how the run has ended, for the last progress."""
        self.heard(figures)
        self.progress.waits_for = None
        error = error or figures.error
        if error is not None or figures.interrupted:
            self.progress.stopped = str(error or "interrupted")
        self.progress.handed_in = figures.handed_in

    def state(self) -> dict[str, Any]:
        """Return what `run.json` says while the run goes on."""
        progress = self.progress
        return {
            "rows": progress.rows,
            "succeeded": progress.succeeded,
            "failed": progress.failed,
            "pending": progress.pending,
            "refused": progress.refused,
            "reused": progress.reused,
            "saved": self._saved(),
            "cost": progress.spent,
            "currency": self._parts.currency,
            "wall_s": self._wall_s(),
            "possibly_billed": self.budget.possibly_billed,
            "simulated": self._parts.endpoint.simulated,
            "last_error": progress.trouble,
            "limited_by": progress.limited_by,
            "waits_for": progress.waits_for,
            "in_flight": progress.in_flight,
            "batches": self._batches,
            "endpoints": self._endpoints,
            "rows_per_s": self._recent.rows_per_s(time.monotonic(), progress.asked),
            **self.kept_aside(),
        }

    def summary(self, figures: EngineFigures, error: StoppedError | None, *, pilot: bool) -> Summary:
        """Sum up what is stored. A `pilot` is never complete: it publishes nothing."""
        journal = self._directory.journal
        sums, waiting = settled_sums(journal)
        totals = sums.totals()
        settled = totals.rows
        totals.add(waiting)
        for unfinished in journal.spent():
            totals.add(unfinished)
        pending = self.progress.rows - settled
        published = all(record.sealed for record in journal.shards())
        if pending == 0 and published and not pilot and not isinstance(error, StorageStop):
            state, error = "complete", None
        elif error is None and figures.interrupted:
            state = "interrupted"
        elif error is None and figures.handed_in:
            state = "handed in"
        else:
            state = "stopped"
        return Summary(
            state=state,
            rows=self.progress.rows,
            succeeded=sums.rows(Status.SUCCEEDED),
            failed=sums.rows(Status.FAILED),
            pending=pending,
            attempts=totals.attempts,
            refused=figures.refused,
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
            total_tokens=totals.total_tokens,
            cached_tokens=totals.cached_tokens,
            cached_saved=self._cached_saved(totals.cached_tokens),
            cost=totals.cost,
            currency=self._parts.currency,
            possibly_billed=figures.possibly_billed,
            wall_s=self._wall_s(),
            rows_per_s=self._rows_per_s(settled),
            limited_by=figures.limited_by,
            output=str(self._directory.path),
            shared=totals.shared,
            reused=totals.reused,
            saved=self._saved(),
            refreshed=self.refreshed,
            simulated=self._parts.endpoint.simulated,
            unknown_finish_reasons=_unknown_ends(sums),
            cut=sum(totals.rows for group, totals in sums if group.finish_reason == "length"),
            endpoints=_by_endpoint(sums, self._known_endpoints(figures.endpoints)),
            batches=figures.batches,
            asked_live=figures.asked_live,
            error=error_text(error),
        )

    def unread_summary(self, figures: EngineFigures, error: StoppedError) -> Summary:
        """Return what is known of a run whose journal is out of reach: the counts of what was committed."""
        progress = self.progress
        return Summary(
            state="stopped",
            rows=progress.rows,
            succeeded=progress.succeeded,
            failed=progress.failed,
            pending=progress.pending,
            attempts=0,
            refused=figures.refused,
            input_tokens=None,
            output_tokens=None,
            total_tokens=None,
            cost=progress.spent,
            currency=self._parts.currency,
            possibly_billed=figures.possibly_billed,
            wall_s=self._wall_s(),
            rows_per_s=self._rows_per_s(progress.settled),
            limited_by=None,
            output=str(self._directory.path),
            simulated=self._parts.endpoint.simulated,
            error=error_text(error),
        )

    def _cached_saved(self, tokens: int | None) -> Decimal | None:
        """Return about what cached input tokens would have cost more, at the price of short requests."""
        price = self._parts.price_of(self._parts.model) if self._parts.model else None
        if price is None or not tokens:
            return None
        tier = price.tier(0)
        return max(Decimal(0), tier.input - tier.cached_input) * tokens / 1_000_000

    def _saved(self) -> Decimal | None:
        """Return what reused answers would have cost, in all sessions of the run; None if none was reused."""
        now = None if self.reuse is None else self.reuse.saved
        return now if self._saved_before is None else self._saved_before + (now or Decimal(0))

    def label(self, model: str | None) -> PriceLabel:
        """Return where the price of an answering model comes from."""
        price = self._parts.price_of(self._parts.model or model or "")
        return PriceLabel(price.currency, price.price_date, price.price_source) if price else PriceLabel()

    def _wall_s(self) -> float:
        return round(time.monotonic() - self._started_s, 3)

    def _rows_per_s(self, settled: int) -> float:
        return round((settled - self._settled_before) / (time.monotonic() - self._started_s), 3)


def _by_endpoint(sums: Sums, figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what each of several endpoints has done in this run, with the rows and the cost of all runs so far."""
    found = []
    for one in figures:
        groups = [totals for group, totals in sums if group.endpoint == one["endpoint"]]
        costs = [totals.cost for totals in groups if totals.cost is not None]
        found.append(
            {**one, "rows": sum(totals.rows for totals in groups), "cost": sum(costs, Decimal(0)) if costs else None}
        )
    return found


def _unknown_ends(sums: Sums) -> dict[str, int]:
    """Return the vendors' own words for the end of answers, with their rows, the commonest first."""
    found: dict[str, int] = {}
    for group, totals in sums:
        if group.status is Status.SUCCEEDED and group.finish_reason not in (None, *OUR_WORDS):
            found[str(group.finish_reason)] = found.get(str(group.finish_reason), 0) + totals.rows
    return dict(sorted(found.items(), key=lambda item: -item[1])[:20])


def error_text(error: StoppedError | None) -> dict[str, str] | None:
    """Return what a summary says of the error that stopped a run."""
    return None if error is None else {"kind": type(error).__name__, "message": str(error), "remedy": error.remedy}
