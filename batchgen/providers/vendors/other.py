"""Servers of chat completions whose vendor the address does not tell: vLLM, llama.cpp, Ollama, LM Studio, gateways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from batchgen.providers.batch_api import BatchLimits
from batchgen.providers.batch_terms import BatchTerms
from batchgen.providers.lane import FLEX, batch_lane
from batchgen.providers.protocol import ModelSettings
from batchgen.providers.vendor import Finding, Vendor, means_rule


def check_deployment(settings: ModelSettings, parameters: Mapping[str, Any], *, fatal: bool) -> Iterator[Finding]:
    """Yield a path of Azure's by deployment that has no version; gateways before Azure have such paths too."""
    parts = urlsplit(settings.base_url)
    if "/openai/deployments/" in parts.path and "api-version=" not in parts.query:
        text = 'has a deployment in its path, but no version behind it: add "?api-version=2024-10-21" or another'
        yield "base_url", text, fatal


BATCHES = BatchTerms(limits=BatchLimits(rows=50_000, file_bytes=100_000_000, window_h=None))
"""Files and batches as OpenAI has them, with the least that is known of gateways."""

OTHER = Vendor(
    name="openai",
    api_key_env="OPENAI_API_KEY",
    check=partial(check_deployment, fatal=False),
    means=(
        means_rule(r"deepseek", "json_object"),  # a gateway before DeepSeek's own API
        means_rule(r"claude", "tool"),  # Anthropic's chat-completions form ignores response_format
        means_rule(r"", "json_schema"),
    ),
    lanes=(FLEX, batch_lane(BATCHES)),
)
