"""The code of a worker: it sends the requests of the driver, reads the replies, and returns what they mean."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Literal, cast

import msgspec

from batchgen.cluster.messages import (
    GROUP,
    Cancel,
    Completed,
    Destination,
    Failed,
    FromWorker,
    Head,
    Hello,
    Offered,
    Refused,
    Send,
    Start,
    Take,
    decode_to_worker,
    encode,
)
from batchgen.errors import BatchgenError
from batchgen.job.endpoint import secrets_from
from batchgen.job.settings import ModelJobSettings
from batchgen.providers import open_reader
from batchgen.providers.protocol import ModelSettings, Provider
from batchgen.secret import Secret, SecretHeader, Secrets
from batchgen.transport import open_transport
from batchgen.transport.protocol import OpenTransport
from batchgen.transport.reply_memory import SMALL_BYTES, Room
from batchgen.values import Failure, Request, Response
from batchgen.version import __version__

BEAT_S = 1.0
"""How often a worker that has nothing to say shows that it is alive, in seconds."""


class Sender:
    """Sends requests over connections of this process, and reads the replies. It decides nothing: no retry, no pace, no
    budget. What it has to say is gathered for `gather_s` seconds after the last group that it handed over, or until it
    is `GROUP` messages."""

    def __init__(self, start: bytes, gather_s: float, environ: Mapping[str, str] = os.environ) -> None:
        self._start = msgspec.msgpack.decode(start, type=Start)
        self._gather_s = gather_s
        self._environ = environ
        self._loop = asyncio.get_running_loop()
        self._stack = AsyncExitStack()
        self._heads: dict[int, Head] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._offered: dict[int, Completed | Refused] = {}
        self._outgoing: list[FromWorker] = []
        self._left_s = -math.inf
        self._due: asyncio.TimerHandle | None = None
        self._caller: asyncio.Future[bytes] | None = None
        self._fault: BaseException | None = None
        self._transports: list[OpenTransport] = []
        self._readers: list[Provider] = []
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
                self._readers.append(_open_reader(destination))
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
                    task = self._tasks[message.id] = self._loop.create_task(self._send(message))
                    task.add_done_callback(self._ended)
                case Head():
                    self._heads[message.number] = message
                case Take():
                    if (reply := self._offered.pop(message.id, None)) is not None:
                        self._room.release(reply.size)
                        self._say(reply)
                case Cancel():
                    if (task_or_none := self._tasks.get(message.id)) is not None:
                        task_or_none.cancel()
                    if (reply := self._offered.pop(message.id, None)) is not None:
                        self._room.release(reply.size)

    async def outgoing(self) -> bytes:
        """Return the next messages for the driver, none if there are none for a while: a sign of life.

        An earlier call that still waits returns at once. Raises what no request may raise: then the worker is at fault,
        and has to end.
        """
        if self._fault is not None:
            raise self._fault
        self._hand_over()
        caller: asyncio.Future[bytes] = self._loop.create_future()
        self._caller = caller
        if len(self._outgoing) >= GROUP:
            self._hand_over()
        elif self._outgoing:
            self._arrange()
        silent = self._loop.call_later(BEAT_S, self._hand_over)
        try:
            return await caller
        finally:
            silent.cancel()

    async def close(self) -> None:
        """Give up what is in flight and close the connections."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._stack.aclose()

    async def _send(self, message: Send) -> None:
        number = message.id
        try:
            head = self._heads[message.head]
            request = Request(head.url, message.body, head.headers, head.streamed, head.model)
            response = await self._transports[head.destination].send(request, timeout_s=message.timeout_s)
        finally:
            del self._tasks[number]
        if isinstance(response, Failure):
            self._say(Failed(number, response))
            return
        assert isinstance(response, Response)
        outcome, size = self._readers[head.destination].read_response(request, response), len(response.body)
        reply = Refused(number, size, outcome) if isinstance(outcome, Failure) else Completed(number, size, outcome)
        if size > SMALL_BYTES:
            self._room.hold(size)
            self._offered[number] = reply
            self._say(Offered(number, size))
        else:
            self._say(reply)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._fault = error
        if self._caller is not None and not self._caller.done():
            self._caller.set_exception(error)

    def _say(self, message: FromWorker) -> None:
        self._outgoing.append(message)
        if self._caller is None:
            return
        if self._due is None:
            self._arrange()
        elif len(self._outgoing) >= GROUP:
            self._hand_over()

    def _arrange(self) -> None:
        """Have the messages handed over: with all others of this moment, and not too soon after the last ones."""
        wait_s = max(0.0, self._left_s + self._gather_s - self._loop.time())
        self._due = self._loop.call_later(wait_s, self._hand_over)

    def _hand_over(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        caller, self._caller = self._caller, None
        if caller is not None and not caller.done():
            group, self._outgoing = self._outgoing, []
            if group:
                self._left_s = self._loop.time()
            caller.set_result(encode(group))


def _open_reader(destination: Destination) -> Provider:
    reading = destination.reading
    settings = ModelSettings(name=reading.model, base_url=destination.base_url, omit=reading.omit)
    return open_reader(reading.provider, settings, in_lane=reading.in_lane)
