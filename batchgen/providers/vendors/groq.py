"""Groq. https://console.groq.com/docs/api-reference"""

from __future__ import annotations

from batchgen.providers.batch_api import BatchLimits
from batchgen.providers.batch_terms import BatchTerms
from batchgen.providers.lane import batch_lane
from batchgen.providers.vendor import Vendor, means_rule

BATCHES = BatchTerms(limits=BatchLimits(rows=50_000, file_bytes=100_000_000, window_h=(24, 168)))
"""https://console.groq.com/docs/batch"""

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
    lanes=(batch_lane(BATCHES),),
)
