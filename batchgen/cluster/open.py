"""From a job's `[engine]` to the transport of its workers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from batchgen.cluster.link import Supply
from batchgen.cluster.messages import Start
from batchgen.cluster.processes import Processes
from batchgen.cluster.transport import WorkersTransport
from batchgen.errors import JobError, UsageError
from batchgen.extras import missing
from batchgen.job.endpoint import Endpoint
from batchgen.job.settings import Job, holds_secret
from batchgen.secret import Secrets
from batchgen.transport.protocol import OpenTransport
from batchgen.version import __version__


def open_workers(
    job: Job, endpoint: Endpoint, secrets: Secrets, own: OpenTransport, note: Callable[[str], None]
) -> OpenTransport:
    """Return `own`, the transport of this process, or one of workers where the job wants these.

    `note` takes a sentence for the user. Raises `UsageError` for a job whose workers could not have the secrets, or if
    Ray is not installed.
    """
    engine = job.engine
    if engine.kind == "local" and (engine.workers or 1) < 2:
        return own
    start = Start(
        version=__version__,
        base_url=endpoint.base_url,
        client=own.kind,
        concurrency=own.concurrency,
    )
    if engine.kind == "local" or endpoint.simulated:
        start = msgspec.structs.replace(
            start,
            headers=[(header.name, header.scheme, header.secret.reveal()) for header in secrets.headers],
            others=[secret.reveal() for secret in endpoint.others],
        )
    else:
        _check_secrets(job, endpoint)
        start = msgspec.structs.replace(start, model=msgspec.json.encode(job.model))
    supply: Supply
    if engine.kind == "ray":
        if (lacking := missing("ray")) is not None:
            raise UsageError(f'engine.kind = "ray" needs {lacking}')
        from batchgen.cluster.ray_nodes import RayNodes

        supply = RayNodes(engine.address, engine.workers)
    else:
        supply = Processes(engine.workers or 1)
    return WorkersTransport(supply, msgspec.msgpack.encode(start), own, note)


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
