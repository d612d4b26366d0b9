"""A request's parameters as the provider sees them: the row's own over the job's, `extra_body` at the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def effective_parameters(parameters: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the job's parameters under the row's `own`.

    A null cell does not set its parameter. `extra_body` is the SDK's word for fields it has no argument for: they stand
    beside the others.
    """
    merged = dict(parameters)
    if own:
        merged.update((name, value) for name, value in own.items() if value is not None)
    extra = merged.pop("extra_body", None)
    return {**merged, **extra} if isinstance(extra, Mapping) else merged
