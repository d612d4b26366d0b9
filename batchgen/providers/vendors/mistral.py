"""Mistral. https://docs.mistral.ai/api

Unlike most it refuses every field that it does not know (422, `extra_forbidden`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchgen.providers.batch_api import BatchIntent, BatchLimits
from batchgen.providers.batch_terms import BatchTerms, named
from batchgen.providers.lane import batch_lane
from batchgen.providers.protocol import ModelSettings
from batchgen.providers.vendor import CHAT_RANGES, Finding, Range, Vendor, means_rule
from batchgen.text.figures import seconds_of

_OTHER_NAMES = {"seed": "random_seed", "max_completion_tokens": "max_tokens"}


def _check(settings: ModelSettings, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    for name, theirs in _OTHER_NAMES.items():
        if name in parameters:
            yield f"parameters.{name}", f"is refused by Mistral: use {theirs}", True


def _batch(intent: BatchIntent, url: str) -> dict[str, Any]:
    hours = (seconds_of(intent.window) or 0) / 3600
    return {
        "input_files": [intent.input_file],
        "model": intent.model,
        "endpoint": url,
        "timeout_hours": int(hours),
        "metadata": named(intent),
    }


BATCHES = BatchTerms(
    limits=BatchLimits(rows=1_000_000, file_bytes=512_000_000, window_h=(1, 168)),
    batches="/batch/jobs",
    list_files={"page_size": "100"},
    list_batches={"page_size": "100"},
    since="created_after",
    body=_batch,
    bare_lines=True,
)
"""https://docs.mistral.ai/capabilities/batch: jobs with names of their own, the model beside the file."""

MISTRAL = Vendor(
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    api_key_env="MISTRAL_API_KEY",
    hosts=("api.mistral.ai",),
    omits=("stream_options",),  # the last frame of a stream has the usage unasked
    ranges={**CHAT_RANGES, "random_seed": Range(lambda n: n >= 0, "a whole number from 0", whole=True)},
    check=_check,
    means=(  # https://docs.mistral.ai/capabilities/structured-output/custom_structured_output
        means_rule(r"mamba", "json_object"),
        means_rule(r"", "json_schema"),
    ),
    lanes=(batch_lane(BATCHES),),
)
