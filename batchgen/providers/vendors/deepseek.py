"""DeepSeek's own API. https://api-docs.deepseek.com"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchgen.providers.protocol import ModelSettings
from batchgen.providers.vendor import Finding, Vendor, known_to_think, means_rule

_WITHOUT_EFFECT = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


def _check(settings: ModelSettings, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    if known_to_think(settings.name, parameters):  # https://api-docs.deepseek.com/guides/thinking_mode
        for name in _WITHOUT_EFFECT:
            if name in parameters:
                yield f"parameters.{name}", f"has no effect on {settings.name}, which thinks", False
        for name in ("logprobs", "top_logprobs"):
            if parameters.get(name):
                yield f"parameters.{name}", f"{settings.name} is known to refuse it", False


DEEPSEEK = Vendor(
    name="deepseek",
    base_url="https://api.deepseek.com",
    api_key_env="DEEPSEEK_API_KEY",
    hosts=("api.deepseek.com", ".deepseek.com"),
    check=_check,
    means=(means_rule(r"", "json_object"),),  # https://api-docs.deepseek.com/guides/json_mode
)
