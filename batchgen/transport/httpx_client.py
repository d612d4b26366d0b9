"""The transport over httpx, which is always installed: for unusual proxies and mock transports in tests.

Requests go straight to an `httpx.AsyncBaseTransport`: `httpx.AsyncClient` would share cookies between rows, follow
redirects, and take 140 µs for each request. httpx has no deadline for a whole attempt and no bound on decompressed
data; both are added here. One fault cannot be mended here: if a server sends two replies to one request at once,
httpcore 1.0 takes the second one for the answer to the next request on that connection (the fast transport closes the
connection).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import httpx

from batchgen.errors import JobError
from batchgen.secret import MaskingFilter, Secrets
from batchgen.transport import failures
from batchgen.transport.certificates import tls_context
from batchgen.transport.failures import CONNECT_ERRORS, OPEN_FILES_ERRORS, Trouble, failure
from batchgen.transport.open_files import descriptors_exhausted
from batchgen.transport.protocol import BODY_CAP, IDLE_S, STREAM_FACTOR, STREAM_STEP
from batchgen.transport.reply_memory import Room, Share
from batchgen.transport.route import SOCKET_OPTIONS, Route
from batchgen.transport.stream_body import StreamBody
from batchgen.transport.unpack import UnpackError, unpacked
from batchgen.values import KEPT_HEADERS, Failure, Request, Response

ERRORS: tuple[tuple[type[BaseException], str, Trouble], ...] = (
    *CONNECT_ERRORS,
    (httpx.ConnectTimeout, "", failures.CONNECT_TIMEOUT),
    (httpx.ProxyError, "407", failures.PROXY_LOGIN),
    (httpx.ProxyError, "", failures.PROXY),
    (httpx.ConnectError, "", failures.CONNECT),
    (httpx.RemoteProtocolError, "without sending a response", failures.CLOSED),
    (httpx.RemoteProtocolError, "peer closed connection", failures.CUT),
    (httpx.RemoteProtocolError, "", failures.BAD_HTTP),
    (httpx.UnsupportedProtocol, "", failures.UNSENDABLE),
    (httpx.LocalProtocolError, "", failures.UNSENDABLE),
    (httpx.NetworkError, "", failures.CUT),
    (OSError, "", failures.CUT),
)
"""Class of an exception in the chain (the outermost first), words in its message, meaning. The first match counts."""


LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpx")
"""The loggers that write headers at debug level. A logging filter works only on the logger that it is added to."""


class HttpxClient:
    """Opens and closes httpx's own transport, and masks secrets in what is logged meanwhile."""

    def __init__(self, inner: httpx.AsyncBaseTransport, secrets: Secrets) -> None:
        self._inner = inner
        self._secrets = secrets
        self._masking = MaskingFilter(secrets)

    async def __aenter__(self) -> Self:
        for name in LOGGERS:
            logging.getLogger(name).addFilter(self._masking)
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(self._masking)


class PlainTransport(HttpxClient):
    """Sends over httpx. Made by `open_transport`; `inner` takes the place of httpx's own transport (tests)."""

    kind: Literal["httpx"] = "httpx"

    def __init__(
        self,
        route: Route,
        secrets: Secrets,
        concurrency: int,
        notes: Sequence[str],
        *,
        room: Room,
        connect_timeout_s: float,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(inner if inner is not None else build_transport(route, concurrency), secrets)
        self.route = route
        self.concurrency = concurrency
        self.notes = notes
        self._prefix = f"{route.origin}/"
        self._connect_timeout_s = connect_timeout_s
        self.room = room
        self._untraced = inner is not None  # only httpcore reports how far a request has got

    async def send(self, request: Request, *, timeout_s: float) -> Response | Failure:
        """See `Transport.send`."""
        if not request.url.startswith(self._prefix):
            return failure(failures.FOREIGN, self.route, self._secrets, "")
        way = SendProgress(sending=self._untraced)
        total_s = timeout_s * STREAM_FACTOR if request.streamed else timeout_s
        with anyio.move_on_after(total_s), anyio.move_on_after(timeout_s) as silence:
            try:
                return await self._attempt(request, timeout_s, silence, way)
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                trouble, detail = read_error(error, way)
                return failure(trouble, self.route, self._secrets, detail, limit_s=timeout_s, reused=not way.connected)
        if not way.sending:
            return failure(failures.CONNECT_TIMEOUT, self.route, self._secrets, "")
        if request.streamed and silence.cancelled_caught:
            return failure(failures.SILENCE, self.route, self._secrets, "", limit_s=timeout_s)
        return failure(failures.DEADLINE, self.route, self._secrets, "", limit_s=total_s)

    def _headers(self, request: Request) -> dict[str, str]:
        """Return all headers but Host. They are built anew each time, so that no attribute holds a secret in plain
        text."""
        return {
            "user-agent": "batchgen",
            "accept": "*/*",
            "accept-encoding": "identity",
            **{name.lower(): value for name, value in request.headers.items()},
            **{header.name.lower(): header.reveal() for header in self._secrets.headers},
        }

    async def _attempt(
        self, request: Request, timeout_s: float, silence: anyio.CancelScope, way: SendProgress
    ) -> Response | Failure:
        connect_s = min(self._connect_timeout_s, timeout_s)
        sending = httpx.Request(
            "POST",
            request.url,
            headers=self._headers(request),
            content=request.body,
            extensions={"trace": way.note, "timeout": {"connect": connect_s}},
        )
        reply = await self._inner.handle_async_request(sending)
        try:
            body = bytearray()
            stream: StreamBody | None = None
            with Share(self.room) as share:
                async for parts in unpacked(reply.headers.get("content-encoding", "identity"), reply.stream):  # type: ignore[arg-type]
                    for part in parts:
                        body += part
                        if request.streamed and len(body) > STREAM_STEP:  # what counts is the answer in it
                            stream = stream or StreamBody()
                            stream.add(bytes(body))
                            body.clear()
                        held = len(body) + (stream.size if stream is not None else 0)
                        if held > BODY_CAP:
                            return failure(failures.TOO_LARGE, self.route, self._secrets, f"over {BODY_CAP} bytes")
                        if not share.grow(max(0, held - share.size)):
                            silence.deadline = math.inf  # reading is paused here, so that the server is not silent
                            go_on = anyio.Event()
                            share.go_on = go_on.set
                            await go_on.wait()
                    if request.streamed:
                        silence.deadline = anyio.current_time() + timeout_s
        except UnpackError as error:
            trouble = failures.CUT if error.cut else failures.BAD_ENCODING
            return failure(trouble, self.route, self._secrets, str(error))
        finally:
            with anyio.CancelScope(shield=True):  # closing the connection must not be cancelled itself
                await reply.aclose()
        kept = {name: value for name in KEPT_HEADERS if (value := reply.headers.get(name)) is not None}
        whole = bytes(body) if stream is None else stream.whole() + body
        return Response(reply.status_code, kept, whole)


class SendProgress:
    """How far a request has got, as reported by httpcore's trace extension."""

    __slots__ = ("answered", "connected", "sending")

    def __init__(self, *, sending: bool) -> None:
        self.connected = False  # a new connection was begun for this request
        self.sending = sending  # bytes of the request itself may be out
        self.answered = False  # the head of the reply is there

    async def note(self, event: str, details: dict[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            self.sending = details["request"].method != b"CONNECT"  # which asks a proxy for a tunnel
        elif event == "connection.connect_tcp.started":
            self.connected = True
        elif event == "http11.receive_response_headers.complete":
            self.answered = self.sending


def read_error(error: BaseException, way: SendProgress) -> tuple[Trouble, str]:
    """Return what an exception of httpx means, and its class and message, which is never empty (httpx's own often
    is)."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 10:
        chain.append(inner)
    detail = (
        f"{type(error).__name__}: {next((text for link in chain if (text := str(link))), type(chain[-1]).__name__)}"
    )
    if any(isinstance(link, OSError) and link.errno in OPEN_FILES_ERRORS for link in _leaves(chain)):
        return failures.OPEN_FILES, detail
    trouble = next(
        (
            trouble
            for kind, words, trouble in ERRORS
            if any(isinstance(link, kind) and words in str(link) for link in _leaves(chain))
        ),
        failures.UNSENDABLE,
    )
    if not way.sending and not trouble.unsent:  # it failed while connecting: a handshake, a proxy's tunnel
        trouble = failures.CONNECT
    elif trouble is failures.CUT and not way.answered:
        trouble = failures.CLOSED
    if trouble in (failures.DNS, failures.CONNECT) and descriptors_exhausted():
        trouble = failures.OPEN_FILES
    return trouble, "" if trouble is failures.CONNECT_TIMEOUT else detail


def _leaves(chain: Sequence[BaseException]) -> Iterator[BaseException]:
    """Yield the exceptions of a chain, with those in exception groups (anyio tries several addresses at once)."""
    for link in chain:
        yield link
        if isinstance(link, BaseExceptionGroup):
            yield from _leaves(link.exceptions)


def build_transport(route: Route, kept: int) -> httpx.AsyncHTTPTransport:
    """Return httpx's own transport for a route, which keeps so many idle connections. Raises `JobError`."""
    try:
        return httpx.AsyncHTTPTransport(
            verify=tls_context(),
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=IDLE_S),
            proxy=route.proxy,
            socket_options=SOCKET_OPTIONS,
        )
    except (ImportError, ValueError) as error:
        raise JobError(f"the proxy {route.proxy_host} cannot be used: {type(error).__name__}") from None
