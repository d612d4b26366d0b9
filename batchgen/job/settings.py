"""Reads job files: TOML to a frozen `Job`. An unknown key is an error that names the nearest known key.

Some tables are defined beside the code that they configure; this module collects them, applies overrides and words the
errors. The keys are described in the README, "The job file".
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from batchgen.answers.settings import ResponseSettings
from batchgen.attachments.settings import AttachSettings
from batchgen.errors import JobError
from batchgen.files.nearest_path import did_you_mean
from batchgen.job.batch_settings import BatchSettings, check_batch
from batchgen.job.endpoint_settings import EndpointSettings, check_endpoints, endpoint_jobs, with_provider
from batchgen.job.engine_settings import EngineSettings
from batchgen.job.evaluation_settings import EvaluationSettings
from batchgen.job.export import job_table, job_toml
from batchgen.job.output_settings import OutputSettings
from batchgen.job.paths import refuse_addresses, resolve_paths
from batchgen.job.toml_text import toml_tables
from batchgen.job.type_errors import reworded, struct_of
from batchgen.money.terms import PriceTerms, price_terms
from batchgen.nearest import nearest
from batchgen.pace.retry import RetrySettings
from batchgen.prompts.prompt import PromptSettings
from batchgen.providers import lane_of, wire_of
from batchgen.providers.auth import KEY_HEADERS, is_secret_name

_Positive = Annotated[float, Meta(gt=0)]
_Seconds = Annotated[float, Meta(gt=0, le=366 * 86400)]
"""A time that ends: with `inf` a server that hangs would hold a row for ever."""


class ColumnReference(Struct, frozen=True, forbid_unknown_fields=True):
    """`{ column = NAME }`: the value is given by a column for each row."""

    column: str


class Variable(Struct, frozen=True, forbid_unknown_fields=True):
    """`{ env = NAME }`: the value of an environment variable, never shown and never stored."""

    env: str


class InputSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[input]`: `path` is a Parquet, CSV or JSONL file, a directory or a glob; `limit` takes the first rows only.

    `dedupe`: rows whose requests are the same are asked once and share the answer; by default at temperature 0 or with
    a fixed seed. `reuse`: output directories whose answers to the same requests are taken. `delimiter`, `encoding` and
    `quotes` are for delimited files; they are detected if the file leaves no doubt.
    """

    path: str
    id: str | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    dedupe: bool | None = None
    reuse: list[str] = []
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    encoding: str | None = None
    quotes: Literal["csv", "text"] | None = None


class ModelJobSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[model]`: which model answers, where, and how it is reached.

    `api_key_header` is the header for the key, instead of the vendor's own. `omit` names fields of the request that
    would be sent by default and are left out. `lane` is how requests travel, and at which price (`providers.lane`);
    `lane_fallback = "live"`: rows that a full lane refuses are asked in the ordinary way. `endpoints` are several that
    answer the job together; each takes from `[model]` what it leaves out.
    """

    provider: str
    name: str | ColumnReference
    base_url: str | None = None
    api_key_env: str | None = None
    stream: bool = False
    transport: Literal["fast", "httpx"] = "fast"
    lane: Literal["live", "flex", "batch-chat", "batch"] = "live"
    lane_fallback: Literal["live"] | None = None
    parameters: dict[str, Any] = {}
    headers: dict[str, str | Variable] = {}
    api_key_header: str | None = None
    omit: list[str] = []
    endpoints: list[EndpointSettings] = []


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[limits]`: `timeout_s` bounds one attempt in seconds (streamed: the time without a byte); `budget` is an amount.

    `concurrency` is the most requests in flight, found if it is left out. Runs here of one `account` share a pace.

    A run stops by itself after: `max_failed` failed rows (a number, or a share below 1); `max_alike_at_first` rows at
    the beginning that all fail alike, and `max_failed_in_a_row` failed rows without an answer between them (0 turns
    these two off); `stalled_s` seconds without an answer, or `startup_wait_s` before the first one.
    """

    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    requests_per_minute: _Positive | None = None
    tokens_per_minute: _Positive | None = None
    timeout_s: _Seconds = 300.0
    budget: Annotated[Decimal, Meta()] | None = None
    max_failed: Annotated[int, Meta(ge=1)] | Annotated[float, Meta(gt=0, lt=1)] | None = None
    max_alike_at_first: Annotated[int, Meta(ge=0)] = 20
    max_failed_in_a_row: Annotated[int, Meta(ge=0)] = 50
    stalled_s: _Seconds = 300.0
    startup_wait_s: _Seconds = 60.0
    account: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class PricingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[pricing]`: the region follows from the host by default. The price file `file` and the table `models`, in the
    same form, replace or add models. `free`: answers cost nothing, as on a server of one's own. `factor` (a discount),
    `currency` and `rate` are the terms under which list prices are paid (`money.terms`)."""

    region: Literal["international", "beijing"] | None = None
    file: str | None = None
    models: dict[str, dict[str, Any]] = {}
    free: bool = False
    factor: Decimal | None = None
    currency: str | None = None
    rate: dict[str, Any] = {}

    @property
    def terms(self) -> PriceTerms:
        """Factor, currency and rates. Raises `JobError`."""
        return price_terms(self.factor, self.currency, self.rate)


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job file that has been checked.

    Example:
        >>> job = Job.from_dict({"name": "x", "input": {"path": "rows.csv"}, ...})
        >>> print(job.to_toml())
    """

    name: str
    input: InputSettings
    prompt: PromptSettings
    model: ModelJobSettings
    output: OutputSettings
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    batch: BatchSettings = BatchSettings()
    pricing: PricingSettings = PricingSettings()
    response: ResponseSettings | None = None
    evaluate: EvaluationSettings | None = None
    engine: EngineSettings = EngineSettings()
    attach: AttachSettings | None = None

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Job:
        """Return the job of a job file's tables; paths count from the working directory. Raises `JobError`."""
        return parse_job(table, "The job")

    @classmethod
    def from_toml(cls, text: str) -> Job:
        """Return the job of a job file's text; paths count from the working directory. Raises `JobError`."""
        try:
            return parse_job(tomllib.loads(text), "The job")
        except tomllib.TOMLDecodeError as error:
            raise JobError(f"The job is not valid TOML: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the tables of a job file that mean this job, without what is left at its default."""
        return job_table(self)

    def to_toml(self) -> str:
        """Return the text of a job file that means this job. Raises `UsageError` for a null, which TOML lacks."""
        return job_toml(self)


JOB_TABLES = tuple(name for name in Job.__struct_fields__ if name != "name")
"""The tables of a job file."""


def load_job(path: str | Path, /, **overrides: Any) -> Job:
    """Read and check a job file.

    `overrides` win over the file: any job key by its dotted path (`**{"limits.concurrency": 8}`), and the short forms
    `input` and `output` (paths), `limit` (first N rows) and `budget`. A value of None keeps the file's. Relative paths
    in the file start at its folder, those in `overrides` at the working directory. Raises `JobError` with one sentence
    that names the file, the key and what was expected.
    """
    where = str(path)
    try:
        table = toml_tables(Path(path), where)
    except FileNotFoundError:
        raise JobError(f"{where}: there is no such job file.{did_you_mean(where, suffix='.toml')}") from None
    except IsADirectoryError:
        raise JobError(f"{where} is a directory; name the job file in it.") from None
    except OSError as error:
        raise JobError(f"{where}: the job file cannot be read: {error.strerror}.") from error
    resolve_paths(table, Path(path).parent)
    for key, value in overrides.items():
        if value is not None:
            _put(table, _SHORT_FORMS.get(key, key), value)
    return parse_job(table, where)


def parse_job(table: Mapping[str, Any], where: str) -> Job:
    """Turn a decoded job table into a `Job`; `where` names it in errors."""
    _refuse_unknown(table, Job, "", where)
    try:
        table = with_provider(table)
    except JobError as error:
        raise JobError(f"{where}: {error}") from None
    try:
        job = msgspec.convert(table, Job, strict=True)
    except msgspec.ValidationError as error:
        raise JobError(f"{where}: {reworded(str(error), Job)}.") from error
    refuse_addresses(table, where)
    try:
        for one in (job, *endpoint_jobs(job)):
            wire_of(one.model.provider)
        job = _in_lane(job, table)
    except JobError as error:
        raise JobError(f"{where}: {error}") from None
    if job.pricing.free and (job.pricing.file or job.pricing.models):
        raise JobError(f"{where}: pricing.free says that answers cost nothing; leave out the prices, or pricing.free.")
    if job.limits.budget is not None and not (job.limits.budget.is_finite() and job.limits.budget > 0):
        raise JobError(f"{where}: limits.budget must be an amount above 0.")
    if job.output.address is None and job.output.state is not None:
        raise JobError(f"{where}: output.state is for an output in an object store; leave it out.")
    job.pricing.terms  # noqa: B018 - raises for what cannot be meant
    return job


def _in_lane(job: Job, table: Mapping[str, Any]) -> Job:
    """Return the job with its lane's defaults of what it leaves open. Raises `JobError` for a lane that it cannot have.

    The defaults are of times: a lane may take long for an answer, and a run must not stop for want of one before.
    """
    lanes = [lane_of(one.model.lane, one.model.provider, one.model.base_url) for one in endpoint_jobs(job)]
    lane = max((one for one in lanes if one is not None), key=lambda one: one.timeout_s, default=None)
    check_endpoints(job)
    for one in (None, *lanes):
        terms = None if one is None else one.batch
        check_batch(job.batch, None if terms is None else terms.limits, job.model.provider)
    if job.model.lane_fallback is not None and not any(one is not None and one.may_refuse for one in lanes):
        raise JobError(
            f"model.lane_fallback is for a lane that refuses requests while it is full; {job.model.lane} does not."
        )
    if lane is None:
        return job
    given = table.get("limits", {})
    times = {name: lane.timeout_s for name in ("timeout_s", "stalled_s", "startup_wait_s") if name not in given}
    return msgspec.structs.replace(job, limits=msgspec.structs.replace(job.limits, **times))


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `KEY=VALUE` of `--set`. The value is TOML; what is not valid TOML is taken as a string."""
    key, sign, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not sign or not key:
        raise JobError(f"--set {text}: expected KEY=VALUE, for example --set limits.concurrency=8.")
    if key in _SHORT_FORMS:
        raise JobError(f"--set {text}: the key's whole path is {_SHORT_FORMS[key]}.")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return key, value
    return (key, parsed["value"]) if list(parsed) == ["value"] else (key, value)


def answer_parts(job: Job, prompt_parts: Mapping[str, str]) -> dict[str, Any]:
    """Return everything in the job that can change an answer, by job key; a run's fingerprint is made of it.

    `prompt_parts` are the texts of the templates by dotted key, so that an edited `user_file` makes a difference.
    Limits, retry, pricing, output and how requests are sent may change between two runs of a job and are left out.
    """
    omitted = sorted({*job.model.omit} - {"stream_options", "incremental_output", "model"})
    return {
        **prompt_parts,
        **({} if job.attach is None else {"attach": job.attach.parts()}),
        "input": {"id": job.input.id},
        "model": {
            "provider": wire_of(job.model.provider),
            "name": msgspec.to_builtins(job.model.name),
            "parameters": job.model.parameters,
            "headers": public_headers(job),
            **({"omit": omitted} if omitted else {}),
        },
    }


def public_headers(job: Job) -> dict[str, str]:
    """Return the job's headers without those that hold secrets: these may be shown and stored."""
    headers = job.model.headers.items()
    return {name: value for name, value in headers if isinstance(value, str) and not holds_secret(name, value)}


def holds_secret(name: str, value: str | Variable) -> bool:
    """Whether a header's value must not be shown. A key in plain text in one of `KEY_HEADERS` is not: `check` refuses
    it."""
    return isinstance(value, Variable) or (is_secret_name(name) and name.lower() not in KEY_HEADERS)


_SHORT_FORMS = {"input": "input.path", "output": "output.path", "limit": "input.limit", "budget": "limits.budget"}


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        below = table.setdefault(parent, {})
        if not isinstance(below, dict):
            raise JobError(f"{key} cannot be set: {parent} is not a table.")
        table = below
    table[last] = value


def _refuse_unknown(table: Mapping[str, Any], kind: type[Struct], prefix: str, where: str) -> None:
    """Raise `JobError` for the first key that `kind` does not have, naming the nearest one in this or another table."""
    known = typing.get_type_hints(kind)
    for key, value in table.items():
        if key not in known:
            raise JobError(f"{where}: unknown key {prefix}{key}; {_meant(prefix, key, list(known))}")
        inner = struct_of(known[key])
        if inner is not None and isinstance(value, Mapping):
            _refuse_unknown(value, inner, f"{prefix}{key}.", where)
        elif typing.get_origin(known[key]) is list and isinstance(value, list):
            inner = struct_of(typing.get_args(known[key])[0])
            for item in value:
                if inner is not None and isinstance(item, Mapping):
                    _refuse_unknown(item, inner, f"{prefix}{key}.", where)


def _meant(prefix: str, key: str, known: list[str]) -> str:
    if near := nearest(key, known):
        return f"did you mean {prefix}{near}?"
    elsewhere = [path for path in JOB_KEYS if path.rpartition(".")[2] == key]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    if prefix == "model.":
        return f"a parameter of the provider goes to model.parameters.{key}."
    return f"known here: {', '.join(prefix + name for name in known)}."


def _all_keys(kind: type[Struct], prefix: str) -> list[str]:
    keys = []
    for name, hint in typing.get_type_hints(kind).items():
        inner = struct_of(hint)
        keys += _all_keys(inner, f"{prefix}{name}.") if inner else [prefix + name]
    return keys


JOB_KEYS = tuple(_all_keys(Job, ""))
"""Return the dotted path of every key of a job file."""
