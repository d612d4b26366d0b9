"""Circuit breaker: pauses all requests after repeated refusals or failures; one successful probe closes it.

Pure arithmetic.
"""

from __future__ import annotations

import math
import random
from enum import Enum

from batchgen.pace.values import Ticket
from batchgen.pace.window import Window

LONGEST_S = 15.0
"""Longest pause before the next probe, in seconds."""
LASTING_S, LONGEST_LASTING_S = 60.0, 75.0
"""After so many seconds of refused probes the pauses grow up to the second: where refused requests use up quota, or
prolong a ban, a probe every 15 s would keep everything refused for ever; a minute without any clears both."""
RUN = 20
"""Requests after a cut among which refusals are counted together."""
FAILURES, FAILED_S = 5, 10.0
"""So many requests in a row that fail within so many seconds show that the service is down."""
REMEMBERED = 1_000
"""So many failures are remembered, since some come back a second after others that were sent later."""
LONG_RETRY_AFTER_S = 5.0
"""A `Retry-After` above this pauses all requests; a shorter one only delays the next request."""
LONGEST_RETRY_AFTER_S = 120.0
"""Longest `Retry-After` that is obeyed: values of days have been seen."""


class Reason(Enum):
    """Why the circuit breaker is open."""

    REFUSALS = "refusals"  # nearly all requests are rate-limited
    FAILURES = "failures"  # the service is down


class CircuitBreaker:
    """While it is open nothing is sent before `until_s`; then one request, the probe, decides whether it closes.

    A probe that fails doubles the pause. A pause that a `Retry-After` asks for (`wait`) needs no probe.
    """

    __slots__ = (
        "_opened_s",
        "_rejected_wait_s",
        "_rng",
        "_stop_s",
        "_worked_s",
        "began_s",
        "failures",
        "patience_s",
        "probe",
        "until_s",
        "why",
        "window",
    )

    def __init__(self, rng: random.Random, now_s: float = 0.0) -> None:
        self._rng = rng
        self.window = Window(now_s)  # of a limit that admits a burst, then nothing for a while
        self.until_s = self.began_s = -math.inf
        self._rejected_wait_s = 0.5  # the last wait for a door that was closed from the start
        self.why: Reason | None = None
        self.probe: Ticket | None = None  # the one request that is out
        self.patience_s = 0.5  # a probe that is out for so long without a refusal or a failure has passed
        self._stop_s = 1.0
        self._opened_s = 0.0
        self.failures = FailureStreak()
        self._worked_s = 0.0  # the pause after which a lasting refusal was over

    def begin(self, now_s: float, why: Reason, stop_s: float, patience_s: float) -> None:
        """Pause all requests for `stop_s` seconds, with jitter, so that several clients do not come back together."""
        if self.why is None:
            self._opened_s = now_s
            if why is Reason.REFUSALS:
                stop_s = max(stop_s, self._worked_s)
                self.window.used_up(now_s)
        lasting = why is Reason.REFUSALS and (now_s - self._opened_s > LASTING_S or self._worked_s > 0)
        self.why, self.probe, self.began_s = why, None, now_s
        self._stop_s = min(stop_s, LONGEST_LASTING_S if lasting else LONGEST_S)
        self.patience_s = patience_s
        self.until_s = now_s + self._stop_s * self._rng.uniform(1.0, 1.25)

    def again(self, now_s: float, admitted: int = 0) -> None:
        """The probe failed: pause twice as long before the next one, or until a window is due.

        `admitted` requests were admitted so far.
        """
        assert self.why is not None
        sent_s = now_s if self.probe is None else self.probe.sent_s
        self.begin(now_s, self.why, 2 * self._stop_s, self.patience_s)
        if self.why is Reason.REFUSALS:
            self.until_s = self.window.closed(now_s, sent_s, self.until_s, admitted)

    def wait(self, now_s: float, wait_s: float) -> None:
        """Pause all requests for the time that the provider asked for."""
        self.began_s, self.until_s = now_s, max(self.until_s, now_s + wait_s)

    def reject_all(self, now_s: float, retry_after_s: float | None, *, late: bool) -> None:
        """Nothing was ever admitted: wait 1 s, doubling to 15 s; not for a request that was sent before, if `late`."""
        self._rejected_wait_s = min(LONGEST_S, 2 * self._rejected_wait_s)
        self.obey_retry_after(now_s, retry_after_s)
        if not late:
            self.wait(now_s, self._rejected_wait_s * self._rng.uniform(1.0, 1.25))

    def obey_retry_after(self, now_s: float, retry_after_s: float | None) -> float:
        """Obey a long `Retry-After`; return for how many seconds all requests pause."""
        if retry_after_s is None or not is_long(retry_after_s):
            return 0.0
        retry_after_s = min(retry_after_s, LONGEST_RETRY_AFTER_S)
        self.wait(now_s, retry_after_s)
        return retry_after_s

    def answered(self, ticket: Ticket) -> bool:
        """Any answer shows that the service is up; return whether the one probe has shown it after failures."""
        if self.why is Reason.FAILURES and ticket is not self.probe and ticket.number > self.failures.last:
            self.end()  # those before it failed by chance
        return self.why is Reason.FAILURES and ticket is self.probe

    def end(self) -> None:
        """The probe passed. What refused probes prolonged for long is waited out at once the next time."""
        if self.why is Reason.REFUSALS and self._stop_s > 2 * LONGEST_S:  # a used-up minute is over by then
            self._worked_s = self._stop_s
        self.why = self.probe = None
        self.failures.clear()

    def says(self, now_s: float) -> str | None:
        """Return why nothing is sent at the moment, None while requests go out."""
        left_s = self.until_s - now_s
        if self.why is None:
            return f"the provider asked for a pause, {left_s:,.0f} s more" if left_s > 0 else None
        what = "rate-limits nearly every request" if self.why is Reason.REFUSALS else "fails every request"
        return f"the provider {what}; one request at a time is sent to see whether it answers again"


class RefusalStreak:
    """Counts the refusals after a first one that has already slowed the run down."""

    __slots__ = ("_first", "all_refused", "refused")

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, first: int) -> None:
        """Count from the request `first` on; 0 means from the next refusal on."""
        self._first, self.refused = first, 0
        self.all_refused = False  # nothing was taken since

    def mostly_refused(self, number: int, sent: int) -> bool:
        """Count a refusal of request `number`, with `sent` requests sent so far.

        Return True if at least four, and more than 60 % of those since the first, were refused.
        """
        nth = number - self._first
        if self._first == 0 or nth > RUN:
            self.begin(sent)
        elif nth > 0:
            self.refused += 1
            self.all_refused = self.refused == nth
            return self.refused >= 4 and self.refused > 0.6 * nth
        return False


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
