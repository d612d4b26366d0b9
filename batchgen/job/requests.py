"""Everything that makes the requests of a job and reads their replies, but nothing that reads the input.

It is built from the job and the environment alone, so that another process or machine can build the same: the job is
sent there, but not the key, which each process reads from its own environment.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs, to_builtins

from batchgen.attachments.load import Attachments
from batchgen.errors import JobError
from batchgen.job.endpoint import Endpoint, secrets_of
from batchgen.job.endpoint_settings import endpoint_jobs, endpoint_names
from batchgen.job.examples import load_examples
from batchgen.job.settings import ColumnReference, Job, holds_secret, public_headers
from batchgen.money.job_prices import JobPrices
from batchgen.money.prices import PriceTable, load_prices
from batchgen.money.worst_case import Unbounded, WorstCase
from batchgen.prompts.prompt import PromptTemplate
from batchgen.providers import default_base_url, lane_of, open_batches, open_provider, vendor_of
from batchgen.providers.batch_api import BatchApi
from batchgen.providers.lane import BATCH, Lane
from batchgen.providers.protocol import ModelSettings, Provider
from batchgen.providers.request_key import RequestKeys
from batchgen.providers.request_parts import from_column
from batchgen.providers.vendors import region_of
from batchgen.secret import Secrets
from batchgen.storage.own_files import SPOOLED_INPUT
from batchgen.stores.address import is_address
from batchgen.text.figures import money
from batchgen.tokens.parameters import effective_parameters
from batchgen.transport.route import check_url
from batchgen.values import Message

if TYPE_CHECKING:
    from batchgen.answers.structured import StructuredAnswers

_BESIDE_THE_REQUEST = 100
"""About how many bytes a line of a batch has beside the request."""


class RequestParts(Struct, frozen=True, kw_only=True):
    """What makes the requests of a job and reads their replies. `notes` are warnings for the user.

    `model` is empty if each row names its own. `answers` validates answers against `[response]`; None if the job has
    none. `lane` is how requests travel, None for the ordinary calls.
    `examples` are the messages that every prompt begins with. `keys` gives each request its key. Of a job with several
    endpoints, `sites` has the same for each of them, with its `name` in the results; the rest is the first one's.
    """

    job: Job
    endpoint: Endpoint
    template: PromptTemplate
    provider: Provider
    keys: RequestKeys
    model: str
    price_of: JobPrices
    answers: StructuredAnswers | None
    examples: Sequence[Message]
    notes: list[str]
    lane: Lane | None
    attachments: Attachments | None = None
    name: str | None = None
    sites: tuple[RequestParts, ...] = ()

    @property
    def secrets(self) -> Secrets:
        """The secrets of the run, of all its endpoints."""
        if not self.sites:
            return secrets_of(self.endpoint, self.provider)
        headers = [header for site in self.sites for header in site.secrets.headers]
        return Secrets(headers, [secret for site in self.sites for secret in site.endpoint.others])

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the job, with the fields of its lane."""
        given = self.job.model.parameters
        return given if self.lane is None else {**given, **self.lane.fields}

    @property
    def service_tier(self) -> str | None:
        """The class of service that the job's own parameters ask for, so that its prices may be meant for that one.

        None if they name none, and in a lane: what a lane costs beside the ordinary price stands in the price itself.
        """
        tier = self.job.model.parameters.get("service_tier") if self.lane is None else None
        return tier if isinstance(tier, str) else None

    def live_provider(self) -> Provider | None:
        """Return the provider by which rows that their lane refused are asked in the ordinary way.

        None if the job does not want that, or the lane refuses no rows.
        """
        if self.job.model.lane_fallback is None or self.lane is None or not self.lane.may_refuse:
            return None
        return open_provider(self.job.model.provider, self.keys.settings)

    def batch_api(self, *, trial: bool = False) -> BatchApi | None:
        """Return the vendor's batch API, or that of its free trial; None in other lanes."""
        if self.lane is None or self.lane.batch is None:
            return None
        return open_batches(self.job.model.provider, self.keys.settings, self.lane, self.provider, trial=trial)

    @property
    def longest_batched(self) -> int | None:
        """About how many bytes a request may have in the lane of batches, whether it is the job's or not; longer ones
        are asked live there. None where the job has no such lane."""
        model = self.job.model
        try:
            lane = lane_of(BATCH, model.provider, model.base_url)
        except JobError:
            return None
        terms = None if lane is None else lane.batch
        return None if terms is None else self.job.batch.longest_line(terms.limits) - _BESIDE_THE_REQUEST

    @property
    def in_batches(self) -> bool:
        """Whether an endpoint's lane is that of batches."""
        return any(one.lane is not None and one.lane.batch is not None for one in self.sites or (self,))

    @property
    def currency(self) -> str | None:
        """The currency of all costs of the run; None as long as no price is known."""
        return self.price_of.currency


def request_parts(job: Job, endpoint: Endpoint) -> RequestParts:
    """Build what makes the requests of a job. Raises `UsageError` with one sentence for what is wrong."""
    if not job.model.endpoints:
        return _request_parts(job, endpoint)
    jobs, endpoints = endpoint_jobs(job), (endpoint, *endpoint.more)
    named = structs.replace(jobs[0], model=structs.replace(jobs[0].model, name=job.model.name))
    parts = _request_parts(named, endpoint)
    sites = []
    if len(endpoints) == len(jobs) and not endpoint.simulated:  # the simulator stands for all of them
        names = endpoint_names([one.host for one in endpoints], jobs)
        for name, one, where in zip(names, jobs, endpoints, strict=True):
            site = structs.replace(_request_parts(one, where), name=name)
            _check_site(parts, site)
            parts.notes.extend(f"{name}: {note}" for note in site.notes if note not in [*parts.notes])
            sites.append(site)
        parts.keys.other_models = tuple(sorted({site.model for site in sites} - {parts.model}))
    return structs.replace(parts, job=job, sites=tuple(sites))


def _check_site(parts: RequestParts, site: RequestParts) -> None:
    """Refuse an endpoint that cannot share prompts and costs with the first one. Raises `JobError`."""
    if parts.answers is not None and site.answers is not None and parts.answers.shaping != site.answers.shaping:
        raise JobError(
            f"model.endpoints: {site.name} is asked for JSON by {site.answers.shaping.means}, the first by "
            f"{parts.answers.shaping.means}, so that they would not get the same prompt; set response.means."
        )
    if None not in (parts.currency, site.currency) and parts.currency != site.currency:
        raise JobError(
            f"model.endpoints: the price at {site.name} is in {site.currency}, that of the first in {parts.currency}, "
            "and costs are in one currency: set pricing.currency and pricing.rate."
        )


def _request_parts(job: Job, endpoint: Endpoint) -> RequestParts:
    if job.model.base_url is not None:
        check_url(job.model.base_url)  # also if the run is simulated
    for omitted in job.model.omit:
        if omitted in job.model.parameters:
            raise JobError(f"model.omit and model.parameters both name {omitted!r}: leave it out of one of them.")
    notes: list[str] = []
    columns = {name: value["column"] for name, value in job.model.parameters.items() if from_column(value)}
    name = job.model.name
    model = "" if isinstance(name, ColumnReference) else name
    template = PromptTemplate(job.prompt, columns, name.column if isinstance(name, ColumnReference) else None)
    answers = _answers(job, model)
    parameters = job.model.parameters if answers is None else {**job.model.parameters, **answers.shaping.parameters}
    attachments = _attachments(job, template)
    settings = ModelSettings(
        name=model,
        base_url=endpoint.base_url,
        parameters=parameters,
        headers=public_headers(job),
        api_key_header=job.model.api_key_header,
        omit=job.model.omit,
    )
    lane = lane_of(job.model.lane, job.model.provider, job.model.base_url)
    provider = open_provider(job.model.provider, settings, lane=lane)
    for remark in (*provider.remarks(), *(answers.remarks if answers is not None else ())):
        if remark.fatal:
            raise JobError(f"{remark.key}: {remark.text}")
        notes.append(f"{remark.key}: {remark.text}")
    for name, value in job.model.headers.items():
        if isinstance(value, str) and holds_secret(name, value):
            notes.append(f'model.headers.{name}: is it a secret? {{ env = "NAME" }} keeps it out of the job file.')
    return RequestParts(
        job=job,
        endpoint=endpoint,
        template=template,
        provider=provider,
        keys=RequestKeys(
            job.model.provider,
            settings,
            _reading(answers),
            attach=None if job.attach is None else job.attach.parts(),
        ),
        model=model,
        price_of=_prices(job, endpoint, model, notes, lane),
        answers=answers,
        examples=_shape_prompts(job, template, answers),
        notes=notes,
        lane=lane,
        attachments=attachments,
    )


def _folder_of(path: str) -> str | None:
    """Return where the paths of files in an input's rows count from; None if it does not lie on this machine."""
    if is_address(path):
        return None
    if fnmatch.fnmatchcase(os.path.basename(path), SPOOLED_INPUT):  # it came by standard input
        return os.getcwd()
    fixed = re.split(r"[*?\[]", path, maxsplit=1)[0] if not os.path.lexists(path) else path
    return fixed if os.path.isdir(fixed) else os.path.dirname(fixed) or "."


def _attachments(job: Job, template: PromptTemplate) -> Attachments | None:
    """Return what makes parts of messages of the rows' files, and have the template find them; None without any.

    The limits are those of the job's own server, also in a simulated run.
    """
    if job.attach is None:
        return None
    if job.prompt.prompt is not None:
        raise JobError("attach.column goes with chat messages: use prompt.user or prompt.messages.")
    folder = job.attach.folder
    if folder is None:
        folder = _folder_of(job.input.path)
    limits = vendor_of(job.model.provider, job.model.base_url or default_base_url(job.model.provider)).attachments
    attachments = Attachments(job.attach, None if folder is None else Path(folder), limits)
    template.attach_with(job.attach.column, attachments.read)
    return attachments


def _answers(job: Job, model: str) -> StructuredAnswers | None:
    """Return what validates answers against `[response]`. The job's own server decides the means, also in a simulated
    run."""
    if job.response is None:
        return None
    from batchgen.answers.enforcement import Target
    from batchgen.answers.structured import StructuredAnswers

    base_url = job.model.base_url or default_base_url(job.model.provider)
    target = Target(
        provider=job.model.provider, base_url=base_url, model=model or None, parameters=job.model.parameters
    )
    return StructuredAnswers(job.response, target)


def _reading(answers: StructuredAnswers | None) -> dict[str, Any] | None:
    """Return the settings that decide which answer a row ends with.

    The number of repairs is not among them: it matters only for rows that would fail, and failed rows are never reused.
    """
    if answers is None:
        return None
    settings = to_builtins(answers.settings)
    del settings["max_repairs"]
    return {**settings, "schema": answers.document}


def _shape_prompts(job: Job, template: PromptTemplate, answers: StructuredAnswers | None) -> list[Message]:
    """Make the template add the instruction and the examples to every prompt; return the examples."""
    examples: list[Message] = []
    if job.prompt.examples is not None:
        column = job.prompt.examples_answer or "answer"
        examples = load_examples(job.prompt.examples, column, template, answers)
    if answers is not None:
        template.finish_with(partial(answers.prepare, examples=examples))
    elif examples:
        from batchgen.answers.conversation import instructed

        template.finish_with(partial(instructed, instruction=None, examples=examples))
    return examples


def _prices(job: Job, endpoint: Endpoint, model: str, notes: list[str], lane: Lane | None) -> JobPrices:
    """Return the prices of the job's models, and note a price that is missing or old. A budget needs a price."""
    region = job.pricing.region or region_of(endpoint.base_url)
    table = price_table(job)
    prices = JobPrices(table, region, model, job.model.lane)
    price = prices(model) if model else None
    if price is not None and (missing := job.pricing.terms.missing_rate(price)):
        raise JobError(missing)
    if lane is not None and table.find(model, region) is not None and prices.in_lane(model, lane.name) is None:
        notes.append(
            f"No price is known for {model} in the lane {lane.name}, and the vendor may not offer it there: costs stay "
            f'empty. If it does, say at what factor: [pricing.models."{model}"], lanes = {{ "{lane.name}" = 0.5 }}.'
        )
    elif model and price is None:
        notes.append(table.suggestion(model, region))
    elif price is not None and price.is_stale(dt.datetime.now(dt.UTC).date()):
        notes.append(
            f"The price of {model} is of {price.price_date}, more than six months old: see {price.price_source}."
        )
    if job.limits.budget is not None and model:
        notes += check_budget(job, model, prices)
    return prices


def price_table(job: Job) -> PriceTable:
    """Return the shipped prices, with those of the job's price file and of the job merged in. Raises `JobError`."""
    if job.pricing.free:
        return PriceTable({}, free=True)
    table = load_prices(Path(job.pricing.file) if job.pricing.file else None, job.pricing.models)
    terms = job.pricing.terms
    return table.changed(terms.applied) if terms else table


def check_budget(job: Job, model: str, prices: JobPrices) -> list[str]:
    """Return warnings on the job's budget. Raises `JobError` for a budget that could not be kept.

    If columns give parameters, this is known only for each row, and nothing is checked here.
    """
    if prices(model) is None:
        raise JobError(f"limits.budget needs a price. {prices.suggestion(model)}")
    if any(map(from_column, job.model.parameters.values())):
        return []
    lane = lane_of(job.model.lane, job.model.provider, job.model.base_url)
    parameters = job.model.parameters if lane is None else lane.parameters(job.model.parameters)
    worst = WorstCase(prices.reserved, model, parameters).of_job()
    if isinstance(worst, Unbounded):
        raise JobError(worst.reason)
    if {"max_tokens", "max_completion_tokens"} & effective_parameters(job.model.parameters).keys():
        return []
    return [
        f"limits.budget: max_tokens is not set, so that a request in flight counts as the longest answer of {model}, "
        f"{money(worst, prices.currency or '')}. Set max_tokens under model.parameters to have more in flight."
    ]
