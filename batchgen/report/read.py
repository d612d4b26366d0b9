"""An output directory → `Report`. Only reads; works on finished, stopped, killed and running runs alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.estimating.values import read_estimate
from batchgen.files.arrow import arrow_file
from batchgen.files.disk_errors import unreadable
from batchgen.report.accumulate import Fold, added, part_batches
from batchgen.report.new_prices import NewPrices
from batchgen.report.pace import pace_moments
from batchgen.report.samples import first_answer
from batchgen.report.values import Count, Line, Report
from batchgen.results.committed import Committed
from batchgen.storage.own_files import COST_SUMMARY_FILE, PACE_FILE
from batchgen.storage.run_state import SavedSummary, read_state
from batchgen.text.figures import plain

RUNNING, KILLED = "running", "killed"


class CostSummary(Struct, frozen=True):
    """`cost_summary.parquet`: its lines, and where the prices are from."""

    lines: Sequence[Line]
    currencies: Sequence[str]
    price_dates: Sequence[str]
    price_sources: Sequence[str]


def read_report(
    directory: Path | str,
    *,
    prices: Path | None = None,
    changed: Mapping[str, Any] | None = None,
) -> Report:
    """Return what happened in the run of an output directory.

    `prices`, a file of prices over the shipped ones, and `changed`, keys of `[pricing]`, have every published row
    priced anew. Raises `OutputError` where there is no run or a part is damaged.
    """
    path = Path(directory)
    state, held_by = read_state(path)
    told = state.summary
    fold = Fold()
    priced_anew = prices is not None or changed
    anew = NewPrices(prices, state, changed) if priced_anew else None
    committed = Committed(path)
    for batch in part_batches(committed.parts):
        fold.add(batch if anew is None else anew.priced(batch))
    summary = read_cost_summary(path / COST_SUMMARY_FILE)
    at_rest = state.state != RUNNING
    lines, lines_of = fold.lines(), "parts"
    if anew is None and at_rest and summary is not None and sum(line.rows for line in summary.lines) >= fold.rows:
        lines, lines_of = list(summary.lines), "all finished rows"
    lines.sort(key=lambda line: (-line.rows, line.status, str(line.model), str(line.error_kind)))
    totals = _totals(lines)
    moments = fold.timeline.moments([_seconds(times) for times in state.session_times])
    counted = sum(moment.rows for moment in moments)
    active_s = sum(moment.span_s for moment in moments)
    return Report(
        directory=str(directory),
        job=state.job,
        state=state.state if at_rest else RUNNING if held_by else KILLED,
        simulated=state.simulated,
        held_by=held_by,
        started_at=state.started_at,
        updated_at=state.updated_at,
        sessions=state.sessions,
        rows=told.rows,
        succeeded=told.succeeded,
        failed=told.failed,
        pending=told.pending,
        published=fold.rows,
        lines_of=lines_of,
        lines=lines,
        totals=totals,
        by_status=counts(lines, lambda line: line.status),
        by_finish_reason=counts(lines, lambda line: line.finish_reason),
        by_error_kind=counts((line for line in lines if line.status == "failed"), lambda line: line.error_kind),
        errors=fold.errors(),
        attempts=fold.attempts(),
        refused=told.refused,
        possibly_billed_requests=told.possibly_billed.requests,
        possibly_billed_cost=told.possibly_billed.cost,
        currency=anew.currency if anew is not None else _currency(told, summary),
        price_dates=anew.dates if anew is not None else summary.price_dates if summary else (),
        price_sources=anew.sources if anew is not None else summary.price_sources if summary else (),
        cost_per_1000_rows=_per_1000(totals, totals.rows if totals else 0),
        cost_per_1000_answers=_per_1000(totals, _rows(lines, "succeeded")),
        input_tokens=fold.input_tokens.spread(),
        output_tokens=fold.output_tokens.spread(),
        latency_ms=fold.latency_ms.spread(),
        cost=fold.cost.spread(),
        price=state.price if anew is None else None,
        batches=state.summary.batches,
        samples=first_answer(committed.parts, without=_gold(state.evaluate)),
        slowest=fold.slowest,
        most_expensive=fold.most_expensive,
        truncated=fold.truncated,
        moments=moments,
        active_s=active_s,
        rows_per_s=counted / active_s if active_s else None,
        wall_s=told.wall_s or None,
        limited_by=told.limited_by,
        stopped_by=(told.error or {}).get("message"),
        last_error=told.last_error,
        pace=pace_moments(path / PACE_FILE),
        estimate=read_estimate(state.estimate),
        settings=state.settings,
        versions=state.versions,
        cached_saved=told.cached_saved,
        reused=told.reused,
        saved=told.saved,
    )


def counts(lines: Iterable[Line], word: Callable[[Line], str | None]) -> list[Count]:
    """Return the rows by a word of their line, most first; lines without it come last."""
    found: dict[str | None, int] = {}
    for line in lines:
        found[word(line)] = found.get(word(line), 0) + line.rows
    return [Count(*pair) for pair in sorted(found.items(), key=lambda pair: (pair[0] is None, -pair[1], str(pair[0])))]


def read_cost_summary(path: Path) -> CostSummary | None:
    """Return the cost summary of a run; None if there is none yet. Raises `OutputError` for a damaged one."""
    try:
        with pq.ParquetFile(arrow_file(path)) as file:
            rows = file.read().to_pylist()
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError) as error:
        raise OutputError(unreadable(path, error, "The next run in this directory rewrites it.")) from None

    def words(name: str) -> list[str]:
        return sorted({str(row[name]) for row in rows if row[name] is not None})

    return CostSummary(
        lines=[Line(**{name: row.get(name) for name in Line.__struct_fields__}) for row in rows],
        currencies=words("currency"),
        price_dates=words("price_date"),
        price_sources=words("price_source"),
    )


def _gold(evaluate: Mapping[str, Any] | None) -> list[str]:
    """Return the columns with the right answers: they are not what was asked."""
    gold = (evaluate or {}).get("gold")
    return [gold] if isinstance(gold, str) else list(gold.values()) if isinstance(gold, Mapping) else []


def _seconds(times: tuple[str, str]) -> tuple[float, float]:
    began, ended = (datetime.fromisoformat(time).timestamp() for time in times)
    return began, ended


def _totals(lines: Iterable[Line]) -> Line | None:
    total = None
    for line in lines:
        total = line if total is None else added(total, line)
    return (
        msgspec.structs.replace(total, model=None, status="all", finish_reason=None, error_kind=None) if total else None
    )


def _rows(lines: Iterable[Line], status: str) -> int:
    return sum(line.rows for line in lines if line.status == status)


def _per_1000(totals: Line | None, rows: int) -> Decimal | None:
    return totals.cost * 1000 / rows if totals is not None and totals.cost is not None and rows else None


def _currency(told: SavedSummary, summary: CostSummary | None) -> str | None:
    """The run has one currency: money is never added across currencies."""
    if told.currency:
        return plain(told.currency, 20)
    return summary.currencies[0] if summary is not None and len(summary.currencies) == 1 else None
