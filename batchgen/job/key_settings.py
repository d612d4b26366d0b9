"""The settings of the job that a report shows; `run.json` keeps them as `settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from batchgen.job.settings import Job, public_headers
from batchgen.text.storable import json_bytes

_LEFT_OUT = {"prompt"}
"""Tables of the job that a report does not show."""

_NAMES_ONLY = {"model.headers"}
"""Tables whose values may be secrets."""

_WORKSPACE_HEADER = "x-dashscope-workspace"
"""What a vendor's bill names; it is no secret."""

_LONGEST = 200


def key_settings(job: Job) -> dict[str, Any]:
    """Return the settings by dotted job key, without prompts, secrets and unset keys. Long values are cut.

    Lists and tables inside `model.parameters` (tools, schemas) are given as JSON text.
    """
    table = {key: value for key, value in msgspec.to_builtins(job).items() if key not in _LEFT_OUT}
    if job.model.base_url is not None:
        table["model"]["base_url"] = _public(job.model.base_url)
    for one in table["model"]["endpoints"]:
        if one["base_url"] is not None:
            one["base_url"] = _public(one["base_url"])
    for name, value in public_headers(job).items():
        if name.lower() == _WORKSPACE_HEADER:
            table["model"]["workspace"] = value
    return {key: value for key, value in _flat(table, "") if value not in (None, "", "[]", "{}")}


def _public(url: str) -> str:
    """Return an address without the parts that may be secret: user, password, query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _flat(table: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        path = f"{prefix}{key}"
        if path in _NAMES_ONLY:
            found.append((path, ", ".join(value)))
        elif isinstance(value, Mapping) and prefix != "model.parameters.":
            found += _flat(value, f"{path}.")
        elif isinstance(value, (Mapping, list)):
            found.append((path, json_bytes(value).decode()[:_LONGEST]))
        else:
            found.append((path, value[:_LONGEST] if isinstance(value, str) else value))
    return found
