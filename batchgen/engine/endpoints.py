"""The endpoints of a run, and which of several are left out for a while.

A row that one endpoint refuses for good is asked at another before anything is made of it: if it is answered there, the
first endpoint is at fault (its key, its account, its model) and is left out; if not, the row is. Errors of one endpoint
never stop a run while another can take requests; the last one is judged as the only one is (`provider_health`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.engine.model_requests import ModelRequests
from batchgen.engine.refusals import DOUBTFUL_STATUSES
from batchgen.engine.work import RowInProgress
from batchgen.errors import ProviderStop, StoppedError
from batchgen.money.worst_case import Unbounded, WorstCase
from batchgen.pace.pacer import Pacer
from batchgen.pace.pacer_pool import PacerPool, PooledEndpoint
from batchgen.transport.protocol import Transport
from batchgen.values import Completion, Failure, Outcome, Prompt, Request, Verdict

STRIKES = 3
"""Rows refused at an endpoint and answered at another, none answered there between them, that leave it out; one is
enough for a status that no single row can cause."""

OUT_S, LONGEST_OUT_S = 60.0, 900.0
"""Seconds until an endpoint that is left out is tried with one request: at first, doubled up to the second."""

DOUBT_S = 5.0
"""How long an endpoint gets no new rows after it refused one, if the row is not answered elsewhere before."""

NEVER_S = -math.inf
"""The time of what has not happened."""

DOWN_SAID_S = 3.0
"""After so many seconds of failures an endpoint is said to be down."""


class Site(Struct, eq=False):
    """One endpoint: how it is asked, and over which connections. `name` is None where it is the only one.

    The counts are those of this process: requests sent, rate-limited answers, other failures, and requests without an
    answer that may have been billed. Until `lane_full_until_s` rows are asked in the ordinary way, where the job wants
    that of a full lane; at `live_price` then, else at `price`, which only have to be comparable.
    """

    requests: ModelRequests
    transport: Transport
    pacer: Pacer
    name: str | None = None
    sent: int = 0
    rate_limited: int = 0
    failed: int = 0
    possibly_billed: int = 0
    strikes: int = 0
    times_out: int = 0
    out: str | None = None
    down_s: float | None = None
    said_down: bool = False
    lane_full_until_s: float = NEVER_S
    price: float = 0.0
    live_price: float = 0.0


class DearestCase(WorstCase):
    """The most that a request can cost at any of several endpoints: which one it goes to is known later."""

    def __init__(self, cases: Sequence[WorstCase]) -> None:
        self._cases = cases
        self.advice = cases[0].advice  # type: ignore[method-assign]

    def __call__(self, request: Request, prompt: Prompt) -> Decimal | Unbounded:
        """Return the most that this request can cost, in the price's currency."""
        dearest = Decimal(0)
        for case in self._cases:
            worst = case(request, prompt)
            if isinstance(worst, Unbounded):
                return worst
            dearest = max(dearest, worst)
        return dearest


def unused_figures(name: str | None) -> dict[str, Any]:
    """Return what a summary says of an endpoint that nothing was sent to."""
    counts = dict.fromkeys(("requests", "rate_limited", "failed", "possibly_billed"), 0)
    return {"endpoint": name, **counts, "left_out": None}


class EndpointJudge:
    """Decides what a failure at one of several endpoints means. `note` takes a sentence for the user.

    `patience_s` is how long a row may wait out rate limits.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        pool: PacerPool,
        patience_s: float,
        note: Callable[[str], None],
        shown: Callable[[str], str],
    ) -> None:
        self._sites = sites
        self._pool = pool
        self._patience_s = patience_s
        self._note = note
        self._shown = shown

    def judge(self, row: RowInProgress, outcome: Outcome, sent_s: float, now_s: float) -> Failure | None:
        """Take note of an attempt's outcome, of a request sent at `sent_s`.

        Return the failure as the row's own attempts should see it, if it says nothing of the run as a whole; None if it
        is to be judged as with a single endpoint.
        """
        place = row.endpoint
        site, pooled = self._sites[place], self._pool.endpoints[place]
        site.sent += 1
        if isinstance(outcome, Completion):
            site.strikes = 0
            if pooled.retry_s is not None and sent_s >= pooled.retry_s:
                self._take_back(site, pooled)
            if row.refused_by is not None:
                self._count_refusal(*row.refused_by, now_s)
                row.refused_by = None
            return None
        site.rate_limited += outcome.verdict is Verdict.WAIT
        site.failed += outcome.verdict is not Verdict.WAIT
        site.possibly_billed += outcome.maybe_billed and outcome.usage is None
        if outcome.verdict is Verdict.STOP:
            return self._refused(row, outcome, now_s)
        if outcome.verdict is Verdict.FAIL:
            self._clear_endpoint(row)
            return None
        if site.out is not None:
            self._leave_out(place, site.out, now_s)
        if not self._pool.others_usable(place):
            return None
        if outcome.verdict is Verdict.RETRY:
            return outcome
        asked_s = outcome.retry_after_s
        if asked_s is not None and asked_s > self._patience_s:
            self._leave_out(place, f"it asks for a wait of {asked_s:,.0f} s", now_s, for_s=asked_s)
        return msgspec.structs.replace(outcome, retry_after_s=None)  # its pacer waits, the row goes elsewhere now

    def _refused(self, row: RowInProgress, failure: Failure, now_s: float) -> Failure | None:
        """Send a row that was refused for good to another endpoint, once."""
        place = row.endpoint
        if row.refused_by is not None:
            if row.refused_by[0] != place:
                self._clear_endpoint(row)
            return None
        if not self._pool.others_usable(place):
            return None
        row.refused_by = place, failure
        pooled = self._pool.endpoints[place]
        if failure.http_status not in DOUBTFUL_STATUSES or self._sites[place].out is not None:
            self._leave_out(place, self._said(failure), now_s)
        elif pooled.retry_s is None:
            pooled.retry_s = now_s + DOUBT_S
        return msgspec.structs.replace(failure, verdict=Verdict.WAIT, retry_after_s=None)

    def _clear_endpoint(self, row: RowInProgress) -> None:
        """The row itself was at fault: the endpoint that refused it first gets rows again."""
        if row.refused_by is not None and self._sites[row.refused_by[0]].out is None:
            self._pool.endpoints[row.refused_by[0]].retry_s = None
        row.refused_by = None

    def _count_refusal(self, place: int, failure: Failure, now_s: float) -> None:
        """Count a row that this endpoint refused and another one answered."""
        site = self._sites[place]
        if site.out is not None:
            return
        site.strikes += 1
        if site.strikes >= STRIKES:
            self._leave_out(place, self._said(failure), now_s)
        else:
            self._pool.endpoints[place].retry_s = None

    def _leave_out(self, place: int, why: str, now_s: float, for_s: float | None = None) -> None:
        site, pooled = self._sites[place], self._pool.endpoints[place]
        if site.out is not None and pooled.retry_s is not None and pooled.retry_s > now_s:
            return  # another request of those that were out already
        wait_s = for_s or min(LONGEST_OUT_S, OUT_S * 2.0**site.times_out)
        pooled.retry_s = now_s + wait_s
        site.times_out += 1
        if site.out is None:
            self._note(
                f"Endpoint {site.name} is left out, the others go on: {why} One request tries it again in "
                f"{wait_s:,.0f} s."
            )
        site.out = why

    def _take_back(self, site: Site, pooled: PooledEndpoint) -> None:
        pooled.retry_s = None
        site.times_out = 0
        if site.out is not None:
            self._note(f"Endpoint {site.name} answers again.")
            site.out = None

    def _said(self, failure: Failure) -> str:
        return f"HTTP {failure.http_status}: {self._shown(failure.message).rstrip('.')}."

    def look(self, now_s: float) -> None:
        """Say when an endpoint fails every request, and when it answers again; called from time to time.

        One whose lane is full has the ordinary price meanwhile.
        """
        for place, site in enumerate(self._sites):
            self._pool.reprice(place, site.live_price if now_s < site.lane_full_until_s else site.price)
            if not site.pacer.is_down:
                if site.said_down:
                    self._note(f"Endpoint {site.name} answers again.")
                site.down_s, site.said_down = None, False
            elif site.down_s is None:
                site.down_s = now_s
            elif not site.said_down and now_s - site.down_s >= DOWN_SAID_S:
                site.said_down = True
                others = "the others go on" if self._pool.others_usable(place) else "no other is left now"
                self._note(f"Endpoint {site.name} fails every request; {others}, and it is tried again.")

    def told(self, error: StoppedError | None) -> StoppedError | None:
        """Return why the run stopped, with what was wrong with each endpoint."""
        if not isinstance(error, ProviderStop) or self.left_out is None:
            return error
        return ProviderStop(f"{str(error).rstrip('.')}. No endpoint was left: {self.left_out}.", error.remedy)

    @property
    def left_out(self) -> str | None:
        """Return the endpoints that get no rows at the moment, with the reason; None if all do."""
        out = [
            f"{site.name} ({site.out or 'fails every request'})"
            for site in self._sites
            if site.out is not None or site.pacer.is_down
        ]
        return "; ".join(out) or None

    def figures(self) -> list[Mapping[str, Any]]:
        """Return what a summary says of each endpoint."""
        return [
            {
                **unused_figures(site.name),
                "requests": site.sent,
                "rate_limited": site.rate_limited,
                "failed": site.failed,
                "possibly_billed": site.possibly_billed,
                "left_out": site.out or ("fails every request" if site.pacer.is_down else None),
            }
            for site in self._sites
        ]
