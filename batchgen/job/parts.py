"""`Job` → built parts, everything checked that can be known before the first request. Sends nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from msgspec import Struct, to_builtins

from batchgen.answers import StructuredAnswers, Target, dedupe_default, instructed
from batchgen.errors import InputError, JobError
from batchgen.job.endpoint import Endpoint
from batchgen.job.examples import load_examples
from batchgen.job.settings import ColumnReference, Job, answer_parts
from batchgen.money.prices import ModelPrice, PriceTable, load_prices, region_of
from batchgen.prompts.prompt import PromptTemplate
from batchgen.providers import PROVIDERS, open_provider
from batchgen.providers.protocol import ModelSettings, Provider
from batchgen.source import Source
from batchgen.storage.result_schema import RESULT_COLUMNS, Layout, Parsed
from batchgen.values import Message, Result, Usage


class JobParts(Struct, frozen=True):
    """A job with everything built that reads or writes no row yet. `notes` are warnings for the user.

    `answers`: `[response]` made ready, None where the job has none; `dedupe`: rows with the same request share it.
    """

    job: Job
    endpoint: Endpoint
    source: Source
    template: PromptTemplate
    provider: Provider
    model: str
    price_of: Callable[[str], ModelPrice | None]
    currency: str | None
    layout: Layout
    fingerprint: Mapping[str, Any]
    notes: list[str]
    answers: StructuredAnswers | None
    dedupe: bool


def assemble(job: Job, endpoint: Endpoint) -> JobParts:
    """Build and check the parts of a job. Raises `UsageError` with one sentence for what is wrong."""
    notes: list[str] = []
    parameter_columns = {
        name: value["column"]
        for name, value in job.model.parameters.items()
        if isinstance(value, Mapping) and set(value) == {"column"}
    }
    name = job.model.name
    model_column = name.column if isinstance(name, ColumnReference) else None
    model = "" if isinstance(name, ColumnReference) else name
    template = PromptTemplate(job.prompt, parameter_columns, model_column)
    answers = _answers(job, model)
    dedupe = _dedupe(job, answers)
    parameters = job.model.parameters if answers is None else {**job.model.parameters, **answers.shaping.parameters}
    settings = ModelSettings(name=model, base_url=endpoint.base_url, parameters=parameters, headers=job.model.headers)
    provider = open_provider(job.model.provider, settings)
    for remark in (*provider.remarks(), *(answers.remarks if answers is not None else ())):
        if remark.fatal:
            raise JobError(f"{remark.key}: {remark.text}")
        notes.append(f"{remark.key}: {remark.text}")
    source = Source.open(job.input.path, id_column=job.input.id, limit=job.input.limit)
    template.check_columns(source.columns, job.input.path)
    parts = answer_parts(job, template.fingerprint_parts())
    parts["model"]["base_url"] = endpoint.identity
    parts |= _shape_prompts(job, template, answers)
    layout = _layout(job, source, answers)
    region = job.pricing.region or region_of(endpoint.base_url)
    table = load_prices(Path(job.pricing.file) if job.pricing.file else None)
    price_of, currency = _prices(table, region, model, notes, dt.datetime.now(dt.UTC).date())
    if job.limits.budget is not None and model:
        check_budget(job, price_of(model), table.suggestion(model, region))
    return JobParts(
        job=job,
        endpoint=endpoint,
        source=source,
        template=template,
        provider=provider,
        model=model,
        price_of=price_of,
        currency=currency,
        layout=layout,
        fingerprint=parts,
        notes=notes,
        answers=answers,
        dedupe=dedupe,
    )


def _answers(job: Job, model: str) -> StructuredAnswers | None:
    """Return `[response]` made ready. The job's own server decides how it is asked for, also when it is simulated."""
    if job.response is None:
        return None
    base_url = job.model.base_url or PROVIDERS[job.model.provider].base_url
    target = Target(
        provider=job.model.provider, base_url=base_url, model=model or None, parameters=job.model.parameters
    )
    return StructuredAnswers(job.response, target)


def _dedupe(job: Job, answers: StructuredAnswers | None) -> bool:
    votes = answers is not None and answers.settings.votes > 1
    if job.input.dedupe is None:
        return not votes and dedupe_default(job.model.parameters)
    if job.input.dedupe and votes:
        raise JobError("input.dedupe does not go with response.votes: leave it out, each vote is an answer of its own.")
    return job.input.dedupe


def _shape_prompts(job: Job, template: PromptTemplate, answers: StructuredAnswers | None) -> dict[str, Any]:
    """Have instruction and examples put into every prompt; return what they are, for the fingerprint."""
    parts: dict[str, Any] = {}
    examples: list[Message] = []
    if job.prompt.examples is not None:
        column = job.prompt.examples_answer or "answer"
        examples = load_examples(job.prompt.examples, column, template, answers)
        parts["prompt.examples"] = examples
    if answers is not None:
        parts["response"] = {**to_builtins(answers.settings), "schema": answers.document}
        template.finish_with(lambda prompt: answers.prepare(prompt, examples))
    elif examples:
        template.finish_with(lambda prompt: instructed(prompt, None, examples))
    return parts


def check_budget(job: Job, price: ModelPrice | None, suggestion: str = "") -> None:
    """Raise `JobError` for a budget that could not be kept. Where rows bring parameters, only they can tell."""
    varies = any(isinstance(value, Mapping) and set(value) == {"column"} for value in job.model.parameters.values())
    if price is None:
        raise JobError(f"limits.budget needs a price. {suggestion}".rstrip())
    if not varies and price.output_bound(job.model.parameters) is None:
        raise JobError(
            f"limits.budget needs a longest answer, and nothing bounds what {price.model} may think: set "
            "max_completion_tokens, enable_thinking = false or a thinking_budget under model.parameters."
        )


def _layout(job: Job, source: Source, answers: StructuredAnswers | None) -> Layout:
    wanted = source.columns if job.output.columns == "all" else tuple(job.output.columns)
    missing = [column for column in wanted if column not in source.columns]
    if missing:
        raise InputError(
            f"output.columns names {missing[0]!r}, which {job.input.path} does not have; "
            f"it has {', '.join(source.columns)}."
        )
    if job.evaluate is not None:
        left_out = [column for column in job.evaluate.columns if column not in wanted]
        if left_out:
            raise InputError(
                f"evaluate.gold needs column {left_out[0]!r} in the results: it has to be in {job.input.path} and in "
                "output.columns."
            )
    taken = {*RESULT_COLUMNS.names, *(("parsed",) if answers is not None else ())}
    clash = [column for column in wanted if column in taken]
    if clash:
        others = ", ".join(repr(column) for column in wanted if column not in taken)
        raise InputError(
            f"The input column {clash[0]!r} of {job.input.path} has the name of a result column; rename it, or leave "
            f"it out of the results with output.columns = [{others}]."
        )
    parsed = None if answers is None else Parsed(answers.type, answers.column)
    carried = pa.schema([source.schema.field(name) for name in wanted])
    return Layout(carried=carried, id=job.input.id, parsed=parsed)


def _prices(
    table: PriceTable, region: str, model: str, notes: list[str], today: dt.date
) -> tuple[Callable[[str], ModelPrice | None], str | None]:
    """Return the price of a model by name, found once each, and the currency that all costs of the run are in."""
    found: dict[str, ModelPrice | None] = {}
    first = table.find(model, region) if model else None
    currency = first.currency if first is not None else None

    def price_of(name: str) -> ModelPrice | None:
        nonlocal currency
        if name in found:
            return found[name]
        price = table.find(name, region)
        if price is not None:
            currency = currency or price.currency
            if price.currency != currency:
                price = None  # money is never added across currencies
        found[name] = price
        return price

    if model and first is None:
        notes.append(table.suggestion(model, region))
    elif first is not None and first.is_stale(today):
        notes.append(
            f"The price of {model} is of {first.price_date}, more than six months old: see {first.price_source}."
        )
    return price_of, currency


def input_cost_of(parts: JobParts) -> Callable[[Result], Decimal | None]:
    """Return how a stored result's input cost is found again: parts keep only input and output together."""

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
        return cost.input if cost is not None else None

    return input_cost
