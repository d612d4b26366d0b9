"""Decides what follows for a row for which a batch brought no answer. Pure.

What the vendor decided for good ends the row. What never ran, and what may go better another time, goes into another
batch; after that it is asked live, as a batch would bring the same once more.
"""

from __future__ import annotations

from typing import Literal

from batchgen.pace.retry import is_retryable
from batchgen.providers.batch_api import ResultLine
from batchgen.values import Completion, Failure, FailureKind, Verdict

Fate = Literal["answered", "failed", "batch", "live", "stop"]

MOST_ROUNDS = {"ran": 1, "never ran": 2}
"""How often a row goes into another batch before it is asked live."""

MISSING = Failure(
    FailureKind.UNREADABLE, Verdict.RETRY, "the batch ended without a line for this row", maybe_billed=True
)
NOT_RUN = Failure(FailureKind.TIMEOUT, Verdict.RETRY, "the batch ended before this row was asked")


def fate_of(found: ResultLine, rounds: int, attempts: int, max_attempts: int) -> Fate:
    """Return what becomes of a row: `rounds` batches brought nothing for it before, `attempts` of it have failed,
    the one at hand included."""
    outcome = found.outcome
    if isinstance(outcome, Completion):
        return "answered"
    if not found.again:
        if outcome.verdict is Verdict.STOP:
            return "stop"
        if not is_retryable(outcome) or attempts >= max_attempts:
            return "failed"
    limit = MOST_ROUNDS["never ran" if found.again and outcome.code in ("batch_expired", "batch_cancelled") else "ran"]
    return "batch" if rounds < limit else "live"
