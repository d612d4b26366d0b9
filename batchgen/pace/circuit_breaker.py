"""A stop of everybody, after a storm of refusals or a row of failures, ended by one probe. Pure arithmetic."""

from __future__ import annotations

import math
import random
from collections import deque
from enum import Enum

from batchgen.pace.values import Ticket

LONGEST_S = 15.0
"""Longest stop before the next probe."""
RUN = 20
"""Requests after a cut whose refusals belong together."""
DOOR = 2
"""Probes in a row that did not pass: all is refused, so it is no rate that does it."""
LONG_WISH_S = 5.0
"""A `Retry-After` above this stops everybody; a shorter one is only pacing."""
LONGEST_WISH_S = 120.0
"""Cap on a `Retry-After` that is obeyed: values of days have been seen."""


class Why(Enum):
    """What a stop waits for."""

    REFUSALS = "refusals"  # nearly all refused
    FAILURES = "failures"  # the service is down


class Stop:
    """Nobody sends before `until_s`; then one request, the probe, decides whether the others follow.

    A probe that fails doubles the stop. A stop that a `Retry-After` asks for (`wait`) needs no probe.
    """

    __slots__ = ("_failed", "_rng", "_stop_s", "began_s", "patience_s", "probe", "until_s", "why")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.until_s = self.began_s = -math.inf
        self.why: Why | None = None
        self.probe: Ticket | None = None  # the one request that is out
        self.patience_s = 0.5  # a probe that is out for so long, and neither refused nor failed, has passed
        self._stop_s = 1.0
        self._failed = 0

    def begin(self, now_s: float, why: Why, stop_s: float, patience_s: float) -> None:
        """Stop everybody for `stop_s`, jittered so that several clients do not come back together."""
        self.why, self.probe, self.began_s = why, None, now_s
        self._stop_s = min(stop_s, LONGEST_S)
        self.patience_s = patience_s
        self.until_s = now_s + self._stop_s * self._rng.uniform(1.0, 1.25)

    def again(self, now_s: float) -> None:
        """The probe did not pass: wait twice as long before the next one."""
        assert self.why is not None
        self._failed += 1
        self.begin(now_s, self.why, 2 * self._stop_s, self.patience_s)

    def wait(self, now_s: float, wait_s: float) -> None:
        """Everybody waits as long as the provider wished."""
        self.began_s, self.until_s = now_s, max(self.until_s, now_s + wait_s)

    def wish(self, now_s: float, retry_after_s: float | None) -> float:
        """Obey a long `Retry-After`; return the seconds that everybody stops."""
        if retry_after_s is None or not is_long(retry_after_s):
            return 0.0
        wish_s = min(retry_after_s, LONGEST_WISH_S)
        self.wait(now_s, wish_s)
        return wish_s

    def end(self) -> None:
        """The probe passed."""
        self.why = self.probe = None
        self._failed = 0

    @property
    def is_door(self) -> bool:
        """Whether it has lasted for so many probes that everybody is shut out."""
        return self._failed >= DOOR


class RefusalRun:
    """Refusals in a row, more or less, after a first one that everybody was slowed down for."""

    __slots__ = ("_first", "refused")

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, first: int) -> None:
        """Count from the request `first` on; 0: from the next refusal."""
        self._first, self.refused = first, 0

    def is_storm(self, number: int, sent: int) -> bool:
        """Count a refusal of request `number` when `sent` were; True if four and more than 60 % were refused."""
        nth = number - self._first
        if self._first == 0 or nth > RUN:
            self.begin(sent)
        elif nth > 0:
            self.refused += 1
            return self.refused >= 4 and self.refused > 0.6 * nth
        return False


class FailureRun:
    """Failures in a row: `clear` it when any answer comes."""

    __slots__ = ("_times_s",)

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=5)

    def counted(self, now_s: float) -> bool:
        """Count a failure; True if it is the fifth within 10 s."""
        self._times_s.append(now_s)
        return len(self._times_s) == 5 and now_s - self._times_s[0] <= 10.0

    def clear(self) -> None:
        """The service is up."""
        self._times_s.clear()


def is_long(retry_after_s: float | None) -> bool:
    """Whether a `Retry-After` stops everybody; NaN is no wish."""
    return retry_after_s is not None and retry_after_s > LONG_WISH_S
