"""`batchgen check`: validates the job, renders every row and shows the first requests, without sending anything."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.job.changed_files import changed_files_problem, files_changed
from batchgen.job.endpoint import Endpoint, keyless_endpoint
from batchgen.job.key_settings import key_settings
from batchgen.job.parts import JobParts, assemble
from batchgen.job.render import loaded, prompt_columns, rendered
from batchgen.job.requests import RequestParts
from batchgen.job.reuse import Reuse, ReusePlan, planned_reuse
from batchgen.job.settings import Job
from batchgen.job.spooled_input import input_for_reading
from batchgen.job.stored import scanned
from batchgen.money.worst_case import Unbounded, WorstCase
from batchgen.prompts.duplicates import RepeatCount
from batchgen.providers.auth import public_url
from batchgen.providers.lane import LIVE
from batchgen.providers.request_parts import with_user_headers
from batchgen.storage.move_aside import needs_new_directory
from batchgen.storage.open_batches import collect_first, refuse_open_batches
from batchgen.storage.run_state import fingerprints, problem_with, run_fingerprints
from batchgen.storage.target import OutputTarget
from batchgen.stores.address import shown
from batchgen.text.figures import money
from batchgen.text.storable import json_bytes
from batchgen.transport import preflight
from batchgen.values import Prompt, Request

if TYPE_CHECKING:
    from batchgen.answers.structured import StructuredAnswers

DATA_SHOWN = 60
"""Letters of a file's data that are shown."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]{200,}={0,2}")

UNASKABLE_SHOWN = 3
"""Rows that have no prompt are counted; for so many of them the reason is shown."""


class Shown(Struct, frozen=True):
    """A request as it would be sent, with the key masked."""

    row: int
    url: str
    headers: dict[str, str]
    body: Any


class ResponseShape(Struct, frozen=True):
    """How `[response]` asks for JSON: the means, what it adds to parameters and system message, and the column
    types."""

    means: str
    parameters: Mapping[str, Any]
    instruction: str | None
    parsed: dict[str, str]


class LongRows(Struct, frozen=True):
    """Rows whose requests are longer than a line of a batch may be, and the most that they can cost, asked live; None
    where no price is known or nothing bounds it."""

    rows: int
    most: Decimal | None


class CheckedEndpoint(Struct, frozen=True):
    """One of several endpoints: what it is called in results, where requests go, for which model, in which lane and at
    which price."""

    endpoint: str
    url: str
    model: str
    lane: str
    price: str | None


class Checked(Struct, frozen=True):
    """What `check` found. `unaskable` rows will fail with `error_kind` `prompt`; `problem` is what `run` would refuse.

    `repeats` is the number of rows with the same request as an earlier one, which are not sent; None if duplicate
    requests are not looked for. `reuse` says what earlier answers leave to be asked; `asked_live` are rows that do not
    fit into a batch, where the job's lane has these.
    """

    job: str
    input: str
    rows: int
    columns: list[str]
    provider: str
    model: str
    endpoint: str
    currency: str | None
    price: str | None
    requests: list[Shown]
    unaskable: int
    unaskable_examples: dict[int, str]
    notes: list[str]
    problem: str | None
    response: ResponseShape | None = None
    repeats: int | None = None
    reuse: ReusePlan | None = None
    endpoints: list[CheckedEndpoint] = []
    asked_live: LongRows | None = None

    def to_json(self) -> bytes:
        """Return everything as one JSON object."""
        return json_bytes(self)


def check_job(
    job: Job, *, endpoint: Endpoint | None = None, show: int = 1, update: bool = False, take_over: bool = False
) -> Checked:
    """Check a job as `run` would, and render every row. Raises `UsageError` where nothing can be shown at all."""
    problem: str | None = None
    if endpoint is None:
        endpoint, problem = keyless_endpoint(job)
    for one in (endpoint, *endpoint.more):
        preflight(one.base_url)
    with input_for_reading(job) as read:
        parts = assemble(read, endpoint)
        with planned_reuse(parts, update=update) as reuse:
            return _checked(job, parts, problem, show, reuse, update=update, take_over=take_over)


def _checked(
    job: Job, parts: JobParts, problem: str | None, show: int, reuse: Reuse | None, *, update: bool, take_over: bool
) -> Checked:
    scan = scanned(parts)
    requests, unaskable, examples, over_budget, plan, repeats, long = _render(parts, show, reuse)
    if scan.rows and unaskable == scan.rows:
        first = next(iter(examples.items()))
        problem = f"None of the {scan.rows:,} rows can be asked; row {first[0]}: {first[1]}"
    problem = problem or over_budget or job.engine.lacking()
    path = job.output.directory.absolute()
    if problem is None and job.output.address is not None:
        problem = OutputTarget(job.output.address, path, job.name).refusal()
    found = run_fingerprints(parts.fingerprint, scan.fingerprint)
    published = fingerprints({"output": {"columns": job.output.columns}})
    moves = update and needs_new_directory(
        path, found, published, parts.currency, again=False, changed=files_changed(parts)
    )
    if problem is None:
        problem = _directory_problem(job, path, found, published, parts.currency, moves=moves, take_over=take_over)
    if problem is None and not moves:
        problem = _files_problem(parts)
    price = parts.price_of.in_lane(parts.model, job.model.lane) if parts.model else None
    return Checked(
        job=job.name,
        input=shown(job.input.path),
        rows=scan.rows,
        columns=list(parts.source.columns),
        provider=job.model.provider,
        model=parts.model or f"column {job.model.name.column}"
        if not isinstance(job.model.name, str)
        else job.model.name,
        endpoint=", ".join(public_url(one.endpoint.base_url) for one in parts.sites or (parts,)),
        endpoints=[_endpoint(site) for site in parts.sites],
        currency=parts.currency,
        price=price.describe() if price is not None else None,
        requests=requests,
        unaskable=unaskable,
        unaskable_examples=examples,
        notes=parts.notes,
        problem=problem,
        response=_response(parts.answers) if parts.answers is not None else None,
        repeats=repeats,
        reuse=plan,
        asked_live=long,
    )


def _directory_problem(
    job: Job,
    path: Path,
    found: Mapping[str, str],
    published: Mapping[str, str],
    currency: str | None,
    *,
    moves: bool,
    take_over: bool,
) -> str | None:
    """Return why a run could not go on in its output directory."""
    try:
        there = refuse_open_batches(path, key_settings(job), moves=moves, take_over=take_over, snapshot=True)
    except (OutputError, OSError) as error:
        return str(error)
    problem = None if moves else problem_with(path, found, published, currency)
    return None if problem is None else collect_first(problem, there, path)


def _files_problem(parts: JobParts) -> str | None:
    """Return why a run could not go on with the files that its rows name."""
    try:
        return changed_files_problem(parts)
    except (OutputError, OSError, sqlite3.Error) as error:
        return str(error)


def _response(answers: StructuredAnswers) -> ResponseShape:
    shaping = answers.shaping
    fields = {field.name: str(field.type) for field in answers.type}
    return ResponseShape(shaping.means, shaping.parameters, shaping.instruction, fields)


def _render(
    parts: JobParts, show: int, reuse: Reuse | None
) -> tuple[list[Shown], int, dict[int, str], str | None, ReusePlan | None, int | None, LongRows | None]:
    """Render all rows. Return the first requests, the number of rows without a prompt and the reasons for the first of
    those, the first request that exceeds the budget (None if all fit), what is reused, the number of repeats, and the
    rows that are too long for a batch."""
    repeated = RepeatCount() if parts.dedupe else None
    shown: list[Shown] = []
    unaskable = reused = asked = 0
    examples: dict[int, str] = {}
    over_budget: str | None = None
    budget = parts.job.limits.budget
    worst_case = WorstCase(parts.price_of.reserved, parts.model, parts.job.model.parameters)
    live = WorstCase(parts.price_of, parts.model, parts.job.model.parameters)
    longest = parts.longest_batched if _batched(parts) else None
    long, cost = 0, Decimal(0)
    bounded = not parts.model or parts.price_of(parts.model) is not None
    for batch in parts.source.batches(0, prompt_columns(parts)):
        for row, prompt in rendered(parts, batch):
            if isinstance(prompt, str):
                unaskable += 1
                if len(examples) < UNASKABLE_SHOWN:
                    examples[row] = prompt
                continue
            if repeated is not None or reuse is not None:
                key = parts.keys.of(prompt)
                if reuse is not None and any(reuse.result(row, one, prompt) for one in parts.keys.all(key)):
                    reused += 1
                else:
                    asked += 1
                    if repeated is not None:
                        repeated.add(key)
            whole = loaded(parts, prompt)
            if isinstance(whole, str):  # a file of the row cannot be sent
                unaskable += 1
                if len(examples) < UNASKABLE_SHOWN:
                    examples[row] = whole
                continue
            if len(shown) < show:
                shown.append(_shown(parts, row, whole))
            if longest is None and (budget is None or over_budget is not None):
                continue
            request = _request(parts, whole)
            asked_live = longest is not None and len(request.body) > longest
            worst = (live if asked_live else worst_case)(request, whole)
            if asked_live:
                long += 1
                bounded = bounded and not isinstance(worst, Unbounded)
                cost += Decimal(0) if isinstance(worst, Unbounded) else worst
            if budget is not None and over_budget is None:
                if isinstance(worst, Unbounded):
                    over_budget = f"Row {row}: {worst.reason}"
                elif worst > budget:
                    over_budget = (
                        f"Row {row} alone could cost {money(worst, parts.currency or '')}, more than limits.budget "
                        f"({budget}). {worst_case.advice(whole)}"
                    )
    repeats = None
    if repeated is not None:
        repeats = repeated.repeats()
        repeated.close()
    plan = None
    if reuse is not None:
        asked -= repeats or 0
        each = reuse.mean_cost()
        plan = ReusePlan(asked, reused, reuse.saved if reused else None, None if each is None else each * asked)
    too_long = LongRows(long, cost if bounded else None) if long else None
    return shown, unaskable, examples, over_budget, plan, repeats, too_long


def _batched(parts: JobParts) -> bool:
    return parts.lane is not None and parts.lane.batch is not None


def _endpoint(site: RequestParts) -> CheckedEndpoint:
    lane = LIVE if site.lane is None else site.lane.name
    price = site.price_of.in_lane(site.model, lane) if site.model else None
    return CheckedEndpoint(
        site.name or "",
        public_url(site.endpoint.base_url),
        site.model,
        lane,
        None if price is None else price.describe(),
    )


def _request(parts: JobParts, prompt: Prompt) -> Request:
    stream = not _batched(parts) and (parts.job.model.stream or parts.provider.must_stream(prompt.model or parts.model))
    return parts.provider.build_request(prompt, stream=stream)


def _shown(parts: JobParts, row: int, prompt: Prompt) -> Shown:
    request = _request(parts, prompt)
    secret = {header.name: str(header) for header in (*parts.sites, parts)[0].secrets.headers}
    headers = with_user_headers(request.headers, secret)
    return Shown(row, public_url(request.url), headers, _shortened(msgspec.json.decode(request.body)))


def _shortened(value: Any) -> Any:
    """Return a body with the data of files cut to their beginning."""
    if isinstance(value, dict):
        return {name: _shortened(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_shortened(member) for member in value]
    if isinstance(value, str) and len(value) > DATA_SHOWN and (value.startswith("data:") or _BASE64.fullmatch(value)):
        return f"{value[:DATA_SHOWN]}… ({len(value):,} letters)"
    return value
