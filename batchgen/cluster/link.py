"""The connection to a worker: the protocols that `processes` and `ray_nodes` implement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class LinkLost(Exception):
    """The worker is gone, or cannot be reached any more; the text says what is known of it."""


class Link(Protocol):
    """The connection to one worker. After a loss it delivers nothing more: no late reply is taken for another."""

    def push(self, group: bytes) -> None:
        """Hand messages over; never blocks. A loss is told by `pull`."""

    async def pull(self) -> bytes:
        """Return the worker's next messages. Raises `LinkLost`."""

    async def close(self) -> None:
        """End the worker, at once."""


class Supply(Protocol):
    """Where workers run."""

    @property
    def gather_s(self) -> float:
        """Seconds between two groups of messages for workers, whichever they go to: what comes meanwhile is gathered.
        A message that comes later than that after the last group goes at once."""

    async def start(self) -> None:
        """Get ready. Raises `StoppedError` with what is missing."""

    async def places(self) -> Sequence[str]:
        """Return the places that should have a worker now."""

    async def open(self, place: str, start: bytes) -> Link:
        """Start the worker of a place. Raises `LinkLost`."""

    async def close(self) -> None:
        """Give back what `start` has taken."""
