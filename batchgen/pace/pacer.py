"""How fast to send: as fast as the provider allows, found without being told. Pure arithmetic; the clock is `now_s`.

One gate for the whole run: two rate limits (requests and tokens, `rate_limit`), bounds on the requests in flight
(`in_flight`), and a circuit breaker that pauses everything (`circuit_breaker`). Nothing is known at first, so the run
begins with a search: a handful of requests, and two more for each one that is admitted, until the first rate-limited
answer. A request counts as admitted when it was answered, or when it is out for longer than a rate-limited answer takes
to come back: answers of a minute must not slow the search.
"""

from __future__ import annotations

import math
import random
from collections import deque
from itertools import islice

from batchgen.pace.circuit_breaker import DOWN, SENDING, CircuitBreaker, GateEvent, State
from batchgen.pace.concurrency_ceiling import ConcurrencyCeiling
from batchgen.pace.in_flight import InFlight
from batchgen.pace.limit_headers import LimitHeaders
from batchgen.pace.observations import PaceObservations
from batchgen.pace.random_refusals import RandomRefusals
from batchgen.pace.rate_limit import RateLimit
from batchgen.pace.search import FIRST_WINDOW, Search
from batchgen.pace.token_cost import TokenCost
from batchgen.pace.values import REQUESTS, SEARCH, TOKENS, Limits, PaceSample, Ticket, per_s
from batchgen.values import RateLimits, Throttle, Usage

REFUSAL_S = 0.5
"""A request that is out for so long was admitted; raised when refusals are seen to take longer."""
SEEN_BEHIND = 100
"""Most requests sent after a rate-limited one whose count in flight is corrected; in a flood it does not matter."""


class Pacer:
    """The gate. `gate` says how long until the next request may go; every request sent ends in one outcome call.

    All times are seconds of one monotonic clock. Not thread-safe: one event loop owns it.
    """

    def __init__(self, limits: Limits, rng: random.Random, now_s: float = 0.0) -> None:
        self.limits, self.in_flight, self._any_admitted = limits, 0, False
        self._requests = RateLimit(per_s(limits.requests_per_minute), now_s)
        self._tokens = RateLimit(per_s(limits.tokens_per_minute), now_s, slack_s=0.2, caution=2.5)
        self._bounds = InFlight(limits)
        self._ceiling, self._late, self._level = self._bounds.ceiling, self._bounds.late, self._bounds.level
        self.breaker = CircuitBreaker(rng, now_s)
        self._undecided: deque[Ticket] = deque()  # sent lately, admitted or not
        self._refusal_s = REFUSAL_S
        # Running totals: sent, and not admitted (refused, failed, given back); the same in tokens.
        self._sent, self._lost, self._sent_tokens, self._lost_tokens = 0, 0, 0.0, 0.0
        self._search, self._random_refusals = Search(), RandomRefusals()
        self._searched: RateLimit | ConcurrencyCeiling = self._requests  # what the search met
        self._cost, self._log = TokenCost(), PaceObservations(limits.timeout_s, held=limits.held)
        self._headers = LimitHeaders(self._requests, self._tokens)
        self._full = False  # the next request waits for a place in flight, not for the pace

    # ---- sending

    def gate(self, now_s: float) -> float:
        """Return the seconds until the next request may go: 0 now, `inf` not before some answer has come."""
        unsure, stop = self._undecided, self.breaker
        while unsure and unsure[0].closed:
            unsure.popleft()
        if unsure and unsure[0].sent_s + self._refusal_s <= now_s:
            self._admit_overdue(now_s)
        if now_s < stop.until_s:
            return stop.until_s - now_s
        if stop.state is not SENDING:
            if stop.probe is not None and now_s < stop.probe.sent_s + stop.patience_s:
                return stop.probe.sent_s + stop.patience_s - now_s
            if stop.probe is not None or (stop.state is State.CLOSED and not self._any_admitted):
                self._resume(now_s)
        in_flight, wait_s = self.in_flight, math.inf  # the least of three bounds, one by one: asked for every row
        if in_flight >= self._ceiling.limit or in_flight >= self._late.limit or (
            in_flight >= self._level.limit and (wait_s := self._level.full(now_s, in_flight))
        ):  # fmt: skip
            self._full = True
            return wait_s
        if self._requests.pace == math.inf:
            if self._sent >= self._search.allowance:
                return max(1e-6, unsure[0].sent_s + self._refusal_s - now_s)
            next_s = self._search.next_s
        else:
            next_s = self._requests.next_s
        if self._tokens.pace != math.inf and self._tokens.next_s > next_s:
            next_s = self._tokens.next_s
        if next_s > now_s + 1e-9:
            self._full = False
            return next_s - now_s
        return 0.0

    def sent(self, now_s: float, tokens: float, *, retry: bool = False) -> Ticket:
        """Count a request that goes out now; `tokens` is the estimate of its prompt."""
        known, log = self._cost, self._log
        cost = tokens * known.ratio + known.answer
        number = self._sent = self._sent + 1
        log.sent += 1
        if number == 1:  # measured from now on: the job may have waited for a batch ("one late")
            self._requests.began(now_s)
            self._tokens.began(now_s)
        self._sent_tokens += cost
        in_flight = self.in_flight = self.in_flight + 1
        bound = 0
        if self._requests.pace == math.inf:
            bound = SEARCH
            if self._search.spread_s:
                self._search.sent(now_s, number)
        elif self._requests.spend(now_s, 1.0) and not self._full:
            bound = REQUESTS
        if self._tokens.pace != math.inf and self._tokens.spend(now_s, cost) and not self._full:
            bound |= TOKENS
        bound |= self._bounds.bound_by(in_flight)
        if bound:
            log.held_by[bound] += 1
        ticket = Ticket(now_s, number, in_flight, tokens, cost, self._sent_tokens, bound, retry)
        self._full = False
        if in_flight > self._level.limit:
            self._level.sent(now_s, ticket)
        self._undecided.append(ticket)
        if self.breaker.state is not SENDING:
            self.breaker.probe = ticket
        elif number >= self.breaker.window.end:
            self._close(now_s, GateEvent.USED_UP)
            self.breaker.until_s = self.breaker.window.sent_all(now_s, self.breaker.until_s)
        return ticket

    # ---- outcomes

    def succeeded(self, now_s: float, ticket: Ticket, usage: Usage | None, limits: RateLimits | None) -> None:
        """An answer came: a completion, or an error that shows that the service is up and took the request."""
        ticket.closed = True
        self.in_flight -= 1
        if self.breaker.state is DOWN and self.breaker.answered(ticket):
            self._resume(now_s)
        if not ticket.admitted:
            self._admit(now_s, ticket)
        if usage is not None:
            used = self._cost.learn(ticket.prompt_tokens, usage)
            if used is not None and self._tokens.pace != math.inf:
                self._tokens.next_s += (used - ticket.tokens) / self._tokens.pace
        took_s = now_s - ticket.sent_s
        self._log.answered(took_s)
        self._late.answered(now_s, took_s, ticket.in_flight, self._sent)
        if self._level.limit != math.inf:
            self._level.answered(now_s, ticket)
        if limits is not None:
            self._level.guarded()
            self._headers.read(now_s, limits, self.limits, self.in_flight)

    def refused(
        self, now_s: float, ticket: Ticket, throttle: Throttle, retry_after_s: float | None = None,
        limits: RateLimits | None = None,
    ) -> float:  # fmt: skip
        """The request was rate-limited. Return the seconds that its row should wait besides waiting for its permit."""
        self._random_refusals.overloaded = throttle is Throttle.OVERLOAD
        if self._random_refusals.overloaded:
            throttle = Throttle.UNKNOWN  # "I am full" may be any limit, or chance
        self._lose(ticket)
        self._level.guarded()
        self._log.refused += 1
        for behind in islice(reversed(self._undecided), SEEN_BEHIND):
            if behind.number <= ticket.number:
                break
            behind.in_flight -= 1  # what was refused was never in the provider's hands
        if self.breaker.answered(ticket):
            self._resume(now_s)
        self._refusal_s = min(5.0, max(REFUSAL_S, self._refusal_s * 0.95, 2 * (now_s - ticket.sent_s)))
        if limits is not None:
            self._headers.read(now_s, limits, self.limits, self.in_flight)
        stop = self.breaker
        if ticket is stop.probe:  # still refused: wait longer; it says nothing about the pace
            stop.again(now_s, self._sent - self._lost)
            stop.obey_retry_after(now_s, retry_after_s)
            return 0.0
        late = ticket.sent_s < stop.began_s  # sent before everybody stopped: says nothing new
        if not self._any_admitted and self._sent == self._lost >= FIRST_WINDOW:
            if not late:
                self.breaker.obey_retry_after(now_s, retry_after_s)
            self._close(now_s, stop_s=stop.longer_s)
            return 0.0
        what: RateLimit | ConcurrencyCeiling = self._tokens if throttle is Throttle.TOKENS else self._requests
        if throttle is Throttle.CONCURRENCY:
            what = self._ceiling
        if self._is_random(now_s, ticket, what, named=throttle is not Throttle.UNKNOWN):
            return 0.0
        self._level.restart()
        if throttle is Throttle.UNKNOWN and isinstance(what, RateLimit) and not late and self._is_ceiling(ticket, what):
            return 0.0
        retry_after_s = 0.0 if late else stop.obey_retry_after(now_s, retry_after_s)
        load = what.load
        if isinstance(what, ConcurrencyCeiling):
            fell = what.refused(ticket.number, self._sent, ticket.in_flight)
        elif throttle is Throttle.GROWTH:
            fell = what.grew_too_fast(now_s, ticket.sent_s, ticket.number - self._lost)
        elif late:
            return 0.0
        else:
            fell = self._refused_rate(now_s, ticket, what, retry_after_s)
        chance = self._random_refusals
        if fell is not None and chance.fell(ticket.number, self._log.refused, what, load, fell=fell):
            self._searched = what
            chance.open_burst(self._sent, what.release(now_s, now_s - ticket.sent_s, chance.bursts))
        return 0.0

    def broken(self, now_s: float, ticket: Ticket, *, late: bool = False) -> None:
        """The service failed (5xx, network, timeout, unreadable); `late`: it did not answer within the deadline."""
        self._lose(ticket)
        self._log.failed += 1
        if late:
            self._late.late(ticket.number, self._sent, ticket.in_flight, self._log.deadline_s)
        if not ticket.admitted:  # no limit refused it
            ticket.admitted = True
            self._count_sample(now_s, ticket, refused=False)
        if ticket is self.breaker.probe:
            self.breaker.again(now_s)
        elif self.breaker.failed(now_s, ticket):
            self._random_refusals.close()

    def abandoned(self, ticket: Ticket) -> None:
        """The request was given up without an outcome (cancelled, stopped)."""
        self._lose(ticket)
        if self._random_refusals.is_sampled(ticket.number):
            self._random_refusals.close()  # it could wait for this vote for ever
        if ticket is self.breaker.probe:
            self.breaker.probe = None

    # ---- what outcomes mean

    def _lose(self, ticket: Ticket) -> None:
        """Count a request that was not admitted."""
        ticket.closed = True
        self.in_flight -= 1
        self._lost += 1
        self._lost_tokens += ticket.tokens
        if not ticket.admitted:
            self._search.allowance += 1

    def _admit(self, now_s: float, ticket: Ticket) -> None:
        """The request was taken."""
        self._any_admitted = True
        if ticket.number > self.breaker.refusals.first:
            self.breaker.refusals.begin(math.inf)
        self._passed(now_s, ticket)
        if ticket is self.breaker.probe and self.breaker.state is not DOWN:
            self._resume(now_s)
        chance = self._random_refusals
        if chance.share and (self._requests.safe or self._tokens.safe) and self._ceiling.safe:
            chance.saw(refused=False)
        if ticket.number <= chance.last:  # else no sample has it
            self._count_sample(now_s, ticket, refused=False)

    def _passed(self, now_s: float, ticket: Ticket) -> None:
        """No limit refused the request: the search may go on, and what bound it may rise."""
        ticket.admitted = True
        self._search.allowance += 2
        self._ceiling.admitted(now_s, ticket.number, self._sent, ticket.in_flight)
        if ticket.bound & REQUESTS:
            self._requests.held(now_s, ticket.sent_s)
        if ticket.bound & TOKENS:
            self._tokens.held(now_s, ticket.sent_s)

    def _admit_overdue(self, now_s: float) -> None:
        """Count as admitted what is out for longer than a rate-limited answer takes to come back."""
        unsure, before_s = self._undecided, now_s - self._refusal_s
        while unsure and (unsure[0].closed or unsure[0].sent_s <= before_s):
            ticket = unsure.popleft()
            if not ticket.closed and not ticket.admitted:
                self._search.spread_s = 0.4  # slow answers: no bunches, for they would stay bunches
                self._admit(now_s, ticket)

    def _resume(self, now_s: float) -> None:
        """End the pause. Where no pace is known, the search begins again, so that not everything is sent at once."""
        stop = self.breaker
        if stop.state is State.CLOSED:
            for rate, admitted in (
                (self._requests, float(self._sent - self._lost)),
                (self._tokens, self._sent_tokens - self._lost_tokens),
            ):
                if self._any_admitted:
                    rate.opened(now_s, now_s - stop.closed_s, admitted)
                else:
                    rate.forget(now_s)
        if stop.state is State.WAITING:
            self._requests.closings.began(now_s, self._sent - self._lost)
        if stop.state is not State.DOWN and stop.probe is not None:
            stop.window.opened(now_s, stop.probe, self._sent - self._lost - 1, self._requests)
        stop.on(GateEvent.ANSWERED, now_s)
        self._search.restart(self._sent)
        stop.refusals.begin(self._sent if self._any_admitted else math.inf)

    def _count_sample(self, now_s: float, ticket: Ticket, *, refused: bool) -> bool:
        """Count the request into the sample that is open; True if refusals are random, so that the search goes on."""
        chance = self._random_refusals
        if not chance.is_sampled(ticket.number):
            return False
        burst, random = chance.burst, chance.count_sample(refused=refused)
        if random:
            self._searched.restore(now_s)
            self._search.allowance = self._sent + FIRST_WINDOW if burst else self._search.allowance
        elif burst and random is False:
            self._searched.retract(now_s, self._sent, burst)
        return bool(random)

    def _is_random(self, now_s: float, ticket: Ticket, what: RateLimit | ConcurrencyCeiling, *, named: bool) -> bool:
        """Whether a rate-limited answer came at random, or is one of a burst, and is no reason to slow down."""
        chance, number = self._random_refusals, ticket.number
        in_burst = chance.burst > 0 and chance.is_sampled(number)
        random = self._count_sample(now_s, ticket, refused=True) or in_burst
        if not random and not chance.expects(number, self._sent, what.safe):
            if chance.share or not math.isinf(self._requests.pace) or not math.isinf(what.load):
                return False
            if not chance.is_open:
                self._searched = what
                after = (t.admitted for t in self._undecided if t.number > number and (t.closed or t.admitted))
                random = bool(chance.open(number, self._sent, self._log.refused, after, named=named))
            if not random:
                return chance.is_open and chance.waits
        if not ticket.admitted and not in_burst:  # as good as an admission
            self._search.allowance -= 1
            self._passed(now_s, ticket)
        return True

    def _is_ceiling(self, ticket: Ticket, rate: RateLimit) -> bool:
        """Whether a refusal without a reason came from a limit on requests in flight; then the ceiling is set."""
        cap, number, level = self._ceiling, ticket.number, ticket.in_flight
        if cap.found is None:
            if self._random_refusals.is_open or ticket.sent_s <= rate.cut_s or not cap.suggests_ceiling(level):
                return False
            cap.assume(self._sent, level)
        elif not cap.is_outdated(number) and cap.disproved(level):
            return False
        else:
            cap.refused(number, self._sent, level, told=False)
        return True

    def _refused_rate(self, now_s: float, ticket: Ticket, rate: RateLimit, stop_s: float) -> bool | None:
        """Learn from a refusal of a rate limit: the first since the last cut is a measurement, each costs a slot."""
        if rate is self._tokens:
            sent, lost, slot = ticket.total_tokens, self._lost_tokens, ticket.tokens
            unit = (self._sent_tokens - lost) / max(1, self._sent - self._lost) or slot
        else:
            sent, lost, slot, unit = float(ticket.number), float(self._lost), 1.0, 1.0
        if self.breaker.window.count:
            self._close(now_s, GateEvent.USED_UP)
            return None
        fell, eats = None, rate.uses_up(now_s, ticket.sent_s, sent - lost, slot)
        if ticket.sent_s > rate.cut_s:
            fell = rate.refused(
                now_s, ticket.sent_s, admitted=sent - lost, sent=sent, unit=unit, stop_s=stop_s,
                noisy=self._random_refusals.share > 0, overloaded=self._random_refusals.overloaded,
            )  # fmt: skip
            if rate is self._tokens and fell is not None:
                rate.cut_s += self._log.typical_s  # what is in flight is charged in full only when it is answered
        if self.breaker.refusals.counted(ticket.number, self._sent):
            self._close(now_s, stop_s=2 * unit / rate.pace)
        if eats:
            rate.next_s = max(rate.next_s, now_s) + slot / rate.pace
        return fell

    def _close(self, now_s: float, event: GateEvent = GateEvent.REFUSED, stop_s: float = 0.0) -> None:
        """Pause all requests, until a probe is admitted."""
        if self.breaker.on(event, now_s, self._refusal_s, stop_s):
            self._random_refusals.close()

    # ---- settings and what is seen from outside

    def change(self, limits: Limits) -> None:
        """Go on with other limits; what was found stays in force where the new limits allow it."""
        if limits.requests_per_minute != self.limits.requests_per_minute:
            self._requests.limit(per_s(limits.requests_per_minute))
        if limits.tokens_per_minute != self.limits.tokens_per_minute:
            self._tokens.limit(per_s(limits.tokens_per_minute))
        self._bounds.change(limits)
        self.limits = limits
        self._log.change_timeout(limits.timeout_s)

    def waits_for(self, now_s: float) -> str | None:
        """Return why nothing is sent at the moment, None while requests go out."""
        return self.breaker.says(now_s)

    @property
    def is_down(self) -> bool:
        """Whether the circuit breaker is open after failures in a row: everything waits for one probe."""
        return self.breaker.state is State.DOWN

    @property
    def deadline_s(self) -> float:
        """Seconds an attempt may take: 5 x p99 of recent latencies, at least 120, at most `limits.timeout_s`."""
        return self._log.deadline_s

    def snapshot(self, now_s: float) -> PaceSample:
        """Return the state and what happened since the last snapshot."""
        return self._log.sample(now_s, self._requests, self._tokens, self.in_flight, int(self._bounds.limit))

    def limited_by(self) -> str | None:
        """Say in one phrase what held most requests back, for the summary; None if nothing did."""
        return self._log.limited_by(self.limits, self._requests, self._tokens, int(self._bounds.limit))
