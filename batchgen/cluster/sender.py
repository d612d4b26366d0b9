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
from batchgen.transport.reply_memory import SMALL_BYTES
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
        self._transport: OpenTransport | None = None

    async def open(self) -> None:
        """Get ready; the first message tells whether that has worked."""
        try:
            self._transport = await self._stack.enter_async_context(self._open_transport())
        except BatchgenError as error:
            self._say(Hello(__version__, str(error)))
        else:
            self._say(Hello(__version__, concurrency=self._transport.concurrency))

    def _open_transport(self) -> OpenTransport:
        start = self._start
        if start.version != __version__:
            raise BatchgenError(
                f"it has batchgen {__version__}, the run {start.version}: install the same version everywhere"
            )
        if start.model is None:
            headers = [SecretHeader(name, Secret(value), scheme) for name, scheme, value in start.headers]
            secrets = Secrets(headers, [Secret(value) for value in start.others])
        else:
            secrets = secrets_from(msgspec.json.decode(start.model, type=ModelJobSettings), self._environ)
        return open_transport(
            cast(Literal["fast", "httpx"], start.client),
            base_url=start.base_url,
            secrets=secrets,
            concurrency=start.concurrency,
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
                        self._release(reply)
                        self._say(reply)
                case Cancel():
                    if (task := self._tasks.get(message.id)) is not None:
                        task.cancel()
                    if (reply := self._offered.pop(message.id, None)) is not None:
                        self._release(reply)

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
        assert self._transport is not None
        try:
            head = self._heads[message.head]
            request = Request(head.url, message.body, head.headers, message.streamed)
            outcome = await self._transport.send(request, timeout_s=message.timeout_s)
        finally:
            del self._tasks[message.id]
        if isinstance(outcome, Failure):
            self._say(Failed(message.id, outcome))
            return
        reply = Arrived(message.id, outcome.status, dict(outcome.headers), outcome.body)
        if len(reply.body) > SMALL_BYTES:
            self._transport.room.hold(len(reply.body))
            self._offered[message.id] = reply
            self._say(Offered(message.id, len(reply.body)))
        else:
            self._say(reply)

    def _release(self, reply: Arrived) -> None:
        assert self._transport is not None
        self._transport.room.release(len(reply.body))

    def _say(self, message: FromWorker) -> None:
        self._outgoing.append(message)
        self._wakes.set()
