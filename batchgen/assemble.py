"""`Job` → built parts, everything checked that can be known before the first request. Sends nothing."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from msgspec import Struct

from batchgen.errors import InputError, JobError, UsageError
from batchgen.job import ColumnReference, Job, answer_parts
from batchgen.pricing import ModelPrice, PriceTable, load_prices, region_of
from batchgen.prompt import PromptTemplate
from batchgen.providers import PROVIDERS, open_provider
from batchgen.providers.protocol import ModelSettings, Provider
from batchgen.secret import Secret
from batchgen.sink import RESULT_COLUMNS, Layout
from batchgen.source import Source


class Endpoint(Struct, frozen=True):
    """Where requests go and with which key. `identity` stands for it in a run's fingerprint."""

    base_url: str
    key: Secret | None
    identity: str

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base_url).netloc or self.base_url


class Parts(Struct, frozen=True):
    """A job with everything built that reads or writes no row yet. `notes` are warnings for the user."""

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


def endpoint_of(job: Job, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """Return the job's own endpoint, with the key from the variable that it names.

    An empty `model.api_key_env` means that the server wants no key. Raises `UsageError` when the variable is unset.
    """
    known = PROVIDERS[job.model.provider]
    base_url = (job.model.base_url or known.base_url).rstrip("/")
    if urlsplit(base_url).scheme not in ("http", "https") or not urlsplit(base_url).hostname:
        raise JobError(f"model.base_url is {base_url!r}; expected an address such as {known.base_url}.")
    variable = job.model.api_key_env if job.model.api_key_env is not None else known.api_key_env
    if not variable:
        return Endpoint(base_url, None, base_url)
    value = environ.get(variable, "").strip()
    if not value:
        raise UsageError(
            f"The environment variable {variable} is not set; it must hold the API key "
            f"(export {variable}=..., or name another variable in model.api_key_env). "
            "With --simulate no key is needed."
        )
    if not (value.isascii() and value.isprintable()):
        raise UsageError(f"The environment variable {variable} holds characters that no API key has.")
    return Endpoint(base_url, Secret(value), base_url)


def assemble(job: Job, endpoint: Endpoint) -> Parts:
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
    settings = ModelSettings(
        name=model, base_url=endpoint.base_url, parameters=job.model.parameters, headers=job.model.headers
    )
    provider = open_provider(job.model.provider, settings)
    for remark in provider.remarks():
        if remark.fatal:
            raise JobError(f"{remark.key}: {remark.text}")
        notes.append(f"{remark.key}: {remark.text}")
    source = Source.open(job.input.path, id_column=job.input.id, limit=job.input.limit)
    template.check_columns(source.columns, job.input.path)
    layout = _layout(job, source)
    region = job.pricing.region or region_of(endpoint.base_url)
    table = load_prices(Path(job.pricing.file) if job.pricing.file else None)
    price_of, currency = _prices(table, region, model, notes, dt.datetime.now(dt.UTC).date())
    if job.limits.budget is not None and model:
        _check_budget(job, price_of(model), bool(parameter_columns), table.suggestion(model, region))
    parts = answer_parts(job, template.fingerprint_parts())
    parts["model"]["base_url"] = endpoint.identity
    return Parts(
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
    )


def _check_budget(job: Job, price: ModelPrice | None, varies: bool, suggestion: str) -> None:
    """Refuse a budget that could not be kept; `varies`: rows bring parameters of their own, so only they can tell."""
    if price is None:
        raise JobError(f"limits.budget needs a price. {suggestion}")
    if not varies and price.output_bound(job.model.parameters) is None:
        raise JobError(
            f"limits.budget needs a longest answer, and nothing bounds what {price.model} may think: set "
            "max_completion_tokens, enable_thinking = false or a thinking_budget under model.parameters."
        )


def _layout(job: Job, source: Source) -> Layout:
    wanted = source.columns if job.output.columns == "all" else tuple(job.output.columns)
    missing = [column for column in wanted if column not in source.columns]
    if missing:
        raise InputError(
            f"output.columns names {missing[0]!r}, which {job.input.path} does not have; "
            f"it has {', '.join(source.columns)}."
        )
    clash = [column for column in wanted if column in RESULT_COLUMNS]
    if clash:
        others = ", ".join(repr(column) for column in wanted if column not in RESULT_COLUMNS)
        raise InputError(
            f"The input column {clash[0]!r} of {job.input.path} has the name of a result column; rename it, or leave "
            f"it out of the results with output.columns = [{others}]."
        )
    return Layout(carried=pa.schema([source.schema.field(name) for name in wanted]), id=job.input.id)


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
