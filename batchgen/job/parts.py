"""Builds everything that a run of a job needs, and checks what can be checked before the first request is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from msgspec import structs, to_builtins

from batchgen.errors import InputError, JobError
from batchgen.job.endpoint import Endpoint
from batchgen.job.requests import RequestParts, request_parts
from batchgen.job.settings import Job, answer_parts
from batchgen.nearest import nearest
from batchgen.prompts.duplicates import dedupe_default
from batchgen.source import Reading, Source
from batchgen.storage.result_schema import ENDPOINT_COLUMN, OWN_COLUMNS, Layout, Parsed
from batchgen.stores.address import shown
from batchgen.text.columns import in_template
from batchgen.values import SMALLEST_AMOUNT, Result, Usage

if TYPE_CHECKING:
    from batchgen.answers.structured import StructuredAnswers
    from batchgen.job.evaluation_settings import EvaluationSettings

_REQUEST_FILE = {"custom_id", "method", "url", "body"}


class JobParts(RequestParts, frozen=True, kw_only=True):
    """What a run of a job needs: how requests are made, where rows come from, and what the results look like.

    `fingerprint` holds what an answer depends on, by job key. `dedupe`: rows with the same request share its answer.
    """

    source: Source
    layout: Layout
    fingerprint: Mapping[str, Any]
    dedupe: bool


def assemble(job: Job, endpoint: Endpoint) -> JobParts:
    """Build and check the parts of a job. Raises `UsageError` with one sentence for what is wrong."""
    requests = request_parts(job, endpoint)
    reading = Reading(job.input.delimiter, job.input.encoding, job.input.quotes)
    source = Source.open(job.input.path, id_column=job.input.id, limit=job.input.limit, reading=reading)
    if set(source.columns) >= _REQUEST_FILE and "body" not in requests.template.columns:
        raise InputError(
            f"{shown(job.input.path)} is a file of requests for a batch API: its messages are in the column body. Make "
            'rows of them, jq -c "{custom_id} + .body" FILE > rows.jsonl, and set messages = "messages" under [prompt].'
        )
    requests.template.check_columns(source.columns, shown(job.input.path))
    source.check_readable(requests.template.columns)
    requests.notes.extend(_unused_columns(requests, source.columns))
    requests.notes.extend(filter(None, [job.engine.unused(), _unknown_gold(job.evaluate, requests.answers)]))
    layout = _layout(job, source, requests.answers)
    source.use_only([*requests.template.columns, *layout.carried.names])
    return JobParts(
        **structs.asdict(requests),
        source=source,
        layout=layout,
        fingerprint=_fingerprint(requests),
        dedupe=_dedupe(job, requests.answers),
    )


_OTHER_WAYS = r"[{{<\[«(]\s*{0}\s*[}}>\]»)]|\${0}\b|%{0}%"
"""How other programs write a column in a text: {{x}}, <x>, [x], «x», %(x)s, $x, %x%."""


def _unused_columns(requests: RequestParts, columns: Sequence[str]) -> list[str]:
    """Return a warning where all rows ask the same, as columns are written in the way of another program."""
    if requests.template.columns:
        return []
    text = json.dumps(requests.template.fingerprint_parts(), default=str, ensure_ascii=False)
    named = [name for name in columns if name and re.search(_OTHER_WAYS.format(re.escape(name)), text)]
    if not named:
        return []
    return [f"The prompt uses no column, so that all rows ask the same: write {{{{ {in_template(named[0])} }}}}."]


def _fingerprint(requests: RequestParts) -> dict[str, Any]:
    """Return what an answer depends on, by dotted job key."""
    parts = answer_parts(requests.job, requests.template.fingerprint_parts())
    # Several endpoints may come and go between two runs, as they answer the same; other models may not.
    parts["model"]["base_url"] = "several endpoints" if requests.sites else requests.endpoint.identity
    if requests.keys.other_models:
        parts["model"]["other_names"] = requests.keys.other_models
    if requests.examples:
        parts["prompt.examples"] = requests.examples
    if requests.answers is not None:
        parts["response"] = {**to_builtins(requests.answers.settings), "schema": requests.answers.document}
    return parts


def _dedupe(job: Job, answers: StructuredAnswers | None) -> bool:
    votes = answers is not None and answers.settings.votes > 1
    if job.input.dedupe is None:
        return not votes and dedupe_default(job.model.parameters)
    if job.input.dedupe and votes:
        raise JobError("input.dedupe does not go with response.votes: leave it out, each vote is an answer of its own.")
    return job.input.dedupe


def _layout(job: Job, source: Source, answers: StructuredAnswers | None) -> Layout:
    wanted = source.columns if job.output.columns == "all" else tuple(job.output.columns)
    missing = [column for column in wanted if column not in source.columns]
    path = shown(job.input.path)
    if missing:
        raise InputError(
            f"output.columns names {missing[0]!r}, which {path} does not have; it has {', '.join(source.columns)}."
        )
    if job.evaluate is not None:
        left_out = [column for column in job.evaluate.columns if column not in wanted]
        if left_out:
            raise InputError(
                f"evaluate.gold needs column {left_out[0]!r} in the results: it has to be in {path} and in "
                "output.columns."
            )
    own = {*OWN_COLUMNS, ENDPOINT_COLUMN.name} if job.model.endpoints else OWN_COLUMNS
    clash = [column for column in wanted if column in own]
    if clash:
        others = ", ".join(repr(column) for column in wanted if column not in own)
        raise InputError(
            f"The input column {clash[0]!r} of {path} has the name of a result column; rename it, or leave "
            f"it out of the results with output.columns = [{others}]."
        )
    parsed = None if answers is None else Parsed(answers.type, answers.column)
    carried = pa.schema([source.schema.field(name) for name in wanted])
    return Layout(carried=carried, id=job.input.id, parsed=parsed, endpoints=bool(job.model.endpoints))


def _unknown_gold(settings: EvaluationSettings | None, answers: StructuredAnswers | None) -> str | None:
    """Return what to say of gold for fields that no answer can have; None if there is none."""
    if settings is None or answers is None or isinstance(settings.gold, str) or not pa.types.is_struct(answers.type):
        return None
    fields = [field.name for field in answers.type]
    unknown = [name for name in settings.gold if name.split(".")[0] not in fields]
    if not unknown:
        return None
    near = nearest(unknown[0].split(".")[0], fields)
    meant = f"; did you mean {near!r}?" if near is not None else "."
    return f"evaluate.gold names {', '.join(map(repr, unknown))}, and the answers have only {', '.join(fields)}{meant}"


def input_cost_of(parts: JobParts) -> Callable[[Result], Decimal | None]:
    """Return a function that computes a stored result's input cost: the parts hold only the sum of input and output.

    Where that sum is not today's price, it is divided in proportion, so that no part of it is more than the whole.
    """

    def input_cost(result: Result) -> Decimal | None:
        price = parts.price_of(parts.model or result.model or "")
        usage = Usage(
            input_tokens=result.input_tokens,
            output_tokens=result.output_tokens,
            total_tokens=result.total_tokens,
            cached_tokens=result.cached_tokens,
            reasoning_tokens=result.reasoning_tokens,
        )
        cost = price.cost(usage) if price is not None else None
        if cost is None:
            return None
        whole, stored = cost.input + cost.output, result.cost
        if stored is None or not whole or stored == whole:
            return cost.input
        return (stored * cost.input / whole).quantize(SMALLEST_AMOUNT)  # another lane, class of service or price

    return input_cost
