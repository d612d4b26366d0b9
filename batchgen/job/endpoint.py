"""Where the requests of a job go, and the secrets sent with them, which come from the environment and stay in
memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from msgspec import Struct, structs

from batchgen.errors import JobError, UsageError
from batchgen.job.endpoint_settings import endpoint_jobs
from batchgen.job.settings import Job, ModelJobSettings, Variable, holds_secret
from batchgen.providers import VENDORS, default_base_url, lane_of, open_provider, vendor_of, wire_of
from batchgen.providers.auth import key_header, public_url, query_secrets, secret_header
from batchgen.providers.parameter_checks import FRAMING
from batchgen.providers.protocol import ModelSettings, Provider
from batchgen.secret import Secret, SecretHeader, Secrets
from batchgen.storage.run_state import SIMULATOR
from batchgen.transport.route import check_url

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PRINTABLE = re.compile(r"[ -~]+")
_KEY = "model.api_key_env"


class Endpoint(Struct, frozen=True):
    """Where requests go and with which secrets. `identity` represents it in a run's fingerprint, whatever its lane.

    `headers` are the job's own headers that hold secrets; `others` are secrets in the query of the address. `more` are
    the other endpoints of a job that has several (`[[model.endpoints]]`).
    """

    base_url: str
    key: Secret | None
    identity: str
    headers: tuple[SecretHeader, ...] = ()
    others: tuple[Secret, ...] = ()
    more: tuple[Endpoint, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether the built-in simulator answers there."""
        return self.identity == SIMULATOR

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base_url).netloc or self.base_url


def endpoint_of(job: Job, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """Return the job's endpoint, with the key and the headers' values from the environment variables that it names.

    An empty `model.api_key_env` means that the server wants no key; neither is a key needed if the job itself sets the
    header that would hold it. Raises `JobError` for an address that cannot work, `UsageError` if a variable is unset.
    """

    return _endpoints(job, _reader(environ))


def _reader(environ: Mapping[str, str]) -> Callable[[str, str], str]:
    def read(variable: str, job_key: str) -> str:
        if not _VARIABLE.fullmatch(variable):  # not shown: it may be the secret itself
            raise JobError(f"{job_key} is no name of an environment variable; it must name the one that has the key.")
        value = environ.get(variable, "").strip()
        if not value:
            raise UsageError(
                f"The environment variable {variable} is not set; it must hold "
                f"{'the API key' if job_key == _KEY else 'the value of the header'} "
                f"(export {variable}=..., or name another variable in {job_key}). With --simulate no key is needed."
            )
        return value

    return read


def keyless_endpoint(job: Job) -> tuple[Endpoint, str | None]:
    """Return the job's endpoint and None; if a variable is unset, an endpoint without its value and what `run` would
    say.

    Raises `JobError` as `endpoint_of` does.
    """
    try:
        return endpoint_of(job), None
    except JobError:
        raise
    except UsageError as error:
        return _endpoints(job, lambda variable, job_key: "unset"), str(error)


def _endpoints(job: Job, read: Callable[[str, str], str]) -> Endpoint:
    """Return the first of the job's endpoints, with the others in it."""
    found = []
    for place, one in enumerate(endpoint_jobs(job), 1):
        try:
            found.append(_endpoint(one.model, read))
        except UsageError as error:
            if not job.model.endpoints:
                raise
            raise type(error)(f"model.endpoints, number {place}: {error}") from None
    return structs.replace(found[0], more=tuple(found[1:]))


def secrets_from(model: ModelJobSettings, environ: Mapping[str, str] = os.environ) -> Secrets:
    """Return the secrets of a `[model]` table, which another process has been sent. Raises as `endpoint_of` does."""
    endpoint = _endpoint(model, _reader(environ))
    lane = lane_of(model.lane, model.provider, model.base_url)
    settings = ModelSettings(name="", base_url=endpoint.base_url, api_key_header=model.api_key_header)
    return secrets_of(endpoint, open_provider(model.provider, settings, lane=lane))


def secrets_of(endpoint: Endpoint, provider: Provider) -> Secrets:
    """Return the secrets of a run. A header that the job sets replaces the provider's."""
    own = {header.name.lower() for header in endpoint.headers}
    keys = [header for header in provider.headers(endpoint.key) if header.name.lower() not in own]
    return Secrets([*keys, *endpoint.headers], endpoint.others)


def _endpoint(model: ModelJobSettings, read: Callable[[str, str], str]) -> Endpoint:
    base_url = (model.base_url or default_base_url(model.provider)).rstrip("/")
    check_url(base_url)
    identity = public_url(base_url)
    if (lane := lane_of(model.lane, model.provider, base_url)) is not None:
        base_url = lane.address(base_url)
    vendor = vendor_of(model.provider, base_url)
    if model.api_key_header is not None and not _HEADER.fullmatch(model.api_key_header):
        raise JobError(f"model.api_key_header: {model.api_key_header!r} cannot be the name of a header.")
    headers = []
    for name, value in model.headers.items():
        if not holds_secret(name, value):
            continue
        job_key = f"model.headers.{name}"
        if not _HEADER.fullmatch(name) or name.lower() in FRAMING:
            raise JobError(f"{job_key} is no header that a job can set.")
        text = read(value.env, job_key) if isinstance(value, Variable) else value
        if not _PRINTABLE.fullmatch(text):
            raise UsageError(f"{job_key} has a value with characters that no header can carry.")
        headers.append(secret_header(name, text))
    key = None
    variable = model.api_key_env if model.api_key_env is not None else VENDORS[model.provider].api_key_env
    named = {header.name.lower() for header in headers}
    if variable and key_header(vendor, wire_of(model.provider), model.api_key_header).lower() not in named:
        text = read(variable, _KEY)
        if " " in text or not _PRINTABLE.fullmatch(text):
            raise UsageError(
                f"The variable {variable} holds characters that no API key has, and which no header can carry."
            )
        key = Secret(text)
    return Endpoint(base_url, key, identity, tuple(headers), tuple(query_secrets(base_url)))
