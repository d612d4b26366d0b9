"""The transport of the hot path: pyreqwest (hyper and rustls on a thread of its own, outside the interpreter lock).

Measured on one core against a near-free server: all ways to build a request (URL parsed before, header map or template
made before, consumed or streamed) lie within 10 % of each other, 33-40 µs of CPU, so the plainest is used. Of the two
forms the streamed one lets a body be capped.

hyper repeats a request by itself only if no byte of it was written (the kept connection was found closed), never after.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Literal, Self

import anyio
import anyio.lowlevel
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ClientClosedError, DetailedPyreqwestError, PyreqwestError, RequestTimeoutError
from pyreqwest.http import HeaderMap
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.response import Response as Reply
from pyreqwest.response import ResponseBodyReader

from batchgen.secret import Secret
from batchgen.transport import (
    BODY_CAP,
    IDLE_S,
    KEEPALIVE_COUNT,
    KEEPALIVE_INTERVAL_S,
    KEEPALIVE_S,
    STREAM_FACTOR,
    failures,
)
from batchgen.transport.descriptors import descriptors_exhausted
from batchgen.transport.failures import Trouble, failure
from batchgen.transport.room import PIECE_BYTES, Room
from batchgen.transport.route import Route
from batchgen.transport.trust import extra_authorities
from batchgen.values import KEPT_HEADERS, Failure, Request, Response

LEAVE_S = 0.05
"""Time for pyreqwest's thread to leave the interpreter after the last reply. A process that ends while it is still
inside dies of SIGABRT (`PyGILState_Release`; 5-50 % of processes that ended at once did so, with 20 ms none)."""

CONNECTING = "client error (Connect)"
"""The cause by which pyreqwest's errors tell connecting from all that follows (their classes do not)."""

CONNECT_SIGNS = (
    ("os error 24", failures.OPEN_FILES),
    ("os error 23", failures.OPEN_FILES),
    ("os error 16", failures.OPEN_FILES),  # what glibc's resolver makes of them
    ("invalid peer certificate", failures.CERTIFICATE),
    ("InvalidContentType", failures.NOT_TLS),
    ("received fatal alert", failures.TLS),
    ("proxy authorization required", failures.PROXY_LOGIN),
    ("tunnel", failures.PROXY),
    ("dns error", failures.DNS),
    ("", failures.CONNECT),
)
"""Words in the causes of an error while connecting, and what they mean; the first match counts."""

REPLY_SIGNS = (
    ("connection closed before message completed", failures.CLOSED),
    ("end of file", failures.CUT),
    ("error reading a body from connection", failures.CUT),
    ("response body", failures.BAD_ENCODING),
    ("connection error", failures.CLOSED),
    ("", failures.BAD_HTTP),
)
"""The same for an error behind the connecting."""


class FastTransport:
    """Sends over pyreqwest. Made by `open_transport`.

    pyreqwest 0.15 does not stop a request whose await is cancelled before the reply's head: its connection stays until
    a timeout of the client's own. So each request carries one: plain ones their `timeout_s`, streamed ones a read
    timeout, which only a whole client can have (`_client_for`). Silence itself is measured here, to the second.
    """

    kind: Literal["fast"] = "fast"

    def __init__(
        self,
        route: Route,
        key: Secret | None,
        concurrency: int,
        notes: Sequence[str],
        connect_timeout_s: float,
    ) -> None:
        self.route = route
        self.concurrency = concurrency
        self.notes = notes
        self._secret = key
        self._prefix = f"{route.origin}/"
        self._connect_timeout_s = connect_timeout_s
        self._authorities = extra_authorities()
        self._client = self._build_client(read_timeout_s=None)
        self._streaming: dict[float, Client] = {}
        self._room = Room()
        self._answered = False  # before the first whole reply no connection can be a kept one

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in (self._client, *self._streaming.values()):
            await client.close()
        del self._client  # idle connections end with the client, not with its close()
        self._streaming.clear()
        await asyncio.sleep(LEAVE_S)

    async def send(self, request: Request, *, timeout_s: float) -> Response | Failure:
        """See `Transport.send`."""
        if not request.url.startswith(self._prefix):
            return failure(failures.FOREIGN, self.route, self._secret, "")
        if not request.streamed:
            return await self._attempt(self._client, request, timeout_s, None, timeout_s)
        client = self._client_for(timeout_s)
        with anyio.move_on_after(timeout_s) as silence:
            return await self._attempt(client, request, timeout_s * STREAM_FACTOR, silence, timeout_s)
        return failure(failures.SILENCE, self.route, self._secret, "", limit_s=timeout_s)

    async def _attempt(
        self, client: Client, request: Request, total_s: float, silence: anyio.CancelScope | None, silence_s: float
    ) -> Response | Failure:
        try:
            builder = client.post(request.url).headers(request.headers).body_bytes(request.body)
            builder.timeout(timedelta(seconds=total_s))
            if silence is not None:
                builder.streamed_read_buffer_limit(0)  # else up to 64 KB are gathered before the first chunk is shown
            sending = builder.build_streamed()
        except ValueError as error:  # a header or URL no request can have
            return failure(failures.UNSENDABLE, self.route, self._secret, f"{type(error).__name__}: {error}")
        try:
            async with sending as reply:
                if silence is None:
                    start = bytes(await reply.body_reader.read(PIECE_BYTES) or b"")
                    body = start if len(start) < PIECE_BYTES else await self._read_on(reply.body_reader, start)
                else:
                    body = await self._read_events(reply.body_reader, silence, silence_s)
                if body is None:
                    return failure(failures.TOO_LARGE, self.route, self._secret, f"over {BODY_CAP} bytes")
                encoding = _header(reply, "content-encoding")
                if encoding is not None and encoding != "identity":  # decoded ones have lost the header
                    return failure(failures.BAD_ENCODING, self.route, self._secret, encoding)
                kept = {name: value for name in KEPT_HEADERS if (value := _header(reply, name)) is not None}
                self._answered = True
                return Response(reply.status, kept, body)
        except asyncio.CancelledError:
            # pyreqwest raises one of its own, by which anyio does not know its scope again: let anyio's own come first.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise
        except PyreqwestError as error:
            trouble, detail = read_error(error)
            return failure(trouble, self.route, self._secret, detail, limit_s=total_s, reused=self._answered)

    async def _read_on(self, reader: ResponseBodyReader, start: bytes) -> bytes | None:
        """Return a body that is not small, None if it is larger than the cap."""
        with self._room.body() as body:
            await body.add(start)
            while body.size <= BODY_CAP and (piece := await reader.read(PIECE_BYTES)):
                await body.add(bytes(piece))
            return body.joined() if body.size <= BODY_CAP else None

    async def _read_events(
        self, reader: ResponseBodyReader, silence: anyio.CancelScope, silence_s: float
    ) -> bytes | None:
        """Return the whole stream, None if it is larger than the cap; each chunk moves the end of patience."""
        with self._room.body() as body:
            while body.size <= BODY_CAP and (chunk := await reader.read_chunk()) is not None:
                if self._room.full:
                    silence.deadline = math.inf  # what is waited for now is not the server's to send
                await body.add(bytes(chunk))
                silence.deadline = anyio.current_time() + silence_s
            return body.joined() if body.size <= BODY_CAP else None

    def _client_for(self, timeout_s: float) -> Client:
        """Return the client for streams of this patience: one for each power of two, so that they stay few."""
        patience_s = 2.0 ** math.ceil(math.log2(timeout_s))
        if patience_s not in self._streaming:
            self._streaming[patience_s] = self._build_client(read_timeout_s=patience_s)
        return self._streaming[patience_s]

    def _build_client(self, *, read_timeout_s: float | None) -> Client:
        headers = HeaderMap({"user-agent": "batchgen", "accept-encoding": "identity"})
        if self._secret is not None:
            headers.insert("authorization", f"Bearer {self._secret.reveal()}", is_sensitive=True)
        builder = (
            ClientBuilder()
            .default_headers(headers)
            .follow_redirects(False)
            .referer(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .gzip(True)  # not asked for, yet unpacked if it comes, bit by bit
            .connect_timeout(timedelta(seconds=self._connect_timeout_s))
            .pool_max_idle_per_host(self.concurrency)
            .pool_idle_timeout(timedelta(seconds=IDLE_S))
            .tcp_nodelay(True)
            .tcp_keepalive(timedelta(seconds=KEEPALIVE_S))
            .tcp_keepalive_interval(timedelta(seconds=KEEPALIVE_INTERVAL_S))
            .tcp_keepalive_retries(KEEPALIVE_COUNT)
            .no_proxy()
        )
        if read_timeout_s is not None:
            builder.read_timeout(timedelta(seconds=read_timeout_s))
        if self.route.proxy is not None:
            builder.proxy(ProxyBuilder.all(self.route.proxy))
        if self._authorities is not None:
            builder.add_root_certificate_pem(self._authorities.read_bytes())
        return builder.build()


def _header(reply: Reply, name: str) -> str | None:
    try:
        return reply.get_header(name)
    except ValueError:  # bytes outside ASCII: nothing that is read here has them
        return None


def read_error(error: PyreqwestError) -> tuple[Trouble, str]:
    """Return what an error of pyreqwest means, and its class and last cause in words."""
    causes = (
        [cause["message"] for cause in error.details["causes"] or ()]
        if isinstance(error, DetailedPyreqwestError)
        else []
    )
    detail = f"{type(error).__name__}: {causes[-1] if causes else error.message}"
    if isinstance(error, ClientClosedError):
        return failures.CLOSED_HERE, detail
    connecting = CONNECTING in causes
    if isinstance(error, RequestTimeoutError):
        return (failures.CONNECT_TIMEOUT if connecting else failures.DEADLINE), ""
    words = "\n".join(causes)
    signs = CONNECT_SIGNS if connecting else REPLY_SIGNS
    trouble = next(trouble for sign, trouble in signs if sign in words)
    if trouble in (failures.DNS, failures.CONNECT) and descriptors_exhausted():
        trouble = failures.OPEN_FILES
    return trouble, detail
