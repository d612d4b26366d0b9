"""Whether a completion ends its row: always for plain answers, by turns for structured ones (`structured_turns`)."""

from __future__ import annotations

from typing import Protocol

from batchgen.engine.work import RowInProgress
from batchgen.money.ledger import Charges
from batchgen.values import Completion, Outcome, Result, Turn


class Dialogue(Protocol):
    """Says what follows a completion."""

    def resume(self, row: RowInProgress) -> tuple[Turn, ...]:
        """Go on where an earlier run left the row, and return the turns it has had; called before each attempt."""

    def replay(self, row: RowInProgress, turns: tuple[Turn, ...]) -> None:
        """Read turns again: they lead to the same next turn as they did then."""

    def next(self, row: RowInProgress, completion: Completion) -> Outcome | Charges:
        """Return the row's outcome; or, where another turn has been made ready, the charges to put on record."""

    def finish(self, row: RowInProgress, outcome: Outcome, result: Result) -> Result:
        """Return the row's result with what the dialogue knows beside the outcome."""


class PlainDialogue:
    """The first completion ends its row."""

    def resume(self, row: RowInProgress) -> tuple[Turn, ...]:
        """Nothing is ever left from earlier."""
        return ()

    def replay(self, row: RowInProgress, turns: tuple[Turn, ...]) -> None:
        """There are no turns."""

    def next(self, row: RowInProgress, completion: Completion) -> Outcome | Charges:
        """Return the completion."""
        return completion

    def finish(self, row: RowInProgress, outcome: Outcome, result: Result) -> Result:
        """Return the result as it is."""
        return result
