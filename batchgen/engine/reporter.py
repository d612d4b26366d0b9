"""What a run tells while it goes: a reporter with empty methods, for a progress bar or a test to fill."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct


class Progress(Struct):
    """Where the run stands, of rows whose results are durably stored; `spent` is None while no price is known.

    `trouble` is the last error, while there has been no answer since.
    """

    rows: int = 0
    settled: int = 0
    failed: int = 0
    reused: int = 0
    refused: int = 0
    in_flight: int = 0
    spent: Decimal | None = None
    budget: Decimal | None = None
    currency: str = ""
    trouble: str | None = None

    @property
    def succeeded(self) -> int:
        """Rows that have an answer."""
        return self.settled - self.failed

    @property
    def pending(self) -> int:
        """Rows still to do: those that have no result, neither an answer nor a permanent failure."""
        return self.rows - self.settled


class Reporter:
    """Receives what happens; this one keeps silent (the Python functions print nothing)."""

    def started(self, standing: Progress) -> None:
        """The rows are counted and sending begins; `standing.settled` rows are kept from before."""

    def moved(self, standing: Progress) -> None:
        """Rows are finished; called after each commit."""

    def note(self, text: str) -> None:
        """A sentence for the user: a warning, or why the run waits."""

    def finished(self, standing: Progress) -> None:
        """No more rows will be finished."""
