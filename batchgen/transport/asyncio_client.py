"""The fast transport: HTTP/1.1 connections on the event loop (uvloop where installed), parsed by httptools.

There is no thread and no queue between a row and its socket, only one future. Measured against a server that does
almost nothing, a request costs 14 to 25 µs of CPU time; pyreqwest (hyper, in a thread of its own) took 39 to 60 µs,
aiohttp 84 to 200 µs. Requests that are made in the same iteration of the loop are written together
(`send_buffer.Outbox`). A connection carries one request at a time, and no request is ever sent twice.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct

from batchgen.secret import Secret, Secrets
from batchgen.transport import failures
from batchgen.transport.dial import Dialler
from batchgen.transport.failures import failure
from batchgen.transport.http1 import Broken, Connection
from batchgen.transport.protocol import IDLE_S, STREAM_FACTOR
from batchgen.transport.reply_memory import Room
from batchgen.transport.route import Route
from batchgen.transport.send_buffer import Outbox
from batchgen.transport.usual_replies import UsualReplies
from batchgen.values import Failure, Request, Response

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


class _Head(Struct, frozen=True):
    """The request line and headers of requests to one URL, without the secret headers and `Content-Length`."""

    headers: Mapping[str, str]
    text: bytes


class FastTransport:
    """Sends requests over kept-alive connections. Made by `open_transport`; used only on the loop that entered it."""

    kind: Literal["fast"] = "fast"

    def __init__(
        self,
        route: Route,
        secrets: Secrets,
        concurrency: int,
        notes: Sequence[str],
        *,
        room: Room,
        connect_timeout_s: float,
    ) -> None:
        self.route = route
        self.concurrency = concurrency
        self.notes = notes
        self._secrets = secrets
        self._secret_names = {header.name.lower() for header in secrets.headers}
        self._secret_lines = Secret("".join(f"{header.name}: {header.reveal()}\r\n" for header in secrets.headers))
        self._prefix = f"{route.origin}/"
        self._connect_timeout_s = connect_timeout_s
        self._dialler = Dialler(route)
        self._usual = UsualReplies()
        self.room = room
        self._heads: dict[str, _Head] = {}
        self._idle: deque[Connection] = deque()  # the longest idle first
        self._open: set[Connection] = set()
        # Set when no file descriptors are left: an idle connection would hold one that writing results needs.
        self._keeps_none = False
        self._closed = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for connection in tuple(self._open):
            connection.end(Broken(failures.CLOSED_HERE))
        self._open.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    async def send(self, request: Request, *, timeout_s: float) -> Response | Failure:
        """See `Transport.send`."""
        head = self._heads.get(request.url)
        try:
            if head is None or head.headers is not request.headers:
                if not request.url.startswith(self._prefix):
                    return self._failure(Broken(failures.FOREIGN))
                head = self._heads[request.url] = _Head(request.headers, self._head(request))
            # Joined anew each time, so that no attribute holds a secret in plain text.
            secret = self._secret_lines.reveal().encode("latin-1")
            data = b"%b%bcontent-length: %d\r\n\r\n%b" % (head.text, secret, len(request.body), request.body)
        except ValueError as error:  # a header or URL no request can have
            return self._failure(Broken(failures.UNSENDABLE, str(error)))
        total_s, silence_s = (timeout_s * STREAM_FACTOR, timeout_s) if request.streamed else (timeout_s, math.inf)
        now_s = began_s = self._loop.time()
        connection = self._kept(now_s)
        if connection is None:
            dialled = await self._dialler.connect(self._new_connection, min(self._connect_timeout_s, timeout_s))
            if isinstance(dialled, Broken):
                if dialled.trouble is failures.OPEN_FILES:
                    self._keeps_none = True
                    self._close_idle(since_s=math.inf)
                return self._failure(dialled)
            connection = dialled
            self._open.add(connection)
            now_s = self._loop.time()
            total_s = max(0.0, total_s - (now_s - began_s))
        if self._closed:
            connection.end(Broken(failures.CLOSED_HERE))
            return self._failure(Broken(failures.CLOSED_HERE))
        reused = connection.reused
        waiter = connection.ask(data, now_s, total_s, silence_s)
        del data  # the loop frees it once it is written, not when the answer comes
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            connection.give_up(waiter)
            raise
        if isinstance(outcome, Response):
            return outcome
        limit_s = timeout_s * STREAM_FACTOR if request.streamed and outcome.trouble is failures.DEADLINE else timeout_s
        return self._failure(outcome, limit_s=limit_s, reused=reused)

    def _failure(self, broken: Broken, *, limit_s: float = 0.0, reused: bool = False) -> Failure:
        return failure(broken.trouble, self.route, self._secrets, broken.detail, limit_s=limit_s, reused=reused)

    def _new_connection(self, *, tunnel: bool) -> Connection:
        return Connection(self._keep, self._open.discard, self._outbox, self.room, self._usual, tunnel=tunnel)

    def _keep(self, connection: Connection) -> None:
        if self._keeps_none:
            self._close(connection)
            return
        connection.idle_since_s = now_s = self._loop.time()
        self._idle.append(connection)
        if self._idle[0].idle_since_s < now_s - IDLE_S:
            self._close_idle(since_s=now_s - IDLE_S)

    def _kept(self, now_s: float) -> Connection | None:
        """Return the connection that was used last, unless it has been idle so long that the server may be closing
        it."""
        while self._idle:
            connection = self._idle.pop()
            transport = connection.socket_transport
            if connection.idle_since_s >= now_s - IDLE_S and transport is not None and not transport.is_closing():
                return connection
            self._close(connection)
        return None

    def _close_idle(self, *, since_s: float) -> None:
        """Close the connections that have been idle since then or longer."""
        while self._idle and self._idle[0].idle_since_s <= since_s:
            self._close(self._idle.popleft())

    def _close(self, connection: Connection) -> None:
        connection.end(Broken(failures.CLOSED))

    def _head(self, request: Request) -> bytes:
        """Return the lines of the head but secrets and length. Raises `ValueError` for a header that HTTP does not
        allow."""
        host = self.route.origin.partition("://")[2]
        target = request.url.partition("#")[0]
        proxied = self.route.proxy is not None and self.route.origin.lower().startswith("http:")
        if not proxied:
            target = target[len(self.route.origin) :]
        if not target.isascii() or not target.isprintable() or " " in target:
            raise ValueError(f"a URL may not have a blank, a control character or a letter outside ASCII: {target!r}")
        headers = {"host": host, "user-agent": "batchgen", "accept": "*/*", "accept-encoding": "identity"}
        if proxied and self._dialler.proxy_login:
            headers["proxy-authorization"] = self._dialler.proxy_login
        for name, value in request.headers.items():
            if not _TOKEN.fullmatch(name) or _UNSENDABLE.search(value):
                raise ValueError(f"the header {name!r} has a letter in it that no header may have")
            headers[name.lower()] = value
        shown = (f"{name}: {value}" for name, value in headers.items() if name not in self._secret_names)
        lines = [f"POST {target} HTTP/1.1", *shown, ""]
        return "\r\n".join(lines).encode("latin-1")
