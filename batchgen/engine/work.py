"""A row in progress: its request, and what it has used up in this run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from batchgen.money.ledger import Charges
from batchgen.pace.retry import AttemptCounts
from batchgen.values import Completion, Cost, Failure, Prompt, Request, Usage

if TYPE_CHECKING:
    from batchgen.answers.structured import TurnsUsed
    from batchgen.answers.votes import Label


class Sample(Struct, frozen=True):
    """One of a row's votes: its label, None where it was given up."""

    label: Label | None
    completion: Completion
    latency_ms: float | None


class AnswerTurn(Struct, frozen=True):
    """One of a row's answers. `problem` says why it was not taken; `vote` counts from 1 where the row has votes."""

    completion: Completion
    latency_ms: float | None
    vote: int | None
    label: str | None
    problem: str | None


class DialogueState(Struct):
    """How far a row with a structured answer is. `first` is its prompt; `given_up` an answer that never fitted."""

    first: Prompt
    used: TurnsUsed | None = None
    samples: list[Sample] = []
    label: Label | None = None
    given_up: Completion | None = None
    turns: list[AnswerTurn] = []


class RowInProgress(Struct, gc=False):
    """A row in progress: its request, and what it has used up in this run.

    `number` is the place of its last request in the order of sending.
    `billed` is what attempts before the last were billed; it counts no attempts, the tally does. `priced` is the last
    usage with its cost, which budget and result both ask for. `dialogue` is the state of a structured answer; `size`
    counts the bytes of its request, see `request_memory`; `large`: its reply has a share of `Transport.room`; `key`
    tells which requests are the same as its first (`providers.request_key`), which is made of `text`, where that is
    known (`providers.request_parts.last_text`).
    `live`: it is asked in the ordinary way, as the lane of the job is full. `endpoint` is the place of the endpoint
    that its request is for; `refused_by` another that refused it for good, while it is asked elsewhere.
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
    dialogue: DialogueState | None = None
    size: int = 0
    large: bool = False
    number: int = 0
    key: bytes | None = None
    text: bytes | None = None
    live: bool = False
    endpoint: int = 0
    refused_by: tuple[int, Failure] | None = None
