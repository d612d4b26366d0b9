"""The protocol of a transport, and the bounds that both transports keep."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Protocol, Self

from msgspec import Struct

from batchgen.transport.reply_memory import Room
from batchgen.transport.route import Route
from batchgen.values import Failure, Outcome, Request, Response

BODY_CAP = 32 * 1024 * 1024
"""The most decoded bytes of a response body; of a stream, the most bytes of the answer in it.

Without a bound 0.5 MB of gzip data could become 533 MB in memory."""

STREAM_STEP = 1024 * 1024
"""A stream longer than this many bytes is merged while it arrives, whenever as many more bytes have come."""


STREAM_FACTOR = 20
"""A streamed attempt may last this many times its longest allowed silence, so that keep-alive comments alone end."""


WORKER_LOST = "worker_lost"
"""The code of a failure where another process was to send a request and is gone: it may have been billed."""

IDLE_S = 4.0
"""Seconds that an idle connection is kept: less than servers keep it (5 s in DashScope's SDK, else 60 to 75 s)."""


class ReadReply(Struct, frozen=True, gc=False):
    """A whole response of `size` bytes that has been read where it came in: what it means, in place of its bytes."""

    outcome: Outcome
    size: int


class Transport(Protocol):
    """Sends requests over kept-alive connections. Retries nothing and follows no redirect.

    `room` accounts for the memory of large replies.
    """

    room: Room

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send(self, request: Request, *, timeout_s: float) -> Response | ReadReply | Failure:
        """POST a request and return the complete response, or a failure that is described in `failures.py`.

        `timeout_s` bounds the whole attempt (connect to last byte); for a streamed request, the longest silence, and
        20 times that bounds the attempt. Raises nothing but cancellation, which closes the connection.

        `Failure.maybe_billed` is False only if no byte of the request can have been sent. `Failure.stale` is True if a
        connection that may have been a kept one broke before any reply: worth one more try at once.
        """


class OpenTransport(Transport, Protocol):
    """A transport as `open_transport` returns it, with what the caller should know or tell the user."""

    @property
    def kind(self) -> Literal["fast", "httpx"]:
        """Which of the two transports this is."""

    @property
    def route(self) -> Route:
        """The host that requests go to, and the proxy that they go through."""

    @property
    def concurrency(self) -> int:
        """The most requests in flight: as asked for, or fewer if the limit on open files does not allow it."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user: proxy in use, fast client missing, concurrency lowered, key sent in the clear."""
