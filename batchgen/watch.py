"""Signs that no row can succeed although no single answer says so.

A wrong parameter is refused row by row, a captive portal answers 200 to everything, a mistyped host refuses every
connection: each looks like one row's bad luck, all together are the job's fault. Better to stop after the first rows
than to fail a million.
"""

from __future__ import annotations

from batchgen.values import Completion, Failure, FailureKind, Outcome, Verdict

ALIKE = 20
"""So many first rows refused with the same code for a setting stop the run."""

UNREADABLE_IN_A_ROW = 20
"""So many unreadable answers with none readable between them stop the run: a proxy or a portal is in the way."""

UNREADABLE_AT_FIRST = 5
"""So many rows whose first try was unreadable, before anything has worked, stop the run: more would not come soon,
since as many failures in a row make the limiter send single probes only. A row's own retries are no further sign."""

UNREACHABLE_TRIES = 3
"""So many failed connections one after the other, with no answer of any kind before them, stop the run."""


class Watch:
    """Looks at every outcome and says when to stop. `host` is named in the reason."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._answered = False
        self._worked = False
        self._alike: tuple[FailureKind, str | None] | None = None
        self._alike_n = 0
        self._unreadable_n = self._unreadable_rows = 0
        self._unreachable_n = 0
        self._unreachable_s = float("-inf")

    def observe(self, outcome: Outcome, sent_s: float, now_s: float, *, first: bool = True) -> str | None:
        """Take note of one attempt's outcome, the row's `first` or not; return a sentence if the run should stop."""
        if isinstance(outcome, Completion):
            self._answered = self._worked = True
            self._unreadable_n = self._unreadable_rows = 0
            return None
        if outcome.kind is FailureKind.UNREADABLE:
            self._unreadable_n += 1
            self._unreadable_rows += first
            if self._worked:
                stop = self._unreadable_n >= UNREADABLE_IN_A_ROW
            else:
                stop = self._unreadable_rows >= UNREADABLE_AT_FIRST
            if not stop:
                return None
            return (
                f"{self._unreadable_n} answers in a row from {self._host} could not be read as the provider's; "
                f"is there a proxy or a login page in between? The last: {outcome.message}"
            )
        if outcome.http_status is None:
            return self._unreachable(outcome, sent_s, now_s)
        self._answered = True
        self._unreadable_n = self._unreadable_rows = 0
        return self._refused_alike(outcome)

    def _unreachable(self, failure: Failure, sent_s: float, now_s: float) -> str | None:
        # Requests sent together fail together: only one sent after the last failure was seen is another try.
        if self._answered or failure.maybe_billed or sent_s < self._unreachable_s:
            return None
        self._unreachable_n += 1
        self._unreachable_s = now_s
        if self._unreachable_n < UNREACHABLE_TRIES:
            return None
        return f"{self._host} could not be reached in {self._unreachable_n} tries: {failure.message}"

    def _refused_alike(self, failure: Failure) -> str | None:
        if self._worked or failure.verdict is not Verdict.FAIL or not failure.setting:
            return None
        alike = (failure.kind, failure.code)
        self._alike_n = self._alike_n + 1 if alike == self._alike else 1
        self._alike = alike
        if self._alike_n < ALIKE:
            return None
        return (
            f"The first {self._alike_n} rows were all refused alike, so the job rather than the rows is at fault: "
            f"{failure.message}"
        )
