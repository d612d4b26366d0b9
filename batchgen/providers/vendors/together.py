"""Together AI. https://docs.together.ai/reference"""

from __future__ import annotations

from batchgen.providers.batch_api import BatchLimits
from batchgen.providers.batch_terms import BatchTerms
from batchgen.providers.lane import batch_lane
from batchgen.providers.vendor import Vendor
from batchgen.providers.vendors.other import OTHER

BATCHES = BatchTerms(
    limits=BatchLimits(rows=50_000, file_bytes=100_000_000), purpose="batch-api", upload="/files/upload", list_files={}
)
"""https://docs.together.ai/docs/batch-inference: OpenAI's form in other words; not every model is cheaper in it."""

TOGETHER = Vendor(
    name="together",
    base_url="https://api.together.xyz/v1",
    api_key_env="TOGETHER_API_KEY",
    hosts=("api.together.xyz", "api.together.ai"),
    means=OTHER.means,
    lanes=(batch_lane(BATCHES),),
)
