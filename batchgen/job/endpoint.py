"""Where the requests of a job go, and with which key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from batchgen.errors import JobError, UsageError
from batchgen.job.settings import Job
from batchgen.providers import PROVIDERS
from batchgen.secret import Secret


class Endpoint(Struct, frozen=True):
    """Where requests go and with which key. `identity` stands for it in a run's fingerprint."""

    base_url: str
    key: Secret | None
    identity: str

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base_url).netloc or self.base_url


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
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):  # not repeated here: it may be the key itself
        raise JobError(
            "model.api_key_env is no name of an environment variable; it must name the one that has the key."
        )
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
