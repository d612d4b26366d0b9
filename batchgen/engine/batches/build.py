"""Builds the batch engine of a run: client, queue, deadline, and the engine for rows that are asked live."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec

from batchgen.engine.batches.deadline import Deadline
from batchgen.engine.batches.engine import BatchEngine, Mode
from batchgen.engine.batches.queue_room import QueueRoom, queue_path
from batchgen.engine.batches.tools import Times, Tools
from batchgen.engine.protocol import BuildEngine, EngineParts
from batchgen.transport import open_file_client

LOOK_AGAIN_S = 60.0
"""How long a batch whose creation had no reply is looked for: lists of vendors lag."""

SIMULATED_PACE = 200.0
"""The simulator's hours are seconds: it is looked at so many times as often as a vendor."""


def build_batch_engine(
    parts: EngineParts,
    *,
    directory: Path,
    live: BuildEngine,
    mode: Mode = "finish",
    take_over: bool = False,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> BatchEngine:
    """Return the engine of a job whose lane is that of batches; `live` builds that of rows that are asked live.

    `take_over`: batches that the vendor does not know are gone, although it has shown none of the run.
    """
    requests = parts.requests
    api = requests.batch_api()
    assert api is not None
    settings, look_again_s = requests.job.batch, LOOK_AGAIN_S
    endpoint = requests.endpoint
    if endpoint.simulated:
        settings = msgspec.structs.replace(settings, poll_s=settings.poll_s / SIMULATED_PACE)
        look_again_s /= SIMULATED_PACE
    client = open_file_client(endpoint.base_url, requests.secrets)
    began_s = min((record.begun_s for record in parts.batches.unfinished if record.begun_s), default=clock())
    tools = Tools(api, client, parts.batches, directory, settings, Times(clock, sleep, look_again_s), parts, began_s)
    account = hashlib.sha256((endpoint.key.reveal() if endpoint.key is not None else "").encode()).hexdigest()
    room = QueueRoom(
        None if endpoint.simulated else queue_path(endpoint.host, account),
        tools.table.mark,
        settings.queued_tokens,
        clock,
    )
    whole_s = settings.deadline_s
    deadline = Deadline(
        None if whole_s is None else began_s + whole_s, whole_s or 0.0, waits=settings.after_deadline == "wait"
    )
    return BatchEngine(tools, room, live, deadline, mode, take_over=take_over)
