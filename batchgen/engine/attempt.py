"""One attempt: request → permit → send → read → settle. The only meeting of provider, transport, limiter and budget.

A permit is held during one attempt only; a row that waits holds none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from decimal import Decimal

import msgspec

from batchgen.engine.endpoints import NEVER_S, EndpointJudge, Site
from batchgen.engine.provider_health import ProviderHealth
from batchgen.engine.request_memory import RequestMemory
from batchgen.engine.row_result import RowResults
from batchgen.engine.work import RowInProgress
from batchgen.errors import ProviderStop, ResourceStop
from batchgen.money.reservation import Reservations
from batchgen.pace.limiter import Limiter
from batchgen.pace.pacer import Pacer
from batchgen.pace.retry import LAST_PATIENCE_S, RetrySettings, is_retryable
from batchgen.pace.values import Ticket
from batchgen.tokens.count import rough_tokens
from batchgen.transport.protocol import WORKER_LOST
from batchgen.transport.reply_memory import SMALL_BYTES
from batchgen.values import Completion, Failure, FailureKind, Outcome, Prompt, Request, Response, Throttle, Verdict

FILES_KEPT = 8
"""Connections given up when no file descriptor is left: a part takes two, and the input and its thread some more."""


LANE_FULL_S = 60.0
"""How long rows are asked live at an endpoint whose lane was full, if the job says so (`model.lane_fallback`)."""


class Attempts:
    """Sends rows' requests to `sites`, of which `judge` looks after several, and reads the replies.

    `note` takes a sentence for the user.
    """

    def __init__(
        self,
        *,
        sites: Sequence[Site],
        limiter: Limiter,
        reservations: Reservations,
        health: ProviderHealth,
        results: RowResults,
        retry: RetrySettings,
        note: Callable[[str], None] = lambda text: None,
        judge: EndpointJudge | None = None,
    ) -> None:
        self._sites = sites
        self._judge = judge
        self._numbers = 0
        self._limiter = limiter
        self._clock = limiter.clock
        self._reservations = reservations
        self._budget = reservations.budget
        self.health = health
        self._results = results
        self._shown = results.masker.message
        self._patience_s = retry.rate_limit_patience_s
        self._max_attempts = retry.max_attempts
        self._note = note
        self._short_of_files = self._noted_usage = False
        self.memory = RequestMemory()
        self.replies = sites[0].transport.room
        self.refused = self.retried = 0

    async def send(self, row: RowInProgress, *, retry: bool = False) -> Outcome:
        """Send one request for the row and read its answer.

        Raises `LimiterClosed` when the run stops before the request could go out, `BudgetStop` when it could pass the
        budget, `ProviderStop` when the server asks for a longer wait than a row's patience.
        """
        request, site = row.request, self._sites[row.endpoint]
        requests = site.requests
        if request is None:
            if row.prompt.attached:
                loaded = await requests.load(row.prompt)
                if isinstance(loaded, Failure):
                    return loaded
                row.prompt = loaded
            if requests.live is not None:
                row.live = self._asks_live(site)
            request = row.request = requests.build(row.prompt, row.text, live=row.live)
            row.text = None
            self.memory.weigh(row, len(request.body))
        held, ticket = None, None
        if self._budget.cap is None:
            ticket = self._limiter.try_acquire(rough_tokens(len(request.body)), retry=retry)
        waited = ticket is None
        if ticket is None:
            held, ticket = await self._admit(request, row.prompt, retry=retry)
        else:
            self._reservations.pass_unheld()
        health, clock = self.health, self._clock
        outcome: Outcome | None = None
        short_of_files = lane_full = worker_lost = False
        number = 0
        try:
            if ticket.endpoint != row.endpoint:
                row.endpoint = ticket.endpoint
                site = self._sites[row.endpoint]
                requests = site.requests
                row.live = requests.live is not None and self._asks_live(site)
                request = row.request = requests.build(row.prompt, live=row.live)
            if waited and not request.streamed and requests.streams(row.prompt):  # learnt meanwhile
                request = row.request = requests.build(row.prompt, live=row.live)
            if row.refused_at_s is not None:
                row.tally.refused_s += self._clock() - row.refused_at_s
                row.refused_at_s = None
            row.tally.requests += 1
            number = self._numbers = self._numbers + 1
            row.number = number
            health.sent(number)
            started_s = clock()
            if row.failed_at_s is not None:
                row.tally.waited_s = started_s - row.failed_at_s
                row.failed_at_s = None
            if row.tally.attempts or row.tally.timeouts or self._max_attempts == 1:
                deadline_s = self._later_deadline_s(row, site.pacer)
            else:
                deadline_s = site.pacer.deadline_s
            response = await site.transport.send(request, timeout_s=deadline_s)
            answered_s = clock()
            row.latency_ms = (answered_s - started_s) * 1000
            if not isinstance(response, Response) and isinstance(response, Failure):
                outcome = response
                short_of_files = outcome.verdict is Verdict.WAIT
                worker_lost = outcome.code == WORKER_LOST  # which tells nothing of the provider
            else:
                if isinstance(response, Response):
                    outcome, size = requests.read(request, response), len(response.body)
                else:  # a worker has read it
                    outcome, size = response.outcome, response.size
                row.large = size > SMALL_BYTES
                lane_full = requests.live is not None and self._is_lane_full(row, site, outcome)
        finally:
            health.returned(number)
            row.tally.asked_s = self._limiter.settle(
                ticket, None if short_of_files or lane_full or worker_lost else outcome
            )
            cost = None if outcome is None else self._results.cost(row, outcome)
            self._reservations.settle(held, request, row.prompt, outcome, cost)
        if self._judge is not None and not short_of_files:
            judged = self._judge.judge(row, outcome, started_s, answered_s)
            if judged is not None and isinstance(outcome, Failure) and outcome.verdict is not Verdict.WAIT:
                self._count(row, judged)
                self.refused -= judged.verdict is Verdict.WAIT  # no limit refused it
                return judged
            outcome = judged or outcome
        if not isinstance(outcome, Completion):
            if short_of_files:
                self._wait_for_files(row, outcome)
                return outcome
            self._count(row, outcome)
        elif (cost is None or outcome.usage.contradictory) and not self._noted_usage:
            self._note_usage(outcome)
        reason = health.observe(row, outcome, started_s, answered_s)
        if reason is not None:
            raise ProviderStop(self._shown(reason))
        return outcome

    @property
    def _is_last(self) -> bool:
        """Whether what looks like an outage may just be the bad rows at the end of a run that has worked."""
        return self.health.has_worked and not self._limiter.fresh_waiting

    @property
    def waiting_for_budget(self) -> int:
        """Requests that wait for room in the budget."""
        return self._reservations.waiting

    def _later_deadline_s(self, row: RowInProgress, pacer: Pacer) -> float:
        """Return how long a further attempt may take: what is learnt of the others, doubled for each of the row's
        own time-outs, at most `limits.timeout_s`. The last attempt has the whole of it: no row fails for what was
        learnt of others.
        """
        tally = row.tally
        if tally.attempts + 1 >= self._max_attempts:
            return pacer.limits.timeout_s
        return min(pacer.limits.timeout_s, pacer.deadline_s * 2.0 ** min(tally.timeouts, 30))

    async def _admit(self, request: Request, prompt: Prompt, *, retry: bool) -> tuple[Decimal | None, Ticket]:
        """Wait until the budget and the limiter let a request go out; return what is reserved for it, and its permit.

        A budget may be set while one waits for its permit: what fits at once goes, else it gives the permit back.
        """
        tokens = rough_tokens(len(request.body))
        while self._budget.cap is None:
            ticket = await self._limiter.acquire(tokens, retry=retry)
            if self._budget.cap is None:
                self._reservations.pass_unheld()
                return None, ticket
            held = self._reservations.try_hold(request, prompt)
            if held is not None:
                return held, ticket
            self._limiter.settle(ticket, None)
        while True:
            held = await self._reservations.hold(request, prompt, retry=retry)
            permit: Ticket | None = None
            try:
                permit = self._limiter.try_acquire(tokens, retry=retry)
                if permit is None:
                    with nullcontext() if retry else self._reservations.until_permitted():
                        permit = await self._limiter.acquire(tokens, retry=retry)
            finally:
                if permit is None:
                    self._reservations.release(held)
            if permit is not None:
                return held, permit

    def _note_usage(self, completion: Completion) -> None:
        """Say once that answers come without tokens: what is not reported, or cannot be so, is kept as null."""
        usage = completion.usage
        if usage.input_tokens is None or usage.output_tokens is None:
            self._noted_usage = True
            self._note(
                "Answers come without usable counts of their tokens: these rows have no tokens and no cost, and a "
                "budget counts the most that each could have cost."
            )
        elif usage.contradictory:
            self._noted_usage = True
            self._note(
                "Answers report more cached tokens than input, or more thinking than output, against their own total: "
                "these figures stay empty, and the cost is that of input and output."
            )
        elif completion.service_tier is not None and self._results.has_price(completion):
            self._noted_usage = True
            self._note(
                f"Answers come from the class of service {completion.service_tier!r}, whose price is not known: their "
                "cost stays empty. Give its factor as service_tiers of the model in a price file (pricing.file)."
            )

    def _asks_live(self, site: Site) -> bool:
        """Whether an endpoint's lane was full a moment ago, and the job wants its rows asked live meanwhile."""
        return self._clock() < site.lane_full_until_s

    def _is_lane_full(self, row: RowInProgress, site: Site, outcome: Outcome) -> bool:
        """Whether the lane refused the row for want of room, and the job wants it asked live: so are all rows of that
        endpoint then, for a while. That tells nothing of how fast the ordinary calls may be sent.
        """
        if row.live or not isinstance(outcome, Failure):
            return False
        if outcome.throttle is not Throttle.OVERLOAD or outcome.verdict is not Verdict.WAIT:
            return False
        row.request = None
        if site.lane_full_until_s == NEVER_S:
            where = "" if site.name is None else f" at {site.name}"
            self._note(
                f"The lane is full{where}: rows are asked live there, at the full price (model.lane_fallback); the "
                f"lane is tried again every {LANE_FULL_S:.0f} s."
            )
        site.lane_full_until_s = self._clock() + LANE_FULL_S
        return True

    def _wait_for_files(self, row: RowInProgress, failure: Failure) -> None:
        """Take back a request that could not go out for want of a file descriptor, and send fewer at once from now on.

        The others in flight have their connections; some of these are given up so that parts can be written. No row
        fails for it: if one still finds none after two minutes, the run stops.
        """
        tally = row.tally
        tally.requests -= 1
        tally.asked_s = max(1.0, tally.refused_s / 2)
        row.refused_at_s = self._clock()
        if tally.refused_s >= min(self._patience_s, LAST_PATIENCE_S):
            raise ResourceStop(f"For {tally.refused_s:,.0f} s {self._shown(failure.message)}.")
        pacer = self._limiter.pacer
        connected = pacer.in_flight
        fit = max(1, connected - min(FILES_KEPT, connected // 2))
        if fit < pacer.limits.concurrency:
            pacer.change(msgspec.structs.replace(pacer.limits, concurrency=fit))
        if not self._short_of_files:
            self._short_of_files = True
            self._note(
                "No file descriptor is left for another connection: fewer requests are sent at once from now on. "
                "Raise the limit on open files (`ulimit -n`) for more."
            )

    def _count(self, row: RowInProgress, failure: Failure) -> None:
        """Charge a failed attempt to the budget it draws on.

        During an outage (the circuit breaker is open) a failure costs patience, as a rate-limited answer does: the few
        rows that serve as probes must not use up their attempts on an outage that all rows share. A connection that
        could not be had costs patience too: nothing was sent.
        """
        if failure.verdict is Verdict.WAIT:
            self.refused += 1
            row.refused_at_s = self._clock()
            row.tally.last = self._is_last
            row.tally.all_refused = self.health.is_limited(self._clock())
            retry_after_s = failure.retry_after_s
            if retry_after_s is not None and retry_after_s > self._patience_s:
                raise ProviderStop(
                    f"The provider asks for a wait of {retry_after_s:,.0f} s, more than retry.rate_limit_patience_s "
                    f"({self._patience_s:,.0f} s): {self._shown(failure.message)}"
                )
        elif failure.verdict is Verdict.RETRY:
            self.retried += 1
            row.failed_at_s = self._clock()
            if failure.kind is FailureKind.TIMEOUT and failure.http_status is None and failure.maybe_billed:
                row.tally.timeouts += 1
            if failure.needs_stream:
                self._sites[row.endpoint].requests.stream_from_now_on(row.prompt)
                row.request = None
            row.tally.shared = self._sites[row.endpoint].pacer.is_down
            if row.tally.shared or failure.unsent:
                row.tally.last = self._is_last
                row.refused_at_s = self._clock()
            else:
                row.tally.attempts += 1
        if failure.usage is not None and is_retryable(failure):
            self._results.bill(row, failure)
