"""OpenAI. https://github.com/openai/openai-openapi"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchgen.attachments.limits import AttachmentLimits
from batchgen.providers.batch_api import BatchLimits
from batchgen.providers.batch_terms import BatchTerms
from batchgen.providers.lane import FLEX, batch_lane
from batchgen.providers.protocol import ModelSettings
from batchgen.providers.request_parts import from_column
from batchgen.providers.vendor import Finding, Vendor, means_rule
from batchgen.providers.vendors.other import OTHER

_REASONING_MODEL = re.compile(r"^(?:o\d|gpt-(?:[5-9]|\d\d))")
_NO_STOP = re.compile(r"^(?:o3|o4-mini)")

MEANS = (  # https://platform.openai.com/docs/guides/structured-outputs: models from gpt-4o-2024-08-06 on
    means_rule(r"^o1-(?:mini|preview)", "instruction"),
    means_rule(r"^gpt-4(?:-0\d|-32k|$)", "tool"),
    means_rule(r"^gpt-3\.5|^gpt-4-|^gpt-4o-2024-05-13", "json_object"),
    means_rule(r"", "json_schema"),
)


def _check(settings: ModelSettings, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    model, stop, metadata = settings.name, parameters.get("stop"), parameters.get("metadata")
    if isinstance(stop, list) and len(stop) > 4:
        yield "parameters.stop", f"takes at most 4 strings, not {len(stop)}", True
    if stop is not None and _NO_STOP.match(model):
        yield "parameters.stop", f"{model} is known to refuse it", False
    if isinstance(metadata, Mapping) and not from_column(metadata) and len(metadata) > 16:
        yield "parameters.metadata", f"takes at most 16 pairs, not {len(metadata)}", True
    if _REASONING_MODEL.match(model):
        if "max_tokens" in parameters:
            yield "parameters.max_tokens", f"{model} is known to refuse it: use max_completion_tokens", False
        for name in ("temperature", "top_p"):
            if parameters.get(name, 1) != 1:
                yield f"parameters.{name}", f"{model} is known to take only the default", False


BATCHES = BatchTerms(limits=BatchLimits(rows=50_000, file_bytes=200_000_000))
"""https://platform.openai.com/docs/guides/batch"""

OPENAI = Vendor(
    attachments=AttachmentLimits(bytes=35_000_000, request=50_000_000),  # 50 MB a request, as base64
    name="openai",
    base_url="https://api.openai.com/v1",
    api_key_env="OPENAI_API_KEY",
    hosts=("api.openai.com", ".api.openai.com"),
    elsewhere=OTHER,
    check=_check,
    means=MEANS,
    shows_schema=True,
    lanes=(FLEX, batch_lane(BATCHES)),
)
"""The word also means chat completions at any server, of which less is known than of OpenAI's own."""
