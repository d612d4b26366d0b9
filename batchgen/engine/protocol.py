"""What an engine is: it brings rows to results, and knows no files, no journal and no parts.

The run gives an engine its rows and takes what comes out. The workers of this process are one engine (`online`); file
batches of a vendor or workers on other machines are others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from batchgen.engine.dialogue import Dialogue
from batchgen.engine.reporter import Reporter
from batchgen.engine.row_result import RowResults
from batchgen.engine.summary import AskedLive
from batchgen.engine.work import RowInProgress
from batchgen.errors import StoppedError
from batchgen.job.requests import RequestParts
from batchgen.job.settings import LimitSettings
from batchgen.money.budget import Budget, PossiblyBilled
from batchgen.money.ledger import Charges
from batchgen.storage.batch_table import BatchShown, BatchTable
from batchgen.storage.pace_file import PaceRecord
from batchgen.values import Result


class RowFeed(Protocol):
    """Rows still to do. Iterating ends with the shard at hand; `more` brings the next one."""

    def __iter__(self) -> Iterator[RowInProgress | Result]:
        """Yield the next rows; a row that cannot be asked at all comes as its result."""

    async def more(self) -> bool:
        """Load the next shard; False when there is none."""


class Outlet(Protocol):
    """Where results go."""

    @property
    def congested(self) -> bool:
        """Whether to send no more requests for now."""

    def emit(self, result: Result) -> RowInProgress | None:
        """Take a result; never blocks. Return a row that is to be asked in its place, where there is one."""

    def spend(self, charges: Charges) -> None:
        """Put on record what a row without a result has cost, and the turns it has had; never blocks."""

    async def wait_for_room(self) -> None:
        """Return when results can be taken again; raises `StorageStop` when they never will."""


class EngineFigures(Struct, frozen=True):
    """What an engine says of itself, at any time.

    `trouble` is the last error, while there has been no answer since; `refused` counts rate-limited answers;
    `limited_by` names what bounded the pace, None if nothing did; `error` is why the engine stopped early, None if it
    did not; `pace` is what the pacer did, None where nothing was paced; `waits_for` is why nothing is sent at the
    moment, None while requests go out; `retried` counts attempts that failed and are tried again. Of several endpoints,
    `left_out` names those that get no rows now and why; `endpoints` has the counts of each. `batches` are those of the
    vendor's queue; `handed_in`: the engine has ended although they are open; `asked_live` are the rows that
    it did not hand in.
    """

    refused: int
    limited_by: str | None
    possibly_billed: PossiblyBilled
    error: StoppedError | None
    interrupted: bool
    pace: PaceRecord | None = None
    in_flight: int = 0
    trouble: str | None = None
    waits_for: str | None = None
    retried: int = 0
    left_out: str | None = None
    endpoints: Sequence[Mapping[str, Any]] = ()
    batches: tuple[BatchShown, ...] = ()
    handed_in: bool = False
    asked_live: AskedLive | None = None


class Engine(Protocol):
    """Brings rows to results."""

    @property
    def most_in_flight(self) -> int:
        """Most requests that can be out at a time: it bounds what a kill can cost. With 0 any number of rows wait
        elsewhere."""

    async def run(self, rows: RowFeed, out: Outlet) -> None:
        """Work the rows off; return when there are none left, or after a stop or an interruption has drained."""

    def stop(self, reason: StoppedError) -> None:
        """Send nothing more and let what is in flight finish. The first reason stays; may be called before `run`."""

    def interrupt(self) -> None:
        """Stop sending and let what is in flight finish; a second call cancels it. May be called before `run`."""

    def change(self, limits: LimitSettings) -> None:
        """Go on with other limits from now on; the budget is changed elsewhere."""

    def figures(self) -> EngineFigures:
        """Return what there is to say now."""


class EngineParts(Struct, frozen=True):
    """What every engine works with.

    `requests` makes requests and reads replies, `results` makes results of outcomes, `dialogue` says whether a
    completion ends its row, `budget` counts what may be spent. `worked`: an earlier run of the job had answers.
    `warm_up`: the requests begin with a long text that is the same in all. `batches` is the journal's table of batches.
    """

    requests: RequestParts
    results: RowResults
    dialogue: Dialogue
    budget: Budget
    reporter: Reporter
    batches: BatchTable
    worked: bool = False
    warm_up: bool = False


BuildEngine = Callable[[EngineParts], Engine]
