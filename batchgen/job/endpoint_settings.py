"""`[[model.endpoints]]`: several hosts, keys or deployments that answer one job, each as a job of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, structs

from batchgen.errors import JobError

_Job = TypeVar("_Job", bound=Struct)
_Positive = Annotated[float, Meta(gt=0)]


class EndpointSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of `[[model.endpoints]]`. What it leaves out is as in `[model]`, `[limits]` and `[pricing]`.

    `provider` is another than the job's, then with that provider's address and key variable unless it gives its own;
    where each endpoint names one, the job's may be left out. `name` is the model's name there; `region` is that of its
    prices. Endpoints with the same `account` (several keys of one account) share one limit. `weight` divides the
    requests among endpoints of the same price; one of weight 0 is a spare, asked only while no other answers.
    """

    provider: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_header: str | None = None
    name: str | None = None
    lane: Literal["live", "flex", "batch-chat"] | None = None
    region: Literal["international", "beijing"] | None = None
    account: str | None = None
    weight: Annotated[float, Meta(ge=0)] = 1.0
    requests_per_minute: _Positive | None = None
    tokens_per_minute: _Positive | None = None
    concurrency: Annotated[int, Meta(ge=1)] | None = None


def with_provider(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a job's table with `model.provider`, which is the first endpoint's where only the endpoints name theirs.

    Raises `JobError` if one of them does not.
    """
    model = table.get("model")
    if not isinstance(model, Mapping) or "provider" in model or not isinstance(model.get("endpoints"), list):
        return table
    named = [one.get("provider") if isinstance(one, Mapping) else None for one in model["endpoints"]]
    if not any(named):
        return table
    without = [number for number, name in enumerate(named, 1) if not name]
    if without:
        raise JobError(f"model.provider is missing, and model.endpoints, number {without[0]}, has none of its own.")
    return {**table, "model": {**model, "provider": named[0]}}


def endpoint_jobs(job: _Job) -> list[_Job]:
    """Return the job as it would be with each of its endpoints alone; the job itself where it names none."""
    endpoints: list[EndpointSettings] = job.model.endpoints  # type: ignore[attr-defined]
    return [_alone(job, endpoint) for endpoint in endpoints] or [job]


def _alone(job: Any, endpoint: EndpointSettings) -> Any:
    def given(*names: str) -> dict[str, object]:
        return {name: getattr(endpoint, name) for name in names if getattr(endpoint, name) is not None}

    model = given("provider", "base_url", "api_key_env", "api_key_header", "name", "lane")
    if endpoint.provider not in (None, job.model.provider):
        model = {"base_url": None, "api_key_env": None, "api_key_header": None, **model}
    limits = given("requests_per_minute", "tokens_per_minute")
    return structs.replace(
        job,
        model=structs.replace(job.model, endpoints=[], **model),
        limits=structs.replace(job.limits, concurrency=endpoint.concurrency, **limits),
        pricing=structs.replace(job.pricing, **given("region")),
    )


def check_endpoints(job: Any) -> None:
    """Refuse settings of endpoints that do not go together. Raises `JobError`."""
    if not job.model.endpoints:
        return
    if job.limits.account is not None:
        raise JobError("limits.account: of several endpoints each has its own; put account under [[model.endpoints]].")
    if not any(endpoint.weight for endpoint in job.model.endpoints):
        raise JobError("model.endpoints: every weight is 0, but a spare is for others; give one a weight.")


def endpoint_names(hosts: Sequence[str], jobs: Sequence[Any]) -> list[str]:
    """Return what endpoints are called in results: the host, with the model or the key's variable where that does not
    tell them apart."""
    names = list(hosts)
    for part in (lambda one: one.model.name, lambda one: one.model.api_key_env, None):
        twice = {name for name in names if names.count(name) > 1}
        if not twice:
            break
        for place, one in enumerate(jobs):
            if names[place] in twice:
                more = place + 1 if part is None else part(one)
                names[place] += f" {more}" if isinstance(more, (str, int)) else ""
    return names
