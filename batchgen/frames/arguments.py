"""The arguments of `map`, `amap`, `plan` and `stream`, for the type checkers of those who call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict

from batchgen.job.settings import Job


class Arguments(TypedDict, total=False):
    """What may be given beside the rows and the prompt; None is as if it were not given."""

    system: str | None
    messages: str | None
    model: str | Mapping[str, Any] | None
    provider: str | None
    base_url: str | None
    api_key_env: str | None
    parameters: Mapping[str, Any] | None
    labels: Sequence[str] | set[str] | frozenset[str] | None
    schema: Any
    votes: int | None
    examples: Any
    budget: float | Decimal | None
    id: str | None
    columns: Sequence[str] | str | None
    gold: str | Mapping[str, str] | None
    output: str | Path | Mapping[str, Any] | None
    name: str | None
    job: Job | Mapping[str, Any] | str | Path | None
    input: Mapping[str, Any] | None
    prompt: Mapping[str, Any] | None
    limits: Mapping[str, Any] | None
    retry: Mapping[str, Any] | None
    pricing: Mapping[str, Any] | None
    response: Mapping[str, Any] | None
    evaluate: Mapping[str, Any] | None
    limit: int | None
    progress: bool
    retry_failed: bool
    fresh: bool
    update: bool
    simulate: bool
    raise_on_stop: bool
