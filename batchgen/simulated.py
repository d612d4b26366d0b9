"""The simulated provider in this process, in place of a job's own: `run --simulate`, and `simulate=True` in Python."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import structs

from batchgen.job.endpoint import Endpoint
from batchgen.job.settings import Job
from batchgen.providers import wire_of
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread
from batchgen.storage.own_files import SIMULATED_BATCHES
from batchgen.storage.run_state import SIMULATOR, read_run_json

BASE_PATHS = {"dashscope": "", "openai": "/compatible-mode/v1", "anthropic": ""}
"""Where the simulator serves each wire format, below its address."""

DEMONSTRATION = Settings(latency_ms=150, latency_sigma=0.4)
"""Quick, but with answers that come back out of order as real ones do."""


@contextmanager
def simulated_endpoint(job: Job, *, keeps: bool = True) -> Iterator[Endpoint]:
    """Serve the simulator in a thread of this process and yield the endpoint that leads to it.

    `keeps`: what its batch APIs keep is in the output directory until the run is complete, so that a later process
    finds its batches again.
    """
    lane, wire = job.model.lane, wire_of(job.model.provider)
    path = BASE_PATHS["openai" if lane in ("batch-chat", "batch") and wire == "dashscope" else wire]
    if lane == "flex" or (lane == "batch" and wire == "openai"):
        path = "/v1"  # OpenAI's own form: compatible mode has one class of service
    directory = job.output.directory / SIMULATED_BATCHES
    settings = structs.replace(DEMONSTRATION, batch_chat=lane == "batch-chat")
    handle = start_in_thread(settings, directory=directory if keeps else None)
    try:
        yield Endpoint(handle.url + path, Secret("simulated"), SIMULATOR)
    finally:
        handle.close()
        state = read_run_json(directory.parent) if directory.is_dir() else None
        if state is not None and state.state == "complete":
            shutil.rmtree(directory)
