"""Circuit breaker: pauses all requests after repeated refusals or failures; one successful probe closes it.

Pure arithmetic.
"""

from __future__ import annotations

import math
import random
from enum import Enum

from batchgen.pace.values import Ticket
from batchgen.pace.window import Window

FIRST_S, LONGEST_S = 1.0, 15.0
"""The pause before the first probe, and the longest before the next ones, in seconds."""
LASTING_S, LONGEST_LASTING_S = 60.0, 75.0
"""After so many seconds of refused probes the pauses grow up to the second: where refused requests use up quota, or
prolong a ban, a probe every 15 s would keep everything refused for ever; a minute without any clears both."""
REFUSALS = 3
"""So many refusals in a row, after one that has slowed the run down, show that nothing is admitted."""
FAILURES, FAILED_S = 5, 10.0
"""So many requests in a row that fail within so many seconds show that the service is down."""
REMEMBERED = 1_000
"""So many failures are remembered, since some come back a second after others that were sent later."""
LONG_RETRY_AFTER_S = 5.0
"""A `Retry-After` above this pauses all requests; a shorter one only delays the next request."""
LONGEST_RETRY_AFTER_S = 120.0
"""Longest `Retry-After` that is obeyed: values of days have been seen."""


class State(Enum):
    """What the gate does."""

    SENDING = "requests go out"
    CLOSED = "nothing is admitted: one request at a time is sent to see whether that has changed"
    WAITING = "a window is used up: the same until the next one begins"
    DOWN = "everything fails: the same until an answer comes"


SENDING, DOWN = State.SENDING, State.DOWN
"""To be asked for every row: reading an attribute of an enumeration takes 0.15 µs."""


class GateEvent(Enum):
    """What changes it."""

    REFUSED = "requests in a row were refused, after a refusal had slowed the run down; or all since the start"
    USED_UP = "as many requests were sent as a window admits"
    FAILED = "requests in a row failed"
    PROBE_LOST = "the one request was refused or failed"
    ANSWERED = "the one request was admitted; when the service is down, a later request was answered"


TRANSITIONS = {
    (State.SENDING, GateEvent.REFUSED): State.CLOSED,
    (State.SENDING, GateEvent.USED_UP): State.WAITING,
    (State.SENDING, GateEvent.FAILED): State.DOWN,
    (State.CLOSED, GateEvent.PROBE_LOST): State.CLOSED,
    (State.CLOSED, GateEvent.ANSWERED): State.SENDING,
    (State.WAITING, GateEvent.PROBE_LOST): State.WAITING,
    (State.WAITING, GateEvent.ANSWERED): State.SENDING,
    (State.DOWN, GateEvent.PROBE_LOST): State.DOWN,
    (State.DOWN, GateEvent.ANSWERED): State.SENDING,
}
"""The state that follows; what is not named changes nothing."""


class CircuitBreaker:
    """Unless it is sending, nothing goes out before `until_s`; then one request, the probe, decides whether it sends.

    A probe that fails doubles the pause. A pause that a `Retry-After` asks for needs no probe.
    """

    __slots__ = (
        "_rng", "_stop_s", "_worked_s", "began_s", "closed_s", "failures", "patience_s", "probe", "refusals", "state",
        "until_s", "window",
    )  # fmt: skip

    def __init__(self, rng: random.Random, now_s: float = 0.0) -> None:
        self._rng = rng
        self.state = State.SENDING
        self.window = Window(now_s)  # of a limit that admits a burst, then nothing for a while
        self.failures, self.refusals = FailureStreak(), RefusalStreak()
        self.until_s = self.began_s = -math.inf  # the pause, and when it began
        self.closed_s = 0.0  # when it stopped sending
        self.probe: Ticket | None = None  # the one request that is out
        self.patience_s = 0.5  # a probe that is out for so long without a refusal or a failure has passed
        self._stop_s = FIRST_S / 2
        self._worked_s = 0.0  # the pause after which a lasting refusal was over

    def on(self, event: GateEvent, now_s: float, patience_s: float = 0.5, stop_s: float = 0.0) -> bool:
        """Go to the state that follows; return whether anything does. `patience_s` is that with
        probes, `stop_s` the least pause before the first one."""
        before, state = self.state, TRANSITIONS.get((self.state, event))
        if state is None:
            return False
        self.state = state
        if state is State.SENDING:
            if before is not State.DOWN and self._stop_s > 2 * LONGEST_S:  # a used-up minute is over by then
                self._worked_s = self._stop_s
            self.probe = None
            self.failures.clear()
        elif state is before:
            self._pause(now_s, self.longer_s)
        else:
            self.closed_s, self.patience_s = now_s, patience_s
            self._pause(
                now_s, max(FIRST_S, stop_s, self._worked_s if state is State.CLOSED or self.window.count else 0.0)
            )
            if state is not State.DOWN:
                self.window.used_up(now_s, seen=state is State.CLOSED)
        return True

    def _pause(self, now_s: float, stop_s: float) -> None:
        """Send nothing for `stop_s` seconds, with jitter, so that several clients do not come back together."""
        lasting = self.state is not State.DOWN and (now_s - self.closed_s > LASTING_S or self._worked_s > 0)
        self._stop_s = min(stop_s, LONGEST_LASTING_S if lasting else LONGEST_S)
        self.probe, self.began_s = None, now_s
        self.until_s = max(self.until_s, now_s + self._stop_s * self._rng.uniform(1.0, 1.25))

    def failed(self, now_s: float, ticket: Ticket) -> bool:
        """Count a request that failed; return whether it ends a row, so that the service is taken to be down."""
        if (
            self.state is State.SENDING
            and ticket.sent_s >= self.began_s
            and self.failures.counted(ticket.number, now_s)
        ):
            return self.on(GateEvent.FAILED, now_s, min(30.0, max(1.0, 2 * (now_s - ticket.sent_s))))
        return False

    @property
    def longer_s(self) -> float:
        """Twice the last pause."""
        return 2 * self._stop_s

    def again(self, now_s: float, admitted: int = 0) -> None:
        """The probe failed: pause twice as long before the next one, or until a window is due.

        `admitted` requests were admitted so far.
        """
        sent_s = now_s if self.probe is None else self.probe.sent_s
        self.on(GateEvent.PROBE_LOST, now_s)
        if self.state is not State.DOWN:
            self.until_s = self.window.closed(now_s, sent_s, self.until_s, admitted)

    def obey_retry_after(self, now_s: float, retry_after_s: float | None) -> float:
        """Pause all requests for a long `Retry-After`; return for how many seconds."""
        if retry_after_s is None or not is_long(retry_after_s):
            return 0.0
        retry_after_s = min(retry_after_s, LONGEST_RETRY_AFTER_S)
        self.began_s, self.until_s = now_s, max(self.until_s, now_s + retry_after_s)
        return retry_after_s

    def answered(self, ticket: Ticket) -> bool:
        """Whether an answer, which may be a refusal, ends an outage; those before a later one failed by chance."""
        return self.state is State.DOWN and (ticket is self.probe or ticket.number > self.failures.last)

    def says(self, now_s: float) -> str | None:
        """Return why nothing is sent at the moment, None while requests go out."""
        left_s = self.until_s - now_s
        if self.state is State.SENDING:
            return f"the provider asked for a pause, {left_s:,.0f} s more" if left_s > 0 else None
        what = "fails every request" if self.state is State.DOWN else "rate-limits nearly every request"
        return f"the provider {what}; one request at a time is sent to see whether it answers again"


class RefusalStreak:
    """Refusals in a row, as the requests were sent, after a first one that has already slowed the run down."""

    __slots__ = ("_last", "_refused", "first")

    def __init__(self) -> None:
        self.begin(math.inf)

    def begin(self, first: float) -> None:
        """Count from the request `first` on; infinite means from the next refusal on, as one was admitted."""
        self.first = self._last = first
        self._refused = 0

    def counted(self, number: int, sent: int) -> bool:
        """Count a refusal of request `number`, with `sent` sent so far; True if it ends a row of `REFUSALS`."""
        if math.isinf(self.first):
            self.begin(sent)
        elif number > self.first:
            self._refused, self._last = self._refused + 1, max(self._last, number)
        return self._refused >= REFUSALS and self._refused > 0.6 * (self._last - self.first)


class FailureStreak:
    """Failures in a row, in the order in which the requests were sent: failures come back before most answers do."""

    __slots__ = ("_failed", "last")

    def __init__(self) -> None:
        self._failed: dict[int, float] = {}  # numbers of the latest that failed, and when
        self.last = 0  # the last request of the row that was counted to its end

    def counted(self, number: int, now_s: float) -> bool:
        """Count a failure of request `number`; True if it ends a row of `FAILURES` within `FAILED_S`."""
        failed = self._failed
        failed[number] = now_s
        if len(failed) > REMEMBERED:
            del failed[next(iter(failed))]
        first = last = number
        while now_s - failed.get(first - 1, -math.inf) <= FAILED_S:
            first -= 1
        while now_s - failed.get(last + 1, -math.inf) <= FAILED_S:
            last += 1
        self.last = last
        return last - first + 1 >= FAILURES

    def clear(self) -> None:
        """Forget the failures: the service is up."""
        self._failed.clear()


def is_long(retry_after_s: float | None) -> bool:
    """Whether a `Retry-After` pauses all requests; NaN does not."""
    return retry_after_s is not None and retry_after_s > LONG_RETRY_AFTER_S
