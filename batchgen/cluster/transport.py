"""Transports whose requests are sent by workers, one for each endpoint; the engine sees no difference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from batchgen.cluster.link import Supply
from batchgen.cluster.pool import Pool, Worker
from batchgen.errors import ResourceStop
from batchgen.transport.protocol import OpenTransport, ReadReply
from batchgen.transport.reply_memory import Room
from batchgen.transport.route import Route
from batchgen.values import Failure, FailureKind, Request, Verdict

WAIT_FOR_WORKER_S = 10.0
"""How long a request waits for a worker before the engine is told that it could not be sent."""


class SharedWorkers:
    """The workers of `supply`, which are there from the first `begin` to the last `end`."""

    def __init__(self, supply: Supply, start: bytes, note: Callable[[str], None]) -> None:
        self._supply = supply
        self.room = Room()
        self._note = note
        self._start = start
        self._users = 0

    async def begin(self) -> None:
        """Start the workers, and return when the first one works. Raises `StoppedError` if none can."""
        self._users += 1
        if self._users > 1:
            return
        await self._supply.start()
        self._pool = Pool(self._supply, self._start, self.room, self._note)
        self.post = self._pool.post
        begun = asyncio.Event()
        self._running = asyncio.create_task(self._pool.run(begun))
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait((waiting, self._running), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        problem = self._pool.problem
        if problem is not None or self._running.done():
            await self.end()
            if problem is None:
                self._running.result()
            raise ResourceStop(problem or "", "Mend what is named; then the same command goes on from here.")

    async def end(self) -> None:
        """End the workers if nobody else uses them."""
        self._users -= 1
        if self._users:
            return
        self._running.cancel()
        with suppress(asyncio.CancelledError, Exception):  # what the pool failed of has been told by `send`
            await self._running
        await self._supply.close()

    async def choose(self, timeout_s: float) -> Worker | None:
        """Return the worker for a request; None if there is none in time. Raises the error that ended the pool."""
        if self._running.done():
            self._running.result()
        return await self._pool.choose(min(timeout_s, WAIT_FOR_WORKER_S))


class WorkersTransport:
    """Sends requests to one destination of the workers. `own` is the transport that this process would have used."""

    def __init__(self, workers: SharedWorkers, destination: int, own: OpenTransport) -> None:
        self._workers = workers
        self._destination = destination
        self._own = own
        self.room = workers.room

    @property
    def kind(self) -> Literal["fast", "httpx"]:
        """Which client the workers use."""
        return self._own.kind

    @property
    def route(self) -> Route:
        """The host that requests go to."""
        return self._own.route

    @property
    def concurrency(self) -> int:
        """The most requests in flight, of all workers together."""
        return self._own.concurrency

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user."""
        return self._own.notes

    async def __aenter__(self) -> Self:
        """Have the workers started. Raises `StoppedError` if none can work."""
        await self._workers.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._workers.end()

    async def send(self, request: Request, *, timeout_s: float) -> ReadReply | Failure:
        """See `Transport.send`. A worker that is lost may have sent the request: `maybe_billed`."""
        while True:
            worker = self._workers.post.worker or await self._workers.choose(timeout_s)
            if worker is None:
                text = f"no worker is there to send the request to {self.route.host}"
                return Failure(FailureKind.NETWORK, Verdict.RETRY, text, code="connect")
            outcome = await worker.send(request, self._destination, timeout_s)
            if outcome is not None:
                return outcome
