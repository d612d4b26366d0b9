"""What the batch engine needs of a client for files and batches."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from batchgen.values import ApiCall, Failure, Response


class Client(Protocol):
    """Makes calls of files and batches; see `transport.file_client`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def call(self, call: ApiCall, *, timeout_s: float) -> Response | Failure:
        """Make a call and return the whole reply, or a failure."""

    async def download(self, call: ApiCall, path: Path, *, timeout_s: float) -> Response | Failure:
        """Write the body of a reply to a file, which appears whole or not at all."""
