"""Interrupts a running job, or changes its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from batchgen.job.settings import LimitSettings
from batchgen.storage.batch_table import BatchShown


class Controlled(Protocol):
    """A run that can be told to stop, or to go on with other limits."""

    def interrupt(self) -> None:
        """Stop sending and let what is in flight finish; a second call cancels it."""

    def change_limits(self, limits: LimitSettings) -> None:
        """Go on with other limits from now on."""

    @property
    def batches(self) -> Sequence[BatchShown]:
        """The batches of the vendor's queue, open or not."""


class Control:
    """Interrupts a running job or changes its limits, from the same event loop (signal handlers, notebooks)."""

    def __init__(self) -> None:
        self._run: Controlled | None = None
        self._interrupts = 0
        self._limits: LimitSettings | None = None

    def attach(self, run: Controlled) -> None:
        """Connect to the run that has begun, and pass on the calls that came before."""
        self._run = run
        if self._limits is not None:
            run.change_limits(self._limits)
        for _ in range(self._interrupts):
            run.interrupt()

    def interrupt(self) -> None:
        """Stop sending and let what is in flight finish; a second call cancels it."""
        self._interrupts += 1
        if self._run is not None:
            self._run.interrupt()

    def change_limits(self, limits: LimitSettings) -> None:
        """Go on with other limits (the budget included) from now on. Raises `JobError` for a budget without a price."""
        self._limits = limits
        if self._run is not None:
            self._run.change_limits(limits)

    @property
    def open_batches(self) -> Sequence[BatchShown]:
        """The batches that the vendor may be working on; they go on when the run is interrupted."""
        return [] if self._run is None else [batch for batch in self._run.batches if batch.at_vendor]

    @property
    def attached(self) -> bool:
        """Whether the run has begun; before, nothing was sent."""
        return self._run is not None
