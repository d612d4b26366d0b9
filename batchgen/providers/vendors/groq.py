"""Groq. https://console.groq.com/docs/api-reference"""

from __future__ import annotations

from batchgen.providers.vendor import Vendor, means_rule

GROQ = Vendor(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    api_key_env="GROQ_API_KEY",
    hosts=("api.groq.com",),
    chat_root="/openai/v1",
    means=(  # https://console.groq.com/docs/structured-outputs: strict schemas on few models, a 400 on all others
        means_rule(r"gpt-oss", "json_schema"),
        means_rule(r"", "json_object"),
    ),
)
