"""How a request travels: one small seam, two implementations under the same tests."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from batchgen.values import Failure, Request, Response

BODY_CAP = 32 * 1024 * 1024
"""Most decoded bytes of one response body (faults: 0.5 MB of gzip became 533 MB)."""


class Transport(Protocol):
    """Sends requests over kept-alive connections. Retries nothing, follows no redirect."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send(self, request: Request, *, timeout_s: float) -> Response | Failure:
        """POST the request and return the whole response, or a failure of kind network, timeout or unreadable.

        `timeout_s` bounds the whole attempt (connect to last byte); for a streamed request, the longest silence.
        Raises nothing but cancellation.
        """
