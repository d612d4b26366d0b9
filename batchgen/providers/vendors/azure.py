"""OpenAI's models on Azure. https://learn.microsoft.com/azure/ai-foundry/openai/reference

A deployment may have any name, so that OpenAI's checks, which go by the model's name, do not hold here.
"""

from __future__ import annotations

from functools import partial

from batchgen.providers.batch_api import BatchLimits
from batchgen.providers.batch_terms import BatchTerms
from batchgen.providers.lane import batch_lane
from batchgen.providers.vendor import Vendor, means_rule
from batchgen.providers.vendors.openai import MEANS
from batchgen.providers.vendors.other import check_deployment

BATCHES = BatchTerms(
    limits=BatchLimits(rows=100_000, file_bytes=200_000_000, needs_file_ready=True),
    request_path="/chat/completions",
    form={"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592000"},  # else 500 files a resource
)
"""https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch: the model is a deployment for batches."""

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
    lanes=(batch_lane(BATCHES),),
)
