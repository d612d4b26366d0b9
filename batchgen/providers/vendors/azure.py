"""OpenAI's models on Azure. https://learn.microsoft.com/azure/ai-foundry/openai/reference

A deployment may have any name, so that OpenAI's checks, which go by the model's name, do not hold here.
"""

from __future__ import annotations

from functools import partial

from batchgen.providers.vendor import Vendor, means_rule
from batchgen.providers.vendors.openai import MEANS
from batchgen.providers.vendors.other import check_deployment

AZURE = Vendor(
    name="azure",
    api_key_env="AZURE_OPENAI_API_KEY",
    hosts=tuple(
        f".{service}.azure.{country}"
        for service in ("openai", "cognitiveservices", "services.ai")
        for country in ("com", "us", "cn")
    ),
    chat_root="/openai/v1",
    key_headers={"openai": "api-key"},  # a token of Entra ID goes where `api_key_header = "Authorization"` says
    check=partial(check_deployment, fatal=True),
    means=(means_rule(r"^gpt-35|deepseek", "json_object"), *MEANS),
    shows_schema=True,
)
