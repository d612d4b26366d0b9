"""The transport of the hot path: pyreqwest (hyper and rustls on a thread of its own, outside the interpreter lock).

Measured on one core against a near-free server: all ways to build a request (URL parsed before, header map or template
made before, consumed or streamed) lie within 10 % of each other, 33-40 µs of CPU, so the plainest is used. Of the two
forms the streamed one lets a body be capped.

hyper repeats a request by itself only if no byte of it was written (the kept connection was found closed), never after.
"""

from __future__ import annotations

import asyncio
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
from batchgen.transport.failures import Trouble, failure
from batchgen.transport.route import Route
from batchgen.transport.trust import extra_authorities
from batchgen.values import KEPT_HEADERS, Failure, Request, Response

CONNECTING = "client error (Connect)"
"""The cause by which pyreqwest's errors tell connecting from all that follows (their classes do not)."""

CONNECT_SIGNS = (
    ("Too many open files", failures.OPEN_FILES),
    ("invalid peer certificate", failures.CERTIFICATE),
    ("InvalidContentType", failures.NOT_TLS),
    ("received fatal alert", failures.TLS),
    ("proxy authorization required", failures.PROXY_LOGIN),
    ("tunnel", failures.PROXY),
    ("dns error", failures.DNS),
    ("operation timed out", failures.CONNECT_TIMEOUT),
    ("", failures.CONNECT),
)
"""Words in the causes of an error while connecting, and what they mean; the first match counts."""

REPLY_SIGNS = (
    ("connection closed before message completed", failures.CLOSED),
    ("end of file", failures.CUT),
    ("error reading a body from connection", failures.CUT),
    ("error decoding response body", failures.BAD_ENCODING),
    ("connection error", failures.CLOSED),
    ("", failures.BAD_HTTP),
)
"""The same for an error behind the connecting."""


class FastTransport:
    """Sends over pyreqwest. Made by `open_transport`."""

    kind: Literal["fast"] = "fast"

    def __init__(
        self,
        route: Route,
        authorization: Secret | None,
        concurrency: int,
        notes: Sequence[str],
        connect_timeout_s: float,
    ) -> None:
        self.route = route
        self.concurrency = concurrency
        self.notes = notes
        self._secret = authorization
        self._prefix = f"{route.origin}/"
        self._client = _build_client(route, authorization, concurrency, connect_timeout_s)
        self._answered = False  # before the first whole reply no connection can be a kept one

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
        del self._client  # idle connections end with the client, not with its close()

    async def send(self, request: Request, *, timeout_s: float) -> Response | Failure:
        """See `Transport.send`."""
        if not request.url.startswith(self._prefix):
            return failure(failures.FOREIGN, self.route, self._secret, "")
        if not request.streamed:
            return await self._attempt(request, timeout_s, None, timeout_s)
        with anyio.move_on_after(timeout_s) as silence:
            return await self._attempt(request, timeout_s * STREAM_FACTOR, silence, timeout_s)
        return failure(failures.SILENCE, self.route, self._secret, "", limit_s=timeout_s)

    async def _attempt(
        self, request: Request, total_s: float, silence: anyio.CancelScope | None, silence_s: float
    ) -> Response | Failure:
        try:
            builder = self._client.post(request.url).headers(request.headers).body_bytes(request.body)
            sending = builder.timeout(timedelta(seconds=total_s)).build_streamed()
        except ValueError as error:  # a header or URL no request can have
            return failure(failures.UNSENDABLE, self.route, self._secret, f"{type(error).__name__}: {error}")
        try:
            async with sending as reply:
                if silence is None:
                    body = await reply.body_reader.read(BODY_CAP + 1) or b""
                else:
                    body = await _read_events(reply.body_reader, silence, silence_s)
                if len(body) > BODY_CAP:
                    return failure(failures.TOO_LARGE, self.route, self._secret, f"over {BODY_CAP} bytes")
                encoding = _header(reply, "content-encoding")
                if encoding is not None and encoding != "identity":  # decoded ones have lost the header
                    return failure(failures.BAD_ENCODING, self.route, self._secret, encoding)
                kept = {name: value for name in KEPT_HEADERS if (value := _header(reply, name)) is not None}
                self._answered = True
                return Response(reply.status, kept, bytes(body))
        except asyncio.CancelledError:
            # pyreqwest raises one of its own, by which anyio does not know its scope again: let anyio's own come first.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise
        except PyreqwestError as error:
            trouble, detail = read_error(error)
            return failure(trouble, self.route, self._secret, detail, limit_s=total_s, reused=self._answered)


def _header(reply: Reply, name: str) -> str | None:
    try:
        return reply.get_header(name)
    except ValueError:  # bytes outside ASCII: nothing that is read here has them
        return None


async def _read_events(reader: ResponseBodyReader, silence: anyio.CancelScope, silence_s: float) -> bytes:
    """Return the whole stream, or a little more than the cap of it; each chunk moves the end of patience."""
    chunks = []
    size = 0
    while size <= BODY_CAP and (chunk := await reader.read_chunk()) is not None:
        silence.deadline = anyio.current_time() + silence_s
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


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
    if isinstance(error, RequestTimeoutError) and not connecting:
        return failures.DEADLINE, "TimeoutError"
    words = "\n".join(causes)
    signs = CONNECT_SIGNS if connecting else REPLY_SIGNS
    return next(trouble for sign, trouble in signs if sign in words), detail


def _build_client(route: Route, authorization: Secret | None, concurrency: int, connect_timeout_s: float) -> Client:
    headers = HeaderMap({"user-agent": "batchgen", "accept-encoding": "identity"})
    if authorization is not None:
        headers.insert("authorization", authorization.reveal(), is_sensitive=True)
    builder = (
        ClientBuilder()
        .default_headers(headers)
        .follow_redirects(False)
        .referer(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .gzip(True)  # not asked for, yet decoded if it comes, by the chunk
        .connect_timeout(timedelta(seconds=connect_timeout_s))
        .pool_max_idle_per_host(concurrency)
        .pool_idle_timeout(timedelta(seconds=IDLE_S))
        .tcp_nodelay(True)
        .tcp_keepalive(timedelta(seconds=KEEPALIVE_S))
        .tcp_keepalive_interval(timedelta(seconds=KEEPALIVE_INTERVAL_S))
        .tcp_keepalive_retries(KEEPALIVE_COUNT)
        .no_proxy()
    )
    if route.proxy is not None:
        builder = builder.proxy(ProxyBuilder.all(route.proxy))
    if (extra := extra_authorities()) is not None:
        builder = builder.add_root_certificate_pem(extra.read_bytes())
    return builder.build()
