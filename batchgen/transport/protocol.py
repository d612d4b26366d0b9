"""What a client has to offer that sends requests, and the bounds that both clients keep."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Protocol, Self

from batchgen.transport.reply_memory import Room
from batchgen.transport.route import Route
from batchgen.values import Failure, Request, Response

BODY_CAP = 32 * 1024 * 1024
"""Most decoded bytes of one response body (faults: 0.5 MB of gzip became 533 MB); of a stream, most of the answer."""

STREAM_STEP = 1024 * 1024
"""A stream that is longer than this is put together as it comes, by as much at a time."""


STREAM_FACTOR = 20
"""A streamed attempt may last this many times its longest silence: keep-alive comments must not go on for ever."""


IDLE_S = 4.0
"""How long an idle connection is kept: less than the servers (5 s in DashScope's SDK, 60-75 s in most gateways)."""


class Transport(Protocol):
    """Sends requests over kept-alive connections. Retries nothing, follows no redirect.

    `room` is the memory that large replies share.
    """

    room: Room

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send(self, request: Request, *, timeout_s: float) -> Response | Failure:
        """POST the request and return the whole response, or a failure from the list in `failures.py`.

        `timeout_s` bounds the whole attempt (connect to last byte); for a streamed request, the longest silence, and
        20 times that bounds the attempt. Raises nothing but cancellation, which closes the connection.

        `Failure.maybe_billed` is False only if no byte of the request can have been sent. `Failure.stale` is True if a
        connection that may have been a kept one broke before any reply: worth one more try at once.
        """


class OpenTransport(Transport, Protocol):
    """A transport as `open_transport` gives it, with what the caller should know or say."""

    @property
    def kind(self) -> Literal["fast", "httpx"]:
        """Which of the two this is."""

    @property
    def route(self) -> Route:
        """Host and proxy the requests take."""

    @property
    def concurrency(self) -> int:
        """Most requests in flight: what was asked for, or less if the limit on open files does not allow it."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user: proxy in use, fast client missing, concurrency lowered, key sent in the clear."""
