"""The simulated provider in this process, in place of a job's own: `run --simulate`, and `simulate=True` in Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import structs

from batchgen.job.endpoint import Endpoint
from batchgen.job.settings import Job
from batchgen.providers import wire_of
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread
from batchgen.storage.run_state import SIMULATOR

BASE_PATHS = {"dashscope": "", "openai": "/compatible-mode/v1", "anthropic": ""}
"""Where the simulator serves each wire format, below its address."""

DEMONSTRATION = Settings(latency_ms=150, latency_sigma=0.4)
"""Quick, but with answers that come back out of order as real ones do."""


@contextmanager
def simulated_endpoint(job: Job) -> Iterator[Endpoint]:
    """Serve the simulator in a thread of this process and yield the endpoint that leads to it."""
    batch_chat = job.model.lane == "batch-chat"
    handle = start_in_thread(structs.replace(DEMONSTRATION, batch_chat=batch_chat))
    wire = wire_of(job.model.provider)
    path = BASE_PATHS["openai" if wire == "dashscope" and job.model.lane in ("batch-chat", "batch") else wire]
    if job.model.lane == "flex":
        path = "/v1"  # OpenAI's own form: compatible mode has one class of service
    try:
        yield Endpoint(handle.url + path, Secret("simulated"), SIMULATOR)
    finally:
        handle.close()
