"""How fast to send: as fast as the provider allows, found without being told. Pure arithmetic; the clock is `now_s`.

One gate for the whole run: two paces (requests, tokens; `rate`), a cap on requests in flight (`cap`), and
stops for everybody (`stop`). Nothing is known at first, so the search begins with a handful of requests, and
each one that is admitted permits two more; the first refusal ends it. "Admitted" is a request that was answered, or
that is out for longer than a refusal takes to come back: an answer of a minute must not slow the search.
"""

from __future__ import annotations

import math
import random
from collections import deque
from itertools import islice

from batchgen.pace.circuit_breaker import LONGEST_S, FailureRun, RefusalRun, Stop, Why
from batchgen.pace.concurrency_ceiling import Cap
from batchgen.pace.late_answers import LateAnswers
from batchgen.pace.limit_headers import Headers
from batchgen.pace.observations import PaceLog
from batchgen.pace.random_refusals import Chance
from batchgen.pace.rate_limit import Rate, per_s
from batchgen.pace.token_cost import TokenCost
from batchgen.pace.values import CONCURRENCY, IN_FLIGHT, REQUESTS, SEARCH, SLOW, TOKENS, Limits, PaceSample, Ticket
from batchgen.values import RateLimits, Throttle, Usage

FIRST_WINDOW = 6
"""Requests sent before anything is known: one round trip of refusals at worst."""
REFUSAL_S = 0.5
"""A request that is out for so long was admitted; raised when refusals are seen to take longer."""
SEEN_BEHIND = 100
"""Most requests behind a refused one whose level in flight is put right: in a flood it matters to none."""


class Pacer:
    """The gate. `gate` says how long until the next request may go; every request sent ends in one outcome call.

    All times are seconds of one monotonic clock. Not thread-safe: one event loop owns it.
    """

    def __init__(self, limits: Limits, rng: random.Random, now_s: float = 0.0) -> None:
        self.limits = limits
        self.in_flight = 0
        self._rng = rng
        self._requests = Rate(per_s(limits.requests_per_minute), now_s)
        self._tokens = Rate(per_s(limits.tokens_per_minute), now_s, slack_s=0.2, caution=2.5)
        self._cap = Cap(limits.concurrency)
        self._stop = Stop(rng)
        self._unsure: deque[Ticket] = deque()  # sent lately, admitted or not
        self._refusal_s = REFUSAL_S
        # Running totals: sent, and not admitted (refused, failed, given back); the same in tokens.
        self._sent = self._lost = 0
        self._sent_tokens = self._lost_tokens = 0.0
        # The search: requests permitted in all while no pace is known, and how they are spread.
        self._permitted = FIRST_WINDOW
        self._spread_s = self._next_search_s = 0.0
        self._run = RefusalRun()
        self._failures = FailureRun()
        self._late = LateAnswers()
        self._chance = Chance()
        self._searched: Rate | Cap = self._requests  # what the search met
        self._taken = False  # whether any request was ever admitted
        self._closed_s = 0.5  # the last wait for a door that was closed from the start
        self._cost, self._log = TokenCost(), PaceLog(limits.timeout_s)
        self._headers = Headers(self._requests, self._tokens)
        self._full = False  # the next request waits for a place in flight, not for the pace

    # ---- sending

    def gate(self, now_s: float) -> float:
        """Return the seconds until the next request may go: 0 now, `inf` not before some answer has come."""
        unsure = self._unsure
        if unsure and (unsure[0].closed or unsure[0].sent_s + self._refusal_s <= now_s):
            self._confirm(now_s)
        stop = self._stop
        if now_s < stop.until_s:
            return stop.until_s - now_s
        if stop.probe is not None:
            if now_s < stop.probe.sent_s + stop.patience_s:
                return stop.probe.sent_s + stop.patience_s - now_s
            self._resume(now_s)
        if self.in_flight >= self._cap.limit or self.in_flight >= self._late.limit:
            self._full = True
            return math.inf
        if self._requests.pace == math.inf:
            if self._sent >= self._permitted:
                return max(1e-6, unsure[0].sent_s + self._refusal_s - now_s)
            next_s = self._next_search_s
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
        cost = self._cost.expected(tokens)
        self._sent += 1
        self._log.sent += 1
        self._sent_tokens += cost
        self.in_flight += 1
        bound = 0
        if self._requests.pace == math.inf:
            bound = SEARCH
            self._next_search_s = now_s + self._spread_s / self._permitted
        elif self._requests.spend(now_s, 1.0) and not self._full:
            bound = REQUESTS
        if self._tokens.pace != math.inf and self._tokens.spend(now_s, cost) and not self._full:
            bound |= TOKENS
        if self.in_flight >= self._late.limit:
            bound |= SLOW
        elif self.in_flight >= self._cap.limit:
            bound |= IN_FLIGHT if self._cap.limit < self._cap.bound else CONCURRENCY
        if bound:
            self._log.bound(bound)
        ticket = Ticket(now_s, self._sent, self.in_flight, tokens, cost, self._sent_tokens, bound, retry)
        self._full = False
        self._unsure.append(ticket)
        if self._stop.why is not None:
            self._stop.probe = ticket
        return ticket

    # ---- outcomes

    def succeeded(self, now_s: float, ticket: Ticket, usage: Usage | None, limits: RateLimits | None) -> None:
        """An answer came: a completion, or an error that proves the service is up and took the request."""
        ticket.closed = True
        self.in_flight -= 1
        self._answered(now_s, ticket)
        if not ticket.admitted:
            self._admit(now_s, ticket)
        if usage is not None:
            used = self._cost.learn(ticket.prompt_tokens, usage)
            if used is not None and self._tokens.pace != math.inf:
                self._tokens.next_s += (used - ticket.tokens) / self._tokens.pace
        self._log.answered(now_s - ticket.sent_s)
        self._late.answered(now_s, now_s - ticket.sent_s, ticket.in_flight, self._sent)
        if limits is not None:
            self._headers.read(limits, self.limits)

    def refused(
        self,
        now_s: float,
        ticket: Ticket,
        throttle: Throttle,
        retry_after_s: float | None = None,
        limits: RateLimits | None = None,
    ) -> float:
        """A limit spoke. Returns the seconds this row should wait besides the gate (only overload asks for any)."""
        self._lose(ticket)
        self._log.refused += 1
        for behind in islice(reversed(self._unsure), SEEN_BEHIND):
            if behind.number <= ticket.number:
                break
            behind.in_flight -= 1  # what was refused was never in the provider's hands
        self._answered(now_s, ticket)
        self._refusal_s = min(5.0, max(REFUSAL_S, self._refusal_s * 0.95, 2 * (now_s - ticket.sent_s)))
        if limits is not None:
            self._headers.read(limits, self.limits)
        stop = self._stop
        if ticket is stop.probe:  # still refused: wait longer, learn nothing from it
            stop.again(now_s)
            stop.wish(now_s, retry_after_s)
            return 0.0
        late = ticket.sent_s < stop.began_s  # sent before everybody stopped: says nothing new
        if not self._taken and self._sent == self._lost >= FIRST_WINDOW:
            self._nothing_taken(now_s, None if late else retry_after_s, late)
            return 0.0
        what = self._blamed(ticket, throttle)
        if self._is_chance(now_s, ticket, what, named=throttle is not Throttle.UNKNOWN):
            return 0.0
        if throttle is Throttle.UNKNOWN and isinstance(what, Rate) and not late and self._is_cap(ticket, what):
            return 0.0
        wish_s = 0.0 if late else stop.wish(now_s, retry_after_s)
        load = what.load
        if isinstance(what, Cap):
            fell = what.refused(ticket.number, self._sent, ticket.in_flight, busy=throttle is Throttle.OVERLOAD)
        elif throttle is Throttle.GROWTH:
            fell = what.grew_too_fast(now_s, ticket.sent_s, ticket.number - self._lost)
        elif late:
            return 0.0
        else:
            fell = self._refused_rate(now_s, ticket, what, None if wish_s else retry_after_s, wish_s)
        if fell is not None and self._chance.fell(ticket.number, self._log.refused, what, load, fell=fell):
            what.restore(now_s, self._chance.top)
        if throttle is not Throttle.OVERLOAD:
            return 0.0
        if not late:
            self._storm(now_s, ticket, 1.0)
        return self._rng.uniform(0.5, 1.0) * min(30.0, 2.0 ** min(5, 1 + self._run.refused))

    def broken(self, now_s: float, ticket: Ticket, *, late: bool = False) -> None:
        """The service failed (5xx, network, timeout, unreadable); `late`: it did not answer within the deadline.

        Five in a row within 10 s stop everybody; then one probe at a time, 1 s doubling to 15 s.
        """
        self._lose(ticket)
        self._log.failed += 1
        if late:
            self._late.late(ticket.number, self._sent, ticket.in_flight, self._log.deadline_s)
        if not ticket.admitted:
            self._vote(now_s, ticket, refused=False)  # no limit refused it
        stop = self._stop
        if ticket is stop.probe:
            stop.again(now_s)
        elif ticket.sent_s >= stop.began_s and stop.why is None and self._failures.counted(now_s):
            stop.begin(now_s, Why.FAILURES, 1.0, min(30.0, max(1.0, 2 * (now_s - ticket.sent_s))))
            self._chance.close()

    def abandoned(self, ticket: Ticket) -> None:
        """The request was given up without an outcome (cancelled, stopped)."""
        self._lose(ticket)
        if self._chance.has_vote(ticket.number):
            self._chance.close()  # it could wait for this vote for ever
        if ticket is self._stop.probe:
            self._stop.probe = None

    # ---- what outcomes mean

    def _lose(self, ticket: Ticket) -> None:
        """Take the request out of what was admitted."""
        ticket.closed = True
        self.in_flight -= 1
        self._lost += 1
        self._lost_tokens += ticket.tokens
        if not ticket.admitted:
            self._permitted += 1

    def _admit(self, now_s: float, ticket: Ticket) -> None:
        """The request was taken."""
        self._taken = True
        self._passed(now_s, ticket)
        if ticket is self._stop.probe and self._stop.why is Why.REFUSALS:
            self._resume(now_s)
        if (self._requests.safe or self._tokens.safe) and self._cap.safe:
            self._chance.saw(refused=False)
        self._vote(now_s, ticket, refused=False)

    def _passed(self, now_s: float, ticket: Ticket) -> None:
        """No limit refused the request: the search may go on, and what bound it may rise."""
        ticket.admitted = True
        self._permitted += 2
        self._cap.admitted(now_s, ticket.number, self._sent, ticket.in_flight)
        if ticket.bound & REQUESTS:
            self._requests.held(now_s, ticket.sent_s)
        if ticket.bound & TOKENS:
            self._tokens.held(now_s, ticket.sent_s)

    def _confirm(self, now_s: float) -> None:
        """Admit what is out for longer than a refusal takes."""
        unsure, before_s = self._unsure, now_s - self._refusal_s
        while unsure and (unsure[0].closed or unsure[0].sent_s <= before_s):
            ticket = unsure.popleft()
            if not ticket.closed and not ticket.admitted:
                self._spread_s = 0.4  # slow answers: no bunches, for they would stay bunches
                self._admit(now_s, ticket)

    def _answered(self, now_s: float, ticket: Ticket) -> None:
        """Any answer, a refusal too, proves that the service is up."""
        self._failures.clear()
        if self._stop.why is Why.FAILURES and ticket is self._stop.probe:
            self._resume(now_s)

    def _resume(self, now_s: float) -> None:
        """The stop is over; without a known pace, search again rather than stampede."""
        if self._stop.is_door:
            self._requests.reopen()
            self._tokens.reopen()
        self._stop.end()
        self._failures.clear()
        self._permitted = self._sent + FIRST_WINDOW
        self._run.begin(self._sent)

    def _vote(self, now_s: float, ticket: Ticket, *, refused: bool) -> bool:
        """Let the request vote on the refusal that ended the search; True if the search goes on."""
        chance = self._chance
        if not chance.has_vote(ticket.number) or not chance.vote(refused=refused):
            return False
        self._searched.restore(now_s, math.inf)
        return True

    def _is_chance(self, now_s: float, ticket: Ticket, what: Rate | Cap, *, named: bool) -> bool:
        """Whether a refusal is no reason to cut."""
        chance, number = self._chance, ticket.number
        if not self._vote(now_s, ticket, refused=True) and not chance.expects(self._sent, safe=what.safe):
            if chance.share or not math.isinf(self._requests.pace) or not math.isinf(what.load):
                return False
            if not chance.is_open:
                self._searched = what
                after = (t.admitted for t in self._unsure if t.number > number and (t.closed or t.admitted))
                chance.open(number, self._sent, self._log.refused, after, named=named)
            return chance.is_open and chance.waits
        if not ticket.admitted:  # as good as an admission
            self._permitted -= 1
            self._passed(now_s, ticket)
        return True

    def _nothing_taken(self, now_s: float, retry_after_s: float | None, late: bool) -> None:
        """All was refused from the start: nothing is known. Wait 1 s, doubling to 15 s, and search anew."""
        self._closed_s = min(LONGEST_S, 2 * self._closed_s)
        self._stop.wish(now_s, retry_after_s)
        if not late:
            self._stop.wait(now_s, self._closed_s * self._rng.uniform(1.0, 1.25))
        for rate in (self._requests, self._tokens):
            rate.forget(max(now_s, self._stop.until_s))
        self._chance.close()
        self._permitted = self._sent + FIRST_WINDOW
        self._run.begin(0)

    def _blamed(self, ticket: Ticket, throttle: Throttle) -> Rate | Cap:
        """Which load was too high; if the answer does not say, what held the request back let too much through."""
        if throttle is Throttle.OVERLOAD or throttle is Throttle.CONCURRENCY:
            return self._cap
        by_tokens = throttle is Throttle.UNKNOWN and ticket.bound & (REQUESTS | TOKENS) == TOKENS
        return self._tokens if by_tokens or throttle is Throttle.TOKENS else self._requests

    def _is_cap(self, ticket: Ticket, rate: Rate) -> bool:
        """Whether a refusal that does not say why betrays a cap in flight by its level; then the cap is set."""
        cap, number, level = self._cap, ticket.number, ticket.in_flight
        if cap.found is None:
            if self._chance.is_open or ticket.sent_s <= rate.cut_s or not cap.betrays_itself(level):
                return False
            cap.guess(self._sent, level)
        elif not cap.old_news(number) and cap.refuted(level):
            return False
        else:
            cap.refused(number, self._sent, level)
        return True

    def _refused_rate(
        self, now_s: float, ticket: Ticket, rate: Rate, short_wish_s: float | None, stop_s: float
    ) -> bool | None:
        """A rate refused: measure at the first refusal since the last cut, and give up a slot at each."""
        if rate is self._tokens:
            sent, lost, slot = ticket.total_tokens, self._lost_tokens, ticket.tokens
            unit = (self._sent_tokens - lost) / max(1, self._sent - self._lost) or slot
        else:
            sent, lost, slot, unit = float(ticket.number), float(self._lost), 1.0, 1.0
        fell = None
        if ticket.sent_s > rate.cut_s:
            fell = rate.refused(
                now_s, ticket.sent_s, admitted=sent - lost, sent=sent, unit=unit, stop_s=stop_s,
                noisy=self._chance.share > 0,
            )  # fmt: skip
            if rate is self._tokens and fell is not None:
                rate.cut_s += self._log.typical_s  # what is in flight is charged in full only when it is answered
        self._storm(now_s, ticket, max(1.0, 2 * unit / rate.pace), rate)
        # A refusal may itself have eaten quota, so each costs a slot.
        rate.next_s = max(rate.next_s, now_s) + slot / rate.pace
        if short_wish_s is not None and 0 < short_wish_s * rate.pace <= 2 * unit:
            rate.next_s = max(rate.next_s, now_s + short_wish_s)
        return fell

    def _storm(self, now_s: float, ticket: Ticket, stop_s: float, rate: Rate | None = None) -> None:
        """Stop everybody when, after a first cut, most is still refused."""
        if self._run.is_storm(ticket.number, self._sent) and self._stop.why is None:
            self._stop.begin(now_s, Why.REFUSALS, stop_s, self._refusal_s)
            self._chance.close()
            if rate is not None:
                rate.storm(self._stop.until_s)

    # ---- settings and what is seen from outside

    def change(self, limits: Limits) -> None:
        """Take over other limits while running; what was found stays where the new limits allow it."""
        if limits.requests_per_minute != self.limits.requests_per_minute:
            self._requests.limit(per_s(limits.requests_per_minute))
        if limits.tokens_per_minute != self.limits.tokens_per_minute:
            self._tokens.limit(per_s(limits.tokens_per_minute))
        if limits.concurrency != self.limits.concurrency:
            self._cap.rebound(limits.concurrency)
        self.limits = limits
        self._log.change_timeout(limits.timeout_s)

    @property
    def is_down(self) -> bool:
        """Whether the service has failed so often in a row that everybody waits for one probe."""
        return self._stop.why is Why.FAILURES

    @property
    def deadline_s(self) -> float:
        """Seconds an attempt may take: 5 x p99 of recent latencies, at least 120, at most `limits.timeout_s`."""
        return self._log.deadline_s

    def snapshot(self, now_s: float) -> PaceSample:
        """Return the state and what happened since the last snapshot."""
        return self._log.sample(now_s, self._requests, self._tokens, self.in_flight, self._cap.limit)

    def limited_by(self) -> str | None:
        """Say in one phrase what held most requests back, for the summary; None if nothing did."""
        return self._log.limited_by(self.limits, self._requests, self._tokens, self._cap.limit)
