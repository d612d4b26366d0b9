"""From a job's `[engine]` to the transports of its workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from batchgen.cluster.messages import Destination, ReaderSettings, Start
from batchgen.errors import JobError, UsageError
from batchgen.job.endpoint import Endpoint
from batchgen.job.requests import RequestParts
from batchgen.job.settings import Job, holds_secret
from batchgen.transport.protocol import OpenTransport
from batchgen.version import __version__

if TYPE_CHECKING:
    from batchgen.cluster.link import Supply


def open_workers(
    job: Job, requests: RequestParts, own: Sequence[OpenTransport], note: Callable[[str], None]
) -> Sequence[OpenTransport]:
    """Return the transports of workers, in place of `own`, those of this process to the job's endpoints.

    `note` takes a sentence for the user. Raises `UsageError` for a job whose workers could not have the secrets, or if
    Ray is not installed.
    """
    engine = job.engine
    sites = requests.sites or (requests,)
    given = engine.kind == "local" or requests.endpoint.simulated
    start = Start(
        version=__version__,
        destinations=[_destination(site, transport, given=given) for site, transport in zip(sites, own, strict=True)],
    )
    from batchgen.cluster.processes import Processes  # with all that only workers need
    from batchgen.cluster.transport import SharedWorkers, WorkersTransport

    supply: Supply
    if engine.kind == "ray":
        if (lacking := engine.lacking()) is not None:
            raise UsageError(lacking)
        from batchgen.cluster.ray_nodes import RayNodes

        supply = RayNodes(engine.address, engine.workers)
    else:
        supply = Processes(engine.workers or 1)
    workers = SharedWorkers(supply, msgspec.msgpack.encode(start), note)
    return [WorkersTransport(workers, place, transport) for place, transport in enumerate(own)]


def _destination(site: RequestParts, own: OpenTransport, *, given: bool) -> Destination:
    """Return what workers need for an endpoint. `given`: its secrets with it, else they are read on each node."""
    settings = site.keys.settings
    destination = Destination(
        base_url=site.endpoint.base_url,
        client=own.kind,
        concurrency=own.concurrency,
        reading=ReaderSettings(
            provider=site.job.model.provider,
            model=settings.name,
            omit=settings.omit,
            in_lane=site.lane is not None,
        ),
    )
    if not given:
        _check_secrets(site.job, site.endpoint)
        return msgspec.structs.replace(destination, model=msgspec.json.encode(site.job.model))
    return msgspec.structs.replace(
        destination,
        headers=[(header.name, header.scheme, header.secret.reveal()) for header in site.secrets.headers],
        others=[secret.reveal() for secret in site.endpoint.others],
    )


def _check_secrets(job: Job, endpoint: Endpoint) -> None:
    """Raise `JobError` for a secret in the job itself: nodes read secrets from their own environment only."""
    for name, value in job.model.headers.items():
        if isinstance(value, str) and holds_secret(name, value):
            raise JobError(
                f'model.headers.{name} holds a secret, which would be sent to every node: use {{ env = "NAME" }}, and '
                "set that variable on each node."
            )
    if endpoint.others:
        raise JobError(
            "model.base_url holds a secret, which would be sent to every node: put it into a header of the form "
            '{ env = "NAME" }, and set that variable on each node.'
        )
