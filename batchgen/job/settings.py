"""TOML text → frozen `Job`. Strict: an unknown key is an error with the nearest known key named.

Settings live with the behaviour they steer; this module collects them, applies overrides and words the errors.
The keys are final (README, "The job file").
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from batchgen.answers.settings import ResponseSettings
from batchgen.errors import JobError
from batchgen.files.nearest import did_you_mean
from batchgen.job.evaluation_settings import EvaluationSettings
from batchgen.job.paths import resolve_paths
from batchgen.money.terms import PriceTerms, price_terms
from batchgen.pace.retry import RetrySettings
from batchgen.prompts.prompt import PromptSettings
from batchgen.providers import wire_of
from batchgen.providers.auth import KEY_HEADERS, is_secret_name

_Positive = Annotated[float, Meta(gt=0)]


class ColumnReference(Struct, frozen=True, forbid_unknown_fields=True):
    """`{ column = NAME }`: the row's own value instead of the job's."""

    column: str


class Variable(Struct, frozen=True, forbid_unknown_fields=True):
    """`{ env = NAME }`: the value of an environment variable, never shown and never stored."""

    env: str


class InputSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[input]`: `path` is a Parquet, CSV or JSONL file, a directory or a glob; `limit` takes the first rows only.

    `dedupe`: rows whose requests are the same are asked once and share the answer; by default at temperature 0 or with
    a fixed seed. `delimiter`, `encoding` and `quotes` are of delimited files, and found where the file leaves no doubt.
    """

    path: str
    id: str | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    dedupe: bool | None = None
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    encoding: str | None = None
    quotes: Literal["csv", "text"] | None = None


class ModelJobSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[model]`: which model answers, where, and how it is reached.

    `api_key_header` carries the key instead of the provider's own header. `omit` are fields of the request that are
    not sent although they are a default of ours.
    """

    provider: str
    name: str | ColumnReference
    base_url: str | None = None
    api_key_env: str | None = None
    stream: bool = False
    transport: Literal["fast", "httpx"] = "fast"
    parameters: dict[str, Any] = {}
    headers: dict[str, str | Variable] = {}
    api_key_header: str | None = None
    omit: list[str] = []


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[limits]`: `timeout_s` bounds one attempt (streamed: the longest silence); `budget` is an amount.

    When a run stops by itself: `max_failed` (a count, or a share below 1) of failed rows; `max_alike_at_first` first
    rows that all fail alike; `max_failed_in_a_row` with no answer between them; `stalled_s` seconds without an answer,
    `startup_wait_s` before there was any. 0 switches the middle two off.

    `concurrency` bounds the requests in flight; left out, how many are of use is found.
    """

    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    requests_per_minute: _Positive | None = None
    tokens_per_minute: _Positive | None = None
    timeout_s: _Positive = 300.0
    budget: Annotated[Decimal, Meta()] | None = None
    max_failed: Annotated[int, Meta(ge=1)] | Annotated[float, Meta(gt=0, lt=1)] | None = None
    max_alike_at_first: Annotated[int, Meta(ge=0)] = 20
    max_failed_in_a_row: Annotated[int, Meta(ge=0)] = 50
    stalled_s: _Positive = 300.0
    startup_wait_s: _Positive = 60.0


class PricingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[pricing]`: by default the region follows the host; `file` replaces or adds models, and so does `models`, in the
    same form. `free`: the server is one's own, and its answers cost nothing. `factor` (a discount), `currency` and
    `rate` are the terms under which list prices are paid (`money.terms`)."""

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


class OutputSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[output]`: the directory, which input columns are carried into the results, and who may read the files."""

    path: str
    columns: Literal["all"] | list[str] = "all"
    mode: Literal["private", "group"] = "private"


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole job file, checked key by key."""

    name: str
    input: InputSettings
    prompt: PromptSettings
    model: ModelJobSettings
    output: OutputSettings
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()
    pricing: PricingSettings = PricingSettings()
    response: ResponseSettings | None = None
    evaluate: EvaluationSettings | None = None


def load_job(path: str | Path, /, **overrides: Any) -> Job:
    """Read and check a job file.

    `overrides` win over the file: any job key by its dotted path (`**{"limits.concurrency": 8}`), and the short forms
    `input` and `output` (paths), `limit` (first N rows) and `budget`. A value of None leaves the file's. Relative paths
    in the file count from its folder, those of `overrides` from the working directory. Raises `JobError` with one
    sentence that names the file, the key and what was expected.
    """
    where = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise JobError(f"{where}: there is no such job file.{did_you_mean(where, suffix='.toml')}") from None
    except IsADirectoryError:
        raise JobError(f"{where} is a directory; name the job file in it.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{where}: the job file cannot be read: {error}.") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"{where}: not valid TOML: {error}.") from error
    resolve_paths(table, Path(path).parent)
    for key, value in overrides.items():
        if value is not None:
            _put(table, _SHORT_FORMS.get(key, key), value)
    return parse_job(table, where)


def parse_job(table: Mapping[str, Any], where: str) -> Job:
    """Turn a decoded job table into a `Job`; `where` names it in errors."""
    _refuse_unknown(table, Job, "", where)
    try:
        job = msgspec.convert(table, Job, strict=True)
    except msgspec.ValidationError as error:
        raise JobError(f"{where}: {_reworded(str(error))}.") from error
    try:
        wire_of(job.model.provider)
    except JobError as error:
        raise JobError(f"{where}: {error}.") from None
    if job.pricing.free and (job.pricing.file or job.pricing.models):
        raise JobError(f"{where}: pricing.free says that answers cost nothing; leave out the prices, or pricing.free.")
    if job.limits.budget is not None and not (job.limits.budget.is_finite() and job.limits.budget > 0):
        raise JobError(f"{where}: limits.budget must be an amount above 0.")
    job.pricing.terms  # noqa: B018 - raises for what cannot be meant
    return job


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `KEY=VALUE` of `--set`: TOML value syntax, anything that is not TOML is taken as a string."""
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
    """Return everything in the job that can alter an answer, by job key: what a run's fingerprint is made of.

    `prompt_parts` are the templates' own texts by dotted key, so that an edited `user_file` counts. Limits, retry,
    pricing, output and the way of sending are left out: they may change between two runs of one job.
    """
    omitted = sorted({*job.model.omit} - {"stream_options", "incremental_output", "model"})
    return {
        **prompt_parts,
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
    """Return the job's own headers but for those that hold secrets: what may be shown, stored and sent anywhere."""
    headers = job.model.headers.items()
    return {name: value for name, value in headers if isinstance(value, str) and not holds_secret(name, value)}


def holds_secret(name: str, value: str | Variable) -> bool:
    """Whether a header's value is not to be shown; a key written down under a key's name is for `check` to refuse."""
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
    """Raise for the first key that `kind` does not have, with the nearest one it has, here or in another table."""
    known = typing.get_type_hints(kind)
    for key, value in table.items():
        if key not in known:
            raise JobError(f"{where}: unknown key {prefix}{key}; {_nearest(prefix, key, list(known))}")
        inner = _struct_of(known[key])
        if inner is not None and isinstance(value, Mapping):
            _refuse_unknown(value, inner, f"{prefix}{key}.", where)


def _nearest(prefix: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {prefix}{close[0]}?"
    elsewhere = [path for path in JOB_KEYS if path.rpartition(".")[2] == key]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    if prefix == "model.":
        return f"a parameter of the provider goes to model.parameters.{key}."
    return f"known here: {', '.join(prefix + name for name in known)}."


def _all_keys(kind: type[Struct], prefix: str) -> list[str]:
    keys = []
    for name, hint in typing.get_type_hints(kind).items():
        inner = _struct_of(hint)
        keys += _all_keys(inner, f"{prefix}{name}.") if inner else [prefix + name]
    return keys


def _struct_of(hint: Any) -> type[Struct] | None:
    """The one settings table a type hint stands for; a union with other than None is no table of its own."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not types.NoneType]
        return _struct_of(options[0]) if len(options) == 1 else None
    return hint if isinstance(hint, type) and issubclass(hint, Struct) else None


JOB_KEYS = tuple(_all_keys(Job, ""))
"""Every key of a job file by its dotted path."""

_PLAIN_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
    "decimal": "a number",
    "null": "nothing",
}


def _reworded(message: str) -> str:
    """Turn msgspec's words ("Expected `int`, got `str` - at `$.limits.concurrency`") into a sentence about a key."""
    text, _, path = message.partition(" - at `")
    key = path.rstrip("`").removeprefix("$").lstrip(".")
    missing = re.match(r"Object missing required field `(\w+)`", text)
    if missing:
        return f"{key + '.' if key else ''}{missing[1]} is missing"
    text = re.sub(
        r"`([a-z]+(?: \| [a-z]+)*)`",
        lambda found: " or ".join(_PLAIN_TYPES.get(word, word) for word in found[1].split(" | ") if word != "null"),
        text,
    )
    text = text[0].lower() + text[1:].replace("`", "")
    return f"{key}: {text}" if key else text
