"""One pace for several processes of a machine that use the same account: one of them leads, the others lease permits.

The leader's pacer sees what all processes send and what comes of it, so that it finds the account's limits as it would
those of one run; permits go to the processes in turn. This file decides who may send; `engine.account` carries the
messages. No times go from one process to another, so that their clocks may differ. Pure arithmetic.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.pace.pacer import Pacer
from batchgen.pace.rate_limit import NAMED
from batchgen.pace.values import Limits, Ticket
from batchgen.values import RateLimits, Throttle, Usage

UNBOUNDED = 100_000
"""Requests in flight of all processes: each keeps to its own limit, and what the account allows is found."""

UNSEEN = 8
"""Most permits that are on their way to a process: so many are lost if it is suspended."""

KEPT_S = 1.0
"""A permit that was not used for so long is given back: the process was suspended, or has nothing to send."""


class Role(Enum):
    """What a process is among those of its account."""

    NONE = "none"  # nothing is sent until it is known who leads
    ALONE = "alone"
    LEADER = "leader"
    FOLLOWER = "follower"


class LeasedTicket(Ticket, gc=False):
    """A request that was sent with a permit of the leader's; `lease` is its number there, `term` who that was."""

    lease: int = 0
    term: int = 0


class LeaseOutcome(Struct, array_like=True):
    """What came of a leased permit, as the leader is told: `how` is the name of a method of the pacer."""

    lease: int
    how: str
    usage: Usage | None = None
    limits: RateLimits | None = None
    throttle: Throttle | None = None
    retry_after_s: float | None = None
    late: bool = False


class AccountState(Struct, array_like=True):
    """What the leader tells of the account: the paces in force (None: none), and why nothing is sent."""

    requests_per_s: float | None
    tokens_per_s: float | None
    down: bool
    waits_for: str | None
    limited_by: str | None


class Member(Struct, eq=False):
    """A process, as the leader sees it. `turn` counts what it has had, by which the next one is chosen."""

    waiting: int = 0
    tokens: float = 0.0
    turn: float = 0.0
    seen: int = 0
    sent: int = 0
    tickets: dict[int, Ticket] = {}
    limits: Limits | None = None


class SharedPacer(Pacer):
    """A pacer that may lead, follow or be alone. `wake` is called when the caller should look at the gate again."""

    def __init__(self, limits: Limits, rng: random.Random, now_s: float = 0.0) -> None:
        self._account = msgspec.structs.replace(limits, concurrency=UNBOUNDED)
        super().__init__(self._account, rng, now_s)
        self.limits = limits
        self.role = Role.NONE
        self.mine = 0  # requests of this process in flight
        self.term = 0
        self.state: AccountState | None = None
        self.wake: Callable[[], None] = lambda: None
        self.changed: Callable[[], None] = lambda: None  # there is something to tell or to grant
        self.outbox: list[LeaseOutcome] = []
        self.wanted = False  # this process waits for a permit
        self.typical_tokens = 0.0
        self._permits: deque[tuple[int, float]] = deque()
        self._members: dict[int, Member] = {}
        self._own = Member()
        self._leases = 0

    # ---- sending

    def gate(self, now_s: float) -> float:
        """Return the seconds until this process may send; `inf` if `wake` will be called."""
        if self.mine >= self.limits.concurrency:
            return math.inf
        if self.role is Role.FOLLOWER:
            self._give_back(now_s)
            if self._permits:
                return 0.0
            if not self.wanted:
                self.wanted = True
                self.changed()
            return math.inf
        if self.role is Role.NONE:
            return math.inf
        if self._members:
            if not self._own.waiting:
                self._own.waiting = 1
                self._join(self._own)
            if self._next_member() is not self._own:
                self.changed()
                return math.inf
        return super().gate(now_s)

    def sent(self, now_s: float, tokens: float, *, retry: bool = False) -> Ticket:
        """Count a request that goes out now."""
        self.mine += 1
        self.typical_tokens += (tokens - self.typical_tokens) / 16 if self.typical_tokens else tokens
        if self.role is not Role.FOLLOWER:
            self._own.waiting = 0
            self._own.turn += 1
            return super().sent(now_s, tokens, retry=retry)
        lease, _ = self._permits.popleft()
        self.wanted = False
        self._log.sent += 1
        return LeasedTicket(now_s, lease, self.mine, tokens, tokens, 0.0, 0, retry, lease=lease, term=self.term)

    # ---- outcomes

    def _told(self, ticket: Ticket, how: str, **what: Any) -> bool:
        """Take back a request of this process. Return whether it was a leased one, which the leader is told of."""
        self.mine -= 1
        if not isinstance(ticket, LeasedTicket):
            if self._members:
                self.changed()
            return False
        if self.role is Role.FOLLOWER and ticket.term == self.term:
            self.outbox.append(LeaseOutcome(ticket.lease, how, **what))
            self.changed()
        return True

    def succeeded(self, now_s: float, ticket: Ticket, usage: Usage | None, limits: RateLimits | None) -> None:
        """See `Pacer.succeeded`."""
        if self._told(ticket, "succeeded", usage=usage, limits=limits):
            self._log.answered(now_s - ticket.sent_s)
        else:
            super().succeeded(now_s, ticket, usage, limits)

    def refused(
        self,
        now_s: float,
        ticket: Ticket,
        throttle: Throttle,
        retry_after_s: float | None = None,
        limits: RateLimits | None = None,
    ) -> float:
        """See `Pacer.refused`."""
        if self._told(ticket, "refused", throttle=throttle, retry_after_s=retry_after_s, limits=limits):
            self._log.refused += 1
            return 0.0
        return super().refused(now_s, ticket, throttle, retry_after_s, limits)

    def broken(self, now_s: float, ticket: Ticket, *, late: bool = False) -> None:
        """See `Pacer.broken`."""
        if self._told(ticket, "broken", late=late):
            self._log.failed += 1
        else:
            super().broken(now_s, ticket, late=late)

    def abandoned(self, ticket: Ticket) -> None:
        """See `Pacer.abandoned`."""
        if not self._told(ticket, "abandoned"):
            super().abandoned(ticket)

    # ---- as a follower

    def follow(self, term: int) -> None:
        """Lease permits from now on, of the leader of this number."""
        self._take_role(Role.FOLLOWER)
        self.term = term

    def granted(self, now_s: float, leases: list[int]) -> None:
        """Permits have come."""
        self._permits.extend((lease, now_s + KEPT_S) for lease in leases)
        self.wake()
        self.wanted = False

    def _give_back(self, now_s: float) -> None:
        while self._permits and self._permits[0][1] <= now_s:
            self.outbox.append(LeaseOutcome(self._permits.popleft()[0], "abandoned"))
            self.changed()

    def give_back_unused(self, now_s: float, *, waiting: int) -> None:
        """Give back what nobody waits for."""
        if not waiting:
            now_s += KEPT_S
        self._give_back(now_s)

    # ---- as the leader, or without one

    def lead(self) -> None:
        """Lead from now on, at the pace that the leader before has told."""
        self._take_role(Role.LEADER)
        state = self.state
        if state is None or self.limits.requests_per_minute is not None or self.limits.tokens_per_minute is not None:
            return
        if state.requests_per_s is not None:
            self._requests.limit(state.requests_per_s / NAMED, most_per_s=math.inf)
        if state.tokens_per_s is not None:
            self._tokens.limit(state.tokens_per_s / NAMED, most_per_s=math.inf)

    def step_down(self, role: Role = Role.NONE) -> None:
        """Send nothing until it is known who leads; or be alone."""
        self._take_role(role)

    def _take_role(self, role: Role) -> None:
        for number in list(self._members):
            self.left(number)
        self.role = role
        self._permits.clear()
        self.outbox.clear()
        self.wanted = False
        self._own = Member()
        self.wake()

    def joined(self, number: int, limits: Limits) -> None:
        """A process leases permits from now on; a limit that its job names holds for all."""
        self._members[number] = member = Member(limits=limits, tickets={})
        self._join(member)
        self._bound()

    def left(self, number: int) -> None:
        """A process is gone: what it had in flight is in nobody's hands."""
        for ticket in self._members.pop(number).tickets.values():
            super().abandoned(ticket)
        self._bound()

    def _bound(self) -> None:
        """Keep to the lowest limits that any job names."""
        every = [self.limits, *(member.limits for member in self._members.values() if member.limits is not None)]
        named = {
            name: min((value for one in every if (value := getattr(one, name)) is not None), default=None)
            for name in ("requests_per_minute", "tokens_per_minute")
        }
        own = self.limits
        self.limits = self._account
        super().change(msgspec.structs.replace(own, concurrency=UNBOUNDED, **named))
        self._account, self.limits = self.limits, own

    def wants(self, number: int, waiting: int, tokens: float, seen: int) -> None:
        """A process has so many rows that wait; it has seen the permits up to number `seen`."""
        member = self._members[number]
        if waiting and not member.waiting:
            self._join(member)
        member.tokens, member.seen = tokens, seen
        member.waiting = max(0, waiting - (member.sent - seen))  # less the permits that are on their way

    def _join(self, member: Member) -> None:
        """Whoever waits again after a time begins beside the others, not ahead of them."""
        others = [one.turn for one in (self._own, *self._members.values()) if one.waiting and one is not member]
        member.turn = max(member.turn, min(others, default=member.turn))

    def _next_member(self) -> Member | None:
        """Return the process whose turn it is, None if none waits."""
        ready = [one for one in self._members.values() if one.waiting and one.sent - one.seen < UNSEEN]
        if self._own.waiting and self.mine < self.limits.concurrency:
            ready.append(self._own)
        return min(ready, key=lambda one: one.turn, default=None)

    def grant(self, now_s: float) -> tuple[dict[int, list[int]], float]:
        """Return permits by the number of the process, and the seconds until there may be more."""
        found: dict[int, list[int]] = {}
        numbers = {id(member): number for number, member in self._members.items()}
        while (member := self._next_member()) is not None:
            wait_s = super().gate(now_s)
            if wait_s > 0:
                return found, wait_s
            if member is self._own:
                turn = member.turn
                self.wake()
                if member.turn > turn:
                    continue
                member.waiting = 0  # it does not want it any more
                continue
            self._leases += 1
            member.tickets[self._leases] = super().sent(now_s, member.tokens)
            member.turn += 1
            member.sent += 1
            member.waiting -= 1
            found.setdefault(numbers[id(member)], []).append(self._leases)
        return found, math.inf

    def heard(self, now_s: float, number: int, done: LeaseOutcome) -> None:
        """A process tells what came of a permit."""
        ticket = self._members[number].tickets.pop(done.lease, None)
        if ticket is None:
            return
        if done.how == "succeeded":
            super().succeeded(now_s, ticket, done.usage, done.limits)
        elif done.how == "refused":
            throttle = done.throttle or Throttle.UNKNOWN
            super().refused(now_s, ticket, throttle, done.retry_after_s, done.limits)
        elif done.how == "broken":
            super().broken(now_s, ticket, late=done.late)
        else:
            super().abandoned(ticket)

    def told(self, now_s: float) -> AccountState:
        """Return what followers are told."""
        requests, tokens = (None if math.isinf(rate.pace) else rate.pace for rate in (self._requests, self._tokens))
        return AccountState(requests, tokens, super().is_down, super().waits_for(now_s), super().limited_by())

    # ---- settings and what is seen from outside

    def change(self, limits: Limits) -> None:
        """Go on with other limits."""
        self.limits = limits
        self._bound()

    @property
    def is_down(self) -> bool:
        """See `Pacer.is_down`."""
        following = self.role is Role.FOLLOWER and self.state is not None
        return self.state.down if following and self.state is not None else super().is_down

    def waits_for(self, now_s: float) -> str | None:
        """See `Pacer.waits_for`."""
        if self.role is Role.FOLLOWER:
            return None if self.state is None else self.state.waits_for
        return super().waits_for(now_s)

    def limited_by(self) -> str | None:
        """See `Pacer.limited_by`."""
        if self.role is Role.FOLLOWER and self.state is not None and self.state.limited_by is not None:
            return f"{self.state.limited_by} (shared with other runs)"
        return super().limited_by()
