"""Bounds how long an interrupted run waits for the calls in flight.

What is cut off is found in the journal as after a kill. Most calls may be made again at no cost. One that creates a
batch may have been heard although no reply came; then the next run has to look for the batch, so the reply is waited
for longer.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import anyio

LEAVE_S = 5.0
"""Seconds that calls in flight have left after an interruption."""

CREATE_LEAVE_S = 60.0
"""The same for one that creates a batch: vendors check whole files before they answer."""

T = TypeVar("T")


class CutOffError(Exception):
    """A call was given up because the run was interrupted."""


class Leaving:
    """The calls in flight, and whether the run was interrupted."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._in_flight: dict[anyio.CancelScope, float] = {}

    @property
    def begun(self) -> bool:
        """Whether the run was interrupted, so that nothing new is created."""
        return self._began_s is not None

    def begin(self) -> None:
        """Leave: calls in flight may go on for a moment, and later ones too, up to the same time."""
        if self._began_s is None:
            self._began_s = anyio.current_time()
            for scope, patience_s in self._in_flight.items():
                scope.deadline = self._began_s + patience_s

    async def bounded(self, call: Awaitable[T], *, creates: bool = False) -> T:
        """Return what a call returns; `creates`: a batch. Raises `CutOffError` where an interruption has ended it."""
        patience_s = CREATE_LEAVE_S if creates else LEAVE_S
        with anyio.CancelScope() as scope:
            self._in_flight[scope] = patience_s
            if self._began_s is not None:
                scope.deadline = self._began_s + patience_s
            try:
                return await call
            finally:
                del self._in_flight[scope]
        raise CutOffError
