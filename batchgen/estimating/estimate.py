"""Estimates a job before it is paid for: tokens, cost as low / expected / high, and duration.

Input tokens are counted for every row. The lengths of answers are taken from a pilot (random rows are really sent, and
their answers are kept for the run), from an earlier run of the job, or bounded by `max_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import anyio
import msgspec
import pyarrow as pa

from batchgen.api import arun
from batchgen.engine.reporter import Progress, Reporter
from batchgen.engine.summary import Summary
from batchgen.errors import InputError, OutputError, StoppedError, UsageError
from batchgen.estimating.basis import Basis, basis_of
from batchgen.estimating.compare import Comparison
from batchgen.estimating.count import Ruler, count_rows
from batchgen.estimating.draw import Draw, drawn_rows, pilot_rows
from batchgen.estimating.duration import duration
from batchgen.estimating.endpoints import price_at
from batchgen.estimating.lanes import lanes_of
from batchgen.estimating.observed import Observations, observe
from batchgen.estimating.table import EstimateTable, read_table_estimate
from batchgen.estimating.values import EndpointCost, Estimate, Paid, read_estimate
from batchgen.job.endpoint import Endpoint, endpoint_of, keyless_endpoint
from batchgen.job.parts import JobParts, assemble
from batchgen.job.requests import price_table
from batchgen.job.reuse import planned_reuse
from batchgen.job.settings import Job
from batchgen.job.shared_prefix import shared_prefix
from batchgen.job.spooled_input import input_for_reading
from batchgen.job.stored import scanned
from batchgen.providers.lane import BATCH
from batchgen.providers.vendors import region_of
from batchgen.storage.run_state import keep_estimate, read_run_json, run_fingerprints
from batchgen.stores.address import shown
from batchgen.text.figures import money
from batchgen.tokens.parameters import effective_parameters
from batchgen.transport.event_loop import loop_options
from batchgen.values import SMALLEST_AMOUNT

Send = Callable[[Job, AbstractSet[int]], Summary]
"""Runs a job for the given rows only."""


def estimate(
    job: Job,
    *,
    pilot: int = 0,
    compare: Sequence[str] = (),
    prices: str | Path | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    endpoint: Endpoint | None = None,
    reporter: Reporter | None = None,
    send: Send | None = None,
    sample: int = 0,
    update: bool = False,
    memory: pa.Table | None = None,
) -> Estimate:
    """Count the tokens of every row and estimate cost and duration of the job.

    `pilot`: send this many random rows (at least 2), which are paid for; a later `run` keeps their answers, except
    those of the simulator. Rows that alone hold more than 1/`pilot` of the input tokens are always among them. The same
    `seed` draws the same rows; a larger pilot draws additional ones. `compare`: further models to price. `prices`: a
    price file that replaces the job's. `output`: a directory for `estimate.parquet`. `endpoint` replaces the job's
    endpoint, `send` the function that runs the pilot. `sample`: count this many random rows only, of a very large
    input; the interval then holds what that leaves open too. `update`: rows that have an answer in the output directory
    are neither counted nor sent; a pilot then moves an earlier run aside, as the update itself would. `memory`: rows
    that are read instead of `input.path`. Raises `UsageError` if job, input or
    directories are wrong, `StoppedError` if the pilot was stopped.
    """
    reporter = reporter or Reporter()
    if sample and output is not None:
        raise UsageError("A table with a line per row needs every row counted: leave out --sample, or --output.")
    if prices is not None:
        job = msgspec.structs.replace(job, pricing=msgspec.structs.replace(job.pricing, file=str(prices)))
    if pilot and job.model.lane == BATCH:
        raise UsageError(
            "A pilot waits for its answers, and batches may take a day: use --pilot with --lane live. The estimate "
            "prices every lane, and a run in batches keeps the pilot's answers."
        )
    if pilot:
        endpoint = endpoint or endpoint_of(job)
    with input_for_reading(job, memory) as read:
        unlimited = msgspec.structs.replace(read, limits=msgspec.structs.replace(job.limits, budget=None))
        parts = assemble(unlimited, endpoint or keyless_endpoint(job)[0])
        table = price_table(job)
        scan = scanned(parts)
        notes = list(parts.notes)
        if parts.answers is not None and (votes := parts.answers.settings.votes) > 1:
            notes.append(f"response.votes is {votes}: the figures are for {votes} answers a row.")
        prefix = shared_prefix(parts)
        if prefix is not None:
            most = money(prefix.saving * scan.rows, parts.currency or "")
            notes.append(
                f"About {prefix.tokens:,} tokens at the beginning of every request are the same: what the provider's "
                f"prompt cache serves of them costs less, up to {most} in all. A run sends one request first."
            )
        observations = None
        if pilot:
            drawn = drawn_rows(scan.rows, pilot, seed)
        else:
            observations = _earlier_run(parts, scan.fingerprint, notes, seed)
            drawn = [item.row for item in observations.sample] if observations else []
        counted = frozenset(drawn_rows(scan.rows, sample, seed)) if 0 < sample < scan.rows else None
        ruler = Ruler(parts, table.limits)
        comparison = Comparison(compare, table, ruler, job.pricing.region or region_of(parts.endpoint.base_url))
        simulated = pilot and parts.endpoint.simulated
        with (
            EstimateTable(Path(output)) if output is not None else nullcontext() as rows,
            TemporaryDirectory(prefix="batchgen-") if simulated else nullcontext(str(job.output.directory)) as place,
            planned_reuse(parts, update=update) as reuse,
        ):
            notes += [note for note in parts.notes if note not in notes]  # what is to be said of earlier runs
            draw = Draw(pilot, seed) if pilot and reuse is not None else None
            census = count_rows(
                parts,
                ruler,
                others=comparison.edges,
                wanted=frozenset(drawn if draw is None else ()),
                reporter=reporter,
                each=rows.add if rows is not None else None,
                sample=counted,
                reuse=reuse,
                draw=draw,
            )
            if draw is not None:
                drawn = [*draw.rows()]
                if not drawn:
                    notes.append("Every row has an earlier answer: the pilot sent nothing.")
            if scan.rows and census.unaskable == scan.rows:
                row, reason = next(iter(census.unaskable_examples.items()))
                raise InputError(f"None of the {scan.rows:,} rows can be asked; row {row}: {reason}")
            dominating = census.dominating(len(drawn), len(drawn) // 2) if counted is None else {}
            if pilot and drawn:
                chosen = pilot_rows(drawn, dominating)
                sent = msgspec.structs.replace(read, output=msgspec.structs.replace(job.output, path=place))
                _run_pilot(send or partial(_send, parts.endpoint, reporter, update), sent, chosen)
                observations = observe(parts, scan.fingerprint, Path(place), only=chosen, seed=seed)
                if simulated:
                    notes.append("The pilot was simulated: its answers are made up and are not kept for a run.")
            if compare and any(sum(histogram.spoken) for histogram in census.groups.values()):
                notes.append("For the models of --compare recordings are not counted.")
            basis = basis_of(parts, census, observations, dominating)
            made = _put_together(
                job, scan.rows, basis, comparison, method="pilot" if pilot else "earlier run", notes=notes
            )
            if counted is not None:
                rule = f"{made.input_rule}, {len(counted):,} of {scan.rows:,} rows counted"
                made = msgspec.structs.replace(made, input_method="rule", input_rule=rule)
            if reuse is not None:
                saved = reuse.saved if counted is None else _scaled(reuse.saved, scan.rows, len(counted))
                made = msgspec.structs.replace(made, reused=census.reused, saved=saved if census.reused else None)
            if simulated:
                made = msgspec.structs.replace(made, paid=None)
            if rows is not None:
                rows.write(made, basis.expected)
    try:
        keep_estimate(
            job.output.directory, msgspec.to_builtins(made), run_fingerprints(parts.fingerprint, scan.fingerprint)
        )
    except (OutputError, OSError) as error:
        reporter.note(f"The estimate is not kept for the run's report. {error}")
    return made


def _scaled(amount: Decimal, rows: int, counted: int) -> Decimal:
    """Return what an amount for `counted` rows is for all rows."""
    return (amount * rows / counted).quantize(SMALLEST_AMOUNT)


def load_estimate(output_dir: str | Path) -> Estimate | None:
    """Return the estimate that is kept with a run or was written to `output_dir`; None if there is none.

    Raises `OutputError` for a damaged file.
    """
    directory = Path(output_dir)
    state = read_run_json(directory)
    return read_estimate(state.estimate if state is not None else None) or read_table_estimate(directory)


def _earlier_run(parts: JobParts, input_fingerprint: str, notes: list[str], seed: int) -> Observations | None:
    try:
        return observe(parts, input_fingerprint, parts.job.output.directory, seed=seed)
    except OutputError as error:
        notes.append(f"No earlier run is used. {error}")
        return None


def _run_pilot(send: Send, job: Job, rows: AbstractSet[int]) -> None:
    """Run the job for these rows. Raises `StoppedError` unless all of them have finished."""
    summary = send(job, rows)
    if summary.error is not None:
        raise StoppedError(f"The pilot was stopped: {summary.error['message']}")


def _send(endpoint: Endpoint, reporter: Reporter, update: bool, job: Job, rows: AbstractSet[int]) -> Summary:
    async def main() -> Summary:
        below = PilotReporter(reporter, len(rows))
        return await arun(job, endpoint=endpoint, reporter=below, only=rows, update=update)

    return anyio.run(main, backend_options=loop_options())


class PilotReporter(Reporter):
    """Reports a pilot to `below` as a run of `rows` rows."""

    def __init__(self, below: Reporter, rows: int) -> None:
        self._below = below
        self._rows = rows
        self._before = 0

    def _seen(self, standing: Progress) -> Progress:
        return msgspec.structs.replace(standing, rows=self._rows, settled=standing.settled - self._before)

    def started(self, standing: Progress) -> None:
        self._before = standing.settled
        self._below.started(self._seen(standing))

    def moved(self, standing: Progress) -> None:
        self._below.moved(self._seen(standing))

    def note(self, text: str) -> None:
        self._below.note(text)

    def finished(self, standing: Progress) -> None:
        self._below.finished(self._seen(standing))


def _put_together(
    job: Job,
    rows: int,
    basis: Basis,
    comparison: Comparison,
    *,
    method: Literal["pilot", "earlier run"],
    notes: list[str],
) -> Estimate:
    known = basis.rows
    parts, census, seen = known.parts, known.census, known.observations
    output_tokens, cost = basis.output_tokens(), basis.cost()
    notes += basis.remarks(chosen=method == "pilot")
    if cost is not None and job.limits.budget is not None and cost.high is not None and cost.high > job.limits.budget:
        sure = cost.low is not None and cost.low > job.limits.budget
        notes.append(
            f"The budget of {job.limits.budget} {'is too small' if sure else 'may be too small'} for all rows."
        )
    price = parts.price_of(parts.model) if parts.model else None
    requests, answered = known.fitting * known.votes, [item.observed for item in known.sample]
    times = duration(job.limits, requests, basis.input_tokens, output_tokens, answered)
    first = price or next((found for found in known.prices.values() if found is not None), None)
    return Estimate(
        rows=rows,
        model=parts.model or f"column {msgspec.to_builtins(job.model.name)['column']}",
        input_tokens=basis.input_tokens,
        input_method=known.method,
        output_tokens=output_tokens,
        output_method=method if basis.confidence is not None else "max_tokens",
        confidence=basis.confidence,
        cost=cost,
        currency=first.currency if first is not None and cost is not None else None,
        price_date=first.price_date if first is not None and cost is not None else None,
        duration_s=times,
        rows_too_long=census.too_long,
        too_long_ids=census.too_long_ids,
        unaskable=census.unaskable,
        unaskable_examples=census.unaskable_examples,
        job=job.name,
        input=shown(job.input.path),
        input_rule=", ".join(sorted({counter.name for counter in census.counters.values()})),
        input_band=basis.band,
        sampled=len(known.known),
        paid=Paid(seen.settled, seen.paid) if seen is not None else None,
        asked_live=census.too_long_for_batches,
        asked_live_cost=basis.too_long_cost() if census.too_long_for_batches else None,
        batch_cost=basis.lane_cost("batch"),
        lanes=lanes_of(parts, basis, cost, times),
        endpoints=[
            EndpointCost(
                endpoint=site.name or "",
                model=site.model,
                cost=basis.lane_cost(None, site),
                price=None if (own := price_at(site, site.model)) is None else own.describe(),
            )
            for site in parts.sites
        ],
        price=price.describe() if price is not None else None,
        compare=comparison.offers(census, effective_parameters(job.model.parameters), basis.shared_answers()),
        notes=notes,
    )
