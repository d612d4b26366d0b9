"""Builds the batch engine of a run: endpoints, queues, deadline, and the engine for rows that are asked live."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec

from batchgen.engine.batches.deadline import Deadline
from batchgen.engine.batches.engine import BatchEngine, Mode
from batchgen.engine.batches.leaving import Leaving
from batchgen.engine.batches.queue_room import QueueRoom, queue_path
from batchgen.engine.batches.sites import BatchSite, BatchSites, queue_account, site_identity
from batchgen.engine.batches.tools import Times, Tools
from batchgen.engine.protocol import BuildEngine, EngineParts
from batchgen.job.endpoint_settings import EndpointSettings
from batchgen.money.reservation import Reservations
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
    settings, look_again_s = requests.job.batch, LOOK_AGAIN_S
    if requests.endpoint.simulated:
        settings = msgspec.structs.replace(settings, poll_s=settings.poll_s / SIMULATED_PACE)
        look_again_s /= SIMULATED_PACE
    began_s = min((record.begun_s for record in parts.batches.unfinished if record.begun_s), default=clock())
    sites = BatchSites(
        _open_sites(parts, clock, seen_any=take_over),
        clock,
        lambda text: parts.reporter.note(parts.results.masker.message(text)),
    )
    sites.check(parts.batches.unfinished)
    times = Times(clock, sleep, look_again_s)
    tools = Tools(sites, sites.all[0], parts.batches, directory, settings, times, parts, Leaving(), began_s)
    whole_s = settings.deadline_s
    deadline = Deadline(
        None if whole_s is None else began_s + whole_s, whole_s or 0.0, waits=settings.after_deadline == "wait"
    )
    return BatchEngine(tools, live, deadline, mode)


def _open_sites(parts: EngineParts, clock: Callable[[], float], *, seen_any: bool) -> list[BatchSite]:
    """Return the endpoints whose lane is that of batches; those of one account have one queue."""
    job, run = parts.requests.job, parts.batches.mark
    rooms: dict[Path | str, QueueRoom] = {}
    found = []
    for place, one in enumerate(parts.requests.sites or (parts.requests,)):
        api = one.batch_api()
        if api is None:
            continue
        own = job.model.endpoints[place] if parts.requests.sites else EndpointSettings()
        account = queue_account(one, own.account)
        path = None if one.endpoint.simulated else queue_path(one.endpoint.host, account)
        rows, size = job.batch.largest_file(api.limits)
        found.append(
            BatchSite(
                place=place,
                identity=site_identity(one) if parts.requests.sites else "",
                requests=one,
                api=api,
                client=open_file_client(one.endpoint.base_url, one.secrets),
                room=rooms.setdefault(path or account, QueueRoom(path, run, job.batch.queued_tokens, clock)),
                reservations=Reservations(
                    parts.budget,
                    price_of=one.price_of.reserved,
                    model=one.model,
                    parameters=one.parameters,
                    currency=parts.requests.currency or "",
                ),
                most_rows=rows,
                most_bytes=size,
                weight=own.weight,
                seen_any=seen_any,
            )
        )
    return found
