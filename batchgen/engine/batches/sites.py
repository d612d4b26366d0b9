"""The endpoints that batches are handed in at, and which of several take rows at the moment.

A file is made for one endpoint: the cheapest that takes rows and has room in its queue, of equally cheap ones that
which has had least by its weight. An endpoint that refuses for good, or whose calls keep failing, gets no more rows for
a while; what was created there is still looked at and collected there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from batchgen.engine.batches.client import Client
from batchgen.engine.batches.queue_room import QueueRoom
from batchgen.errors import JobError
from batchgen.job.requests import RequestParts
from batchgen.money.reservation import Reservations
from batchgen.providers.batch_api import BatchApi
from batchgen.providers.lane import BATCH
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import Failure

OUT_S, LONGEST_OUT_S = 300.0, 3600.0
"""Seconds until an endpoint that is left out is tried with one file: at first, doubled up to the second."""

MOST_FAILURES = 5
"""So many calls in a row that fail leave an endpoint out."""


class BatchSite(Struct, eq=False, kw_only=True):
    """One endpoint with batches. `place` is its place among those of the job; `identity` is what the journal calls it,
    empty where the job has only one.

    `refused` counts batches that were refused one after the other, `refusals` all of them; `seen_any`: the vendor has
    shown a batch of this run; `shut` is why it does not show them now. `planned` are rows that files were made of.
    `out` is why it gets no rows, `retry_s` when it is tried again.
    """

    place: int
    identity: str
    requests: RequestParts
    api: BatchApi
    client: Client
    room: QueueRoom
    reservations: Reservations
    most_rows: int
    most_bytes: int
    weight: float = 1.0
    refused: int = 0
    refusals: int = 0
    seen_any: bool = False
    shut: str | None = None
    planned: int = 0
    failures: int = 0
    out: str | None = None
    retry_s: float = 0.0
    times_out: int = 0
    answered: int = 0
    failed: int = 0

    @property
    def on_trial(self) -> bool:
        """Whether it was left out and has a single file now, which shows whether it takes batches again."""
        return self.out is not None and not self.retry_s

    @property
    def name(self) -> str:
        """What results call it."""
        return self.requests.name or self.requests.endpoint.host

    @property
    def price(self) -> Decimal | None:
        """What a million tokens in and out cost in a batch, to compare."""
        model = self.requests.model
        price = self.requests.price_of.in_lane(model, BATCH) or self.requests.price_of(model)
        return None if price is None else price.tier(0).input + price.tier(0).output


class BatchSites:
    """All endpoints with batches. `note` takes a sentence for the user."""

    def __init__(self, sites: Sequence[BatchSite], clock: Callable[[], float], note: Callable[[str], None]) -> None:
        self.all = tuple(sites)
        self._clock = clock
        self._note = note
        self._by_identity = {site.identity: site for site in sites}
        dearest = max((site.price or Decimal(0) for site in sites), default=Decimal(0))
        self._prices = {site.place: dearest if site.price is None else site.price for site in sites}

    @property
    def several(self) -> bool:
        """Whether the job has several endpoints, be it that only one of them has batches."""
        return bool(self.all[0].identity)

    def of(self, record: BatchRecord) -> BatchSite:
        """Return where a batch belongs."""
        return self._by_identity[record.endpoint]

    def check(self, records: Sequence[BatchRecord]) -> None:
        """Raise `JobError` where a batch is open at an endpoint that the job does not name (any more)."""
        lost = [record for record in records if record.endpoint not in self._by_identity]
        if lost:
            raise JobError(
                f"model.endpoints: batch {lost[0].number} of this run is open at {lost[0].endpoint or 'the only one'}, "
                "which the job does not name any more (its address, model and variable of the key count). Name it "
                "again, or end its batches with the job that was run last: batchgen cancel DIR."
            )

    # ---- which takes rows

    def takes(self, site: BatchSite) -> bool:
        """Whether an endpoint takes rows now; one that was left out takes a single file when its time has come."""
        return site.out is None or (self._clock() >= site.retry_s and site.retry_s > 0)

    def others(self, site: BatchSite) -> list[BatchSite]:
        """Return the other endpoints that take rows now."""
        return [one for one in self.all if one is not site and one.out is None]

    def choose(self, waiting: Mapping[int, int], tokens: int) -> BatchSite:
        """Return the endpoint for the next file of about so many tokens; `waiting` are, by place, the tokens of files
        that are not handed in yet."""
        usable = [site for site in self.all if self.takes(site)] or [
            site for site in self.all if site.out is None or not self.others(site)
        ]
        usable = [site for site in usable if site.weight] or usable
        roomy = [site for site in usable if self._has_room(site, waiting, tokens)]
        found = min(roomy or usable or self.all, key=self._order)
        if found.out is not None:
            found.retry_s = 0.0  # no second file before the first one has told whether it is taken
        return found

    def _order(self, site: BatchSite) -> tuple[Decimal, float]:
        return self._prices[site.place], site.planned / (site.weight or 1.0)

    def with_room(self, site: BatchSite, waiting: Mapping[int, int], tokens: int) -> bool:
        """Whether a file that has no room at an endpoint would have it at another."""
        return any(self._has_room(one, waiting, tokens) for one in self.others(site))

    @staticmethod
    def _has_room(site: BatchSite, waiting: Mapping[int, int], tokens: int) -> bool:
        return site.room.has_room(site.requests.model, waiting.get(site.place, 0), tokens)

    # ---- what is heard of them

    def leave_out(self, site: BatchSite, why: str) -> bool:
        """Give an endpoint no more rows for a while; False if there is no other that takes any."""
        if not self.others(site):
            return False
        if site.out is None or not site.retry_s:
            site.retry_s = self._clock() + min(LONGEST_OUT_S, OUT_S * 2.0**site.times_out)
            site.times_out += 1
        if site.out is None:
            self._note(
                f"Endpoint {site.name} gets no more rows for now, the others do: {why.rstrip('.')}. What is open there "
                "is collected there."
            )
        site.out = why
        return True

    def failing(self, site: BatchSite, failure: Failure) -> None:
        """Take note of a call that failed for the moment."""
        if failure.http_status is None or failure.http_status >= 500:
            site.failures += 1
            if site.failures >= MOST_FAILURES:
                self.leave_out(site, f"{site.failures} calls in a row have failed: {failure.message}")

    def taken(self, site: BatchSite) -> None:
        """An endpoint has answered rows of a batch, or calls that failed before: it gets rows again."""
        site.refused = site.failures = site.times_out = 0
        if site.out is not None:
            self._note(f"Endpoint {site.name} takes batches again.")
            site.out, site.retry_s = None, 0.0

    @property
    def left_out(self) -> str | None:
        """Return the endpoints that get no rows at the moment, with the reason."""
        return "; ".join(f"{site.name} ({site.out})" for site in self.all if site.out is not None) or None


def queue_account(site: RequestParts, account: str | None) -> str:
    """Return what tells whose queue an endpoint's batches wait in: its account, else its key."""
    key = site.endpoint.key
    return hashlib.sha256((account or (key.reveal() if key is not None else "")).encode()).hexdigest()


def site_identity(site: RequestParts) -> str:
    """Return what the journal calls one of several endpoints: the same whatever others the job has."""
    return " ".join(filter(None, (site.endpoint.identity, site.model, site.job.model.api_key_env)))
