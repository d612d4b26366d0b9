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
"""So many rows whose first try was unreadable, with nothing readable between, stop the run: a proxy or a portal is in
the way. A row's own retries are no further sign: the last rows of a run may just be bad ones."""

UNREADABLE_AT_FIRST = 5
"""So many before anything has worked: more would not come soon, since as many failures in a row make the limiter send
single probes only."""

UNREACHABLE_TRIES = 3
"""So many failed connections one after the other, with no answer of any kind before them, stop the run."""

UNANSWERED_TRIES = 8
"""The same for requests that went out and never had an answer: a port that speaks something else, or a dead gateway."""


class Watch:
    """Looks at every outcome and says when to stop. `host` is named in the reason; `worked`: an earlier run of the job
    had answers, so its first rows now may just be bad ones."""

    def __init__(self, host: str, *, worked: bool = False) -> None:
        self._host = host
        self._answered = False
        self._worked = worked
        self._alike: tuple[FailureKind, str | None] | None = None
        self._alike_n = 0
        self._unreadable_n = 0
        self._unreachable_n = self._unanswered_n = 0
        self._unreachable_s = float("-inf")

    def observe(self, outcome: Outcome, sent_s: float, now_s: float, *, first: bool = True) -> str | None:
        """Take note of one attempt's outcome, the row's `first` or not; return a sentence if the run should stop."""
        if isinstance(outcome, Completion):
            self._answered = self._worked = True
            self._unreadable_n = 0
            return None
        if outcome.kind is FailureKind.UNREADABLE:
            self._unreadable_n += first
            if self._unreadable_n < (UNREADABLE_IN_A_ROW if self._worked else UNREADABLE_AT_FIRST):
                return None
            return (
                f"{self._unreadable_n} rows in a row had answers from {self._host} that are not the provider's; "
                f"is there a proxy or a login page in between? The last: {outcome.message}"
            )
        if outcome.http_status is None:
            return self._unreachable(outcome, sent_s, now_s)
        self._answered = True
        self._unreadable_n = 0
        return self._refused_alike(outcome)

    def _unreachable(self, failure: Failure, sent_s: float, now_s: float) -> str | None:
        # Requests sent together fail together: only one sent after the last failure was seen is another try.
        if self._answered or sent_s < self._unreachable_s:
            return None
        self._unreachable_s = now_s
        self._unanswered_n += 1
        self._unreachable_n += failure.unsent
        if self._unreachable_n < UNREACHABLE_TRIES and self._unanswered_n < UNANSWERED_TRIES:
            return None
        return f"{self._host} gave no answer in {self._unanswered_n} tries: {failure.message}"

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
