"""How a run ended: what `run --json` prints and `batchgen.run` returns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.money.budget import PossiblyBilled
from batchgen.storage.batch_table import BatchShown
from batchgen.storage.run_state import Refreshed
from batchgen.text.storable import json_bytes


class AskedLive(Struct, frozen=True):
    """Rows of a run in the lane of batches that were asked live, at the full price: all of them, what they have cost,
    and how many were longer than a line of a batch may be. The others are a small rest, or were late or unlucky."""

    rows: int
    cost: Decimal
    too_long: int


class Summary(Struct, frozen=True, kw_only=True):
    """How a run ended: `run --json`, and what `batchgen.run` returns.

    `rows` is the size of the job; `succeeded`, `failed`, `attempts`, tokens and `cost` count every run of it so far,
    `refused` (answers 429), `wall_s` and `rows_per_s` only this one. `shared` rows were not asked: they have the answer
    to another row's request, which was the same; `reused` ones have the answer that an earlier run got to it, which
    has `saved` about so much; of `refreshed` rows the answer was asked for again and compared. `cached_tokens` of the
    input came from the provider's prompt cache, which has saved about `cached_saved`. A `simulated` run was answered by
    the built-in simulator: nothing was charged. `unknown_finish_reasons` are words for the end of answers that nobody
    knows, with the rows that have them: whether such answers are whole is for the user to see. `cut` answers
    ended at their longest allowed length. `endpoints` has the figures of each of several endpoints. `batches` are those
    of the vendor's queue, in all sessions; a run whose state is `handed in` has some of them open, and goes on when it
    is run again. `asked_live` counts this run's rows only. `output` is what the job names; where that is an address in
    an object store, `directory` is the run's folder on this machine, and `published` that of the results there, once
    they are complete.
    """

    state: str
    rows: int
    succeeded: int
    failed: int
    pending: int
    attempts: int
    refused: int
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None = None
    cached_saved: Decimal | None = None
    cost: Decimal | None
    currency: str | None
    possibly_billed: PossiblyBilled
    wall_s: float
    rows_per_s: float
    limited_by: str | None
    output: str
    error: dict[str, Any] | None = None
    shared: int = 0
    reused: int = 0
    saved: Decimal | None = None
    refreshed: Refreshed | None = None
    simulated: bool = False
    unknown_finish_reasons: dict[str, int] = {}
    cut: int = 0
    endpoints: list[dict[str, Any]] = []
    batches: tuple[BatchShown, ...] = ()
    asked_live: AskedLive | None = None
    directory: str | None = None
    published: str | None = None

    @property
    def path(self) -> str:
        """Where the run lies on this machine."""
        return self.directory or self.output

    def to_json(self) -> bytes:
        """Return the object of `run --json`; money as decimal strings. What is of stores is there for these only."""
        told = msgspec.structs.asdict(self)
        if self.directory is None:
            del told["directory"], told["published"]
        return json_bytes(told)
