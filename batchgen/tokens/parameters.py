"""A request's parameters as the provider sees them: a row's own replace the job's, `extra_body` is merged in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_row_parameters(parameters: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the job's parameters, replaced by the row's `own` where it has any. A null cell replaces nothing."""
    merged = dict(parameters)
    if own:
        merged.update((name, value) for name, value in own.items() if value is not None)
    return merged


def effective_parameters(parameters: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what `with_row_parameters` does, with the fields of `extra_body` beside the others.

    `extra_body` is the OpenAI SDK's argument for fields that it does not know.
    """
    merged = with_row_parameters(parameters, own)
    extra = merged.pop("extra_body", None)
    return {**merged, **extra} if isinstance(extra, Mapping) else merged
