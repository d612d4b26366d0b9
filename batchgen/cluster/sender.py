"""The code of a worker: it sends the requests of the driver, and returns the replies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Literal, cast

import msgspec

from batchgen.cluster.messages import (
    Arrived,
    Beat,
    Cancel,
    Destination,
    Failed,
    FromWorker,
    Head,
    Hello,
    Offered,
    Send,
    Start,
    Take,
    decode_to_worker,
    encode,
)
from batchgen.errors import BatchgenError
from batchgen.job.endpoint import secrets_from
from batchgen.job.settings import ModelJobSettings
from batchgen.secret import Secret, SecretHeader, Secrets
from batchgen.transport import open_transport
from batchgen.transport.protocol import OpenTransport
from batchgen.transport.reply_memory import SMALL_BYTES, Room
from batchgen.values import Failure, Request
from batchgen.version import __version__

BEAT_S = 1.0
"""How often a worker that has nothing to say shows that it is alive."""


class Sender:
    """Sends requests over connections of this process. It decides nothing: no retry, no pace, no budget."""

    def __init__(self, start: bytes, environ: Mapping[str, str] = os.environ) -> None:
        self._start = msgspec.msgpack.decode(start, type=Start)
        self._environ = environ
        self._stack = AsyncExitStack()
        self._heads: dict[int, Head] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._offered: dict[int, Arrived] = {}
        self._outgoing: list[FromWorker] = []
        self._wakes = asyncio.Event()
        self._transports: list[OpenTransport] = []
        self._room = Room()

    async def open(self) -> None:
        """Get ready; the first message tells whether that has worked."""
        version = self._start.version
        try:
            if version != __version__:
                raise BatchgenError(
                    f"it has batchgen {__version__}, the run {version}: install the same version everywhere"
                )
            for destination in self._start.destinations:
                self._transports.append(await self._stack.enter_async_context(self._open_transport(destination)))
        except BatchgenError as error:
            self._say(Hello(__version__, str(error)))
        else:
            self._say(Hello(__version__))

    def _open_transport(self, destination: Destination) -> OpenTransport:
        if destination.model is None:
            headers = [SecretHeader(name, Secret(value), scheme) for name, scheme, value in destination.headers]
            secrets = Secrets(headers, [Secret(value) for value in destination.others])
        else:
            secrets = secrets_from(msgspec.json.decode(destination.model, type=ModelJobSettings), self._environ)
        return open_transport(
            cast(Literal["fast", "httpx"], destination.client),
            base_url=destination.base_url,
            secrets=secrets,
            concurrency=destination.concurrency,
            room=self._room,
        )

    def take(self, group: bytes) -> None:
        """Take messages of the driver in; never blocks."""
        for message in decode_to_worker(group):
            match message:
                case Send():
                    self._tasks[message.id] = asyncio.create_task(self._send(message))
                case Head():
                    self._heads[message.number] = message
                case Take():
                    if (reply := self._offered.pop(message.id, None)) is not None:
                        self._room.release(len(reply.body))
                        self._say(reply)
                case Cancel():
                    if (task := self._tasks.get(message.id)) is not None:
                        task.cancel()
                    if (reply := self._offered.pop(message.id, None)) is not None:
                        self._room.release(len(reply.body))

    async def outgoing(self) -> bytes:
        """Return the next messages for the driver, a sign of life at least."""
        if not self._outgoing:
            try:
                await asyncio.wait_for(self._wakes.wait(), BEAT_S)
            except TimeoutError:
                return encode([Beat()])
        self._wakes.clear()
        group, self._outgoing = self._outgoing, []
        return encode(group)

    async def close(self) -> None:
        """Give up what is in flight and close the connections."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._stack.aclose()

    async def _send(self, message: Send) -> None:
        try:
            head = self._heads[message.head]
            request = Request(head.url, message.body, head.headers, message.streamed)
            outcome = await self._transports[head.destination].send(request, timeout_s=message.timeout_s)
        finally:
            del self._tasks[message.id]
        if isinstance(outcome, Failure):
            self._say(Failed(message.id, outcome))
            return
        reply = Arrived(message.id, outcome.status, dict(outcome.headers), outcome.body)
        if len(reply.body) > SMALL_BYTES:
            self._room.hold(len(reply.body))
            self._offered[message.id] = reply
            self._say(Offered(message.id, len(reply.body)))
        else:
            self._say(reply)

    def _say(self, message: FromWorker) -> None:
        self._outgoing.append(message)
        self._wakes.set()
