"""A row in progress: what it asks, and what it has used up in this run."""

from __future__ import annotations

from msgspec import Struct

from batchgen.answers import Label, TurnsUsed
from batchgen.money.ledger import Charges
from batchgen.pace.retry import AttemptCounts
from batchgen.values import (
    Completion,
    Cost,
    Prompt,
    Request,
    Usage,
)


class Sample(Struct, frozen=True):
    """One of a row's votes: its label, None where it was given up."""

    label: Label | None
    completion: Completion
    latency_ms: float | None


class Dialogue(Struct):
    """A row on its way to an answer. `first` is its prompt; `kept` the answer that was given up, as it was."""

    first: Prompt
    spent: TurnsUsed = TurnsUsed()
    samples: list[Sample] = []
    label: Label | None = None
    kept: Completion | None = None


class RowInProgress(Struct):
    """A row on its way: what it asks and what it has used up in this run.

    `billed` is what attempts before the last were billed; it counts no attempts, the tally does. `priced` is the last
    usage with its cost, which budget and result both ask for. `dialogue` is the state of a structured answer (`turns`);
    `size`: see `prompt_room`.
    """

    row: int
    prompt: Prompt
    tally: AttemptCounts
    request: Request | None = None
    refused_at_s: float | None = None
    failed_at_s: float | None = None
    latency_ms: float | None = None
    billed: Charges | None = None
    priced: tuple[Usage, Cost | None] | None = None
    dialogue: Dialogue | None = None
    size: int = 0
