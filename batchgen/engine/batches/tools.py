"""What the parts of the batch engine share."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct, structs

from batchgen.engine.batches.client import Client
from batchgen.engine.batches.leaving import Leaving
from batchgen.engine.batches.queue_room import QueueRoom
from batchgen.engine.batches.sites import BatchSite, BatchSites
from batchgen.engine.protocol import EngineParts
from batchgen.errors import ProviderStop
from batchgen.job.batch_settings import BatchSettings
from batchgen.providers.batch_api import BatchApi
from batchgen.storage.batch_table import BatchRecord, BatchTable
from batchgen.text.figures import quantity
from batchgen.values import ApiCall, Failure, FailureKind, Response, Verdict

CALL_TIMEOUT_S = 120.0
"""The longest silence of a call: vendors check whole files before they answer."""

LOOK_TIMEOUT_S = 30.0
"""The longest silence of a look at a batch, so that one that hangs does not hold up the others for long."""

GONE_POLLS = 60
"""For so many times `poll_s` what is not found may be there all the same: an hour, where that is a minute."""

GROWTH_ROWS = 100_000


class Times(Struct, frozen=True):
    """`clock` is the wall clock, in seconds since 1970: a monotonic one stands still while a laptop sleeps.

    `sleep` waits so many seconds at the most. `look_again_s`: how long a batch whose creation had no reply is looked
    for, as lists of vendors lag.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    look_again_s: float


class Tools(Struct, frozen=True):
    """What all parts of the engine work with, for batches at `site`. `began_s` is when the run began to hand in what is
    open. Calls raise `CutOffError` when `leaving` ends them."""

    sites: BatchSites
    site: BatchSite
    table: BatchTable
    directory: Path
    settings: BatchSettings
    times: Times
    parts: EngineParts
    leaving: Leaving
    began_s: float = 0.0

    def at(self, record: BatchRecord) -> Tools:
        """Return the same for the endpoint of a batch."""
        site = self.sites.of(record)
        return self if site is self.site else structs.replace(self, site=site)

    @property
    def api(self) -> BatchApi:
        """The endpoint's batch API."""
        return self.site.api

    @property
    def client(self) -> Client:
        """The client that reaches it."""
        return self.site.client

    @property
    def room(self) -> QueueRoom:
        """Its queue."""
        return self.site.room

    @property
    def waiting(self) -> dict[int, int]:
        """The tokens of files that are not handed in yet, by the place of their endpoint."""
        tokens: dict[int, int] = {}
        for record in self.table.unfinished:
            if record.state in ("planned", "uploading", "uploaded"):
                place = self.sites.of(record).place
                tokens[place] = tokens.get(place, 0) + record.tokens
        return tokens

    def tell(self, text: str) -> None:
        """Say a sentence to the user."""
        self.parts.reporter.note(self.parts.results.masker.message(text))

    async def call(
        self, call: ApiCall, timeout_s: float = CALL_TIMEOUT_S, *, creates: bool = False
    ) -> Response | Failure:
        """Make a call; `creates` says that it creates a batch."""
        return await self.leaving.bounded(self.client.call(call, timeout_s=timeout_s), creates=creates)

    async def fetch(self, call: ApiCall, path: Path) -> Failure | None:
        """Write the content of a file at the vendor to `path`; return why it could not be had."""
        response = await self.leaving.bounded(self.client.download(call, path, timeout_s=CALL_TIMEOUT_S))
        if isinstance(response, Failure) or response.status == 200:
            return response if isinstance(response, Failure) else self.api.refusal(response)
        nothing = Failure(FailureKind.UNREADABLE, Verdict.RETRY, f"HTTP {response.status} without the file's content")
        return self.api.refusal(response) or nothing

    def stop_for(self, failure: Failure) -> None:
        """Leave the endpoint out where no other call to it can succeed either; raise `ProviderStop` if it is the last
        one."""
        if failure.verdict is not Verdict.STOP:
            self.sites.failing(self.site, failure)
        elif not self.sites.leave_out(self.site, failure.message):
            raise self.stopped(f"The vendor's batch API refused{self.where}: {failure.message}")

    @property
    def where(self) -> str:
        """Which of several endpoints this is, for messages."""
        return f" at {self.site.name}" if self.sites.several else ""

    def stopped(self, text: str, remedy: str | None = None) -> ProviderStop:
        """Return the stop for a reason, with the endpoints that were left out before."""
        out = "; ".join(f"{site.name}: {site.out}" for site in self.sites.all if site.out and site is not self.site)
        return ProviderStop(
            self.parts.results.masker.message(f"{text} (left out before: {out})" if out else text), remedy
        )

    def out_of_reach(self) -> ProviderStop | None:
        """Return the stop for batches of which no endpoint shows any; None if there are none, or others."""
        left = self.table.unfinished
        sites = [self.sites.of(record) for record in left]
        if not left or any(site.shut is None for site in sites):
            return None
        rows = quantity(sum(record.rows for record in left), "row")
        return self.stopped(
            f"Batches with {rows} are open at {sites[0].name}, which does not show them: {sites[0].shut}",
            "Their rows are not asked elsewhere, as they may be paid there. Once it shows them again, the same command "
            "collects them.",
        )

    @property
    def patience_s(self) -> float:
        """How long something that is not found may be missing by a disturbance at the vendor."""
        return GONE_POLLS * self.settings.poll_s

    def custom_id(self, number: int, line: int) -> str:
        """Return the id of a line of a batch that is planned now: the directory's mark, the batch, the place."""
        return f"{self.table.mark}-{number}-{line}"

    def line_of(self, custom_id: str, number: int) -> int | None:
        """Return which line of a batch an id names; None if it names none."""
        begin = f"{self.table.mark_of(number)}-{number}-"
        place = custom_id.removeprefix(begin)
        return int(place) if custom_id.startswith(begin) and place.isdecimal() and len(place) < 10 else None


class RowPlaces:
    """Which batch each row is in: 4 bytes a row."""

    def __init__(self) -> None:
        self._batches = array("i")

    def of(self, row: int) -> int:
        """Return the number of the batch that a row is in; 0 if it is in none."""
        return self._batches[row] if row < len(self._batches) else 0

    def put(self, row: int, number: int) -> None:
        """Say which batch a row is in now."""
        if row >= len(self._batches):
            self._batches.frombytes(bytes(4 * (row + 1 + GROWTH_ROWS - len(self._batches))))
        self._batches[row] = number
