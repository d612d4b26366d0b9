"""Whether the provider can still answer rows: tells errors that concern every row from errors of a single one.

No single answer decides. A wrong key looks like a row that a firewall blocks, an empty account like a request that is
too dear, a wrong parameter like a bad row. So a row whose failure may be everybody's is held back without a result. An
answer to a request that was sent after the failure was seen shows that it was the row's own; several different rows
without such an answer stop the run, and stay pending. Of what was sent after the first failure only that counts before
which all has come back: refusals are quick and answers are slow.
"""

from __future__ import annotations

import math
import re

from batchgen.engine.refusals import DOUBTFUL_ROWS, DOUBTFUL_STATUSES, REFUSED_ROWS, Refusals, Suspect, told
from batchgen.engine.work import RowInProgress
from batchgen.job.settings import LimitSettings
from batchgen.providers.auth import public_url
from batchgen.values import Completion, Failure, FailureKind, Outcome, Throttle, Verdict

HELD_MOST = 200
"""Most rows held back for failures of their own look, where no number of them stops the run: each holds up a part."""

UNREADABLE_IN_A_ROW = 20
"""So many rows whose first try was unreadable, with nothing readable between, stop the run: a proxy or a portal is in
the way. A row's own retries are no further sign: the last rows of a run may just be bad ones."""

UNREADABLE_AT_FIRST = 5
"""So many before anything has worked: more would not come soon, since as many failures in a row make the limiter send
single probes only."""

UNREACHABLE_TRIES = 3
"""So many failed connections one after the other, with no answer of any kind before them, stop the run: the name does
not resolve, or there is no TLS. A connection that is refused is waited for: the server may be starting."""

DIFFERENT_ROWS = 5
"""Rows that fail without an answer between them before the run may stop for want of answers, once it has had some."""

SAID_AFTER_S, SAID_AGAIN_S = 3.0, 60.0
"""When the user is told that nothing is answered: so long after the first failure, and then so often."""

ALIKE_SAID = 20
"""So many rows in a row that end alike, for reasons of their own, are told to the user; then ten times as many."""

_OWN = frozenset({FailureKind.PROMPT, FailureKind.INVALID_OUTPUT})
"""What is always a row's own."""

_OWN_LATER = frozenset({FailureKind.TOO_LONG, FailureKind.CONTENT_FILTER})
"""What is a row's own, unless it is all that was ever heard."""

REMEDIES = {
    FailureKind.AUTHENTICATION: (
        "Put the right key into the variable that model.api_key_env names; then the same command goes on from here."
    ),
    FailureKind.MODEL_UNAVAILABLE: (
        "Once this key can use the model, the same command goes on. Another one (--set model.name=NAME) needs "
        "--fresh or another --output: answers of two models are never mixed."
    ),
    FailureKind.INVALID_REQUEST: (
        "Correct the job; what an answer depends on needs --fresh or another --output then. If it is the rows, raise "
        "the limit that is named, and the same command goes on from here."
    ),
    FailureKind.ACCOUNT: "Settle the account with the provider; then the same command goes on from here.",
    FailureKind.ENDPOINT: (
        "Correct model.base_url, with --fresh or another --output: answers of two addresses are never mixed."
    ),
}
"""What to do after an answer that no row can survive, for the run to go on."""

_LOADING = re.compile(r"\bload(?:ing|s)?\b|\bstarting\b|warming up|not ready|initiali[sz]ing", re.IGNORECASE)
_VARIABLE_PART = re.compile(r"[0-9A-Za-z-]*\d[0-9A-Za-z-]*|'[^']*'|\"[^\"]*\"|`[^`]*`")


class ProviderHealth:
    """Looks at every outcome and says when to stop. `host` is named in the reasons.

    `patience_s` is how long a row may wait out rate limits; `worked`: an earlier run of the job had answers, so its
    first rows now may just be bad ones.
    """

    def __init__(self, host: str, limits: LimitSettings, patience_s: float, *, worked: bool = False) -> None:
        self._host = host
        self.limits = limits
        self._patience_s = patience_s
        self._worked = worked
        self._succeeded = False  # in this run
        self._heard = False  # any reply at all
        self._good = 0  # number of the latest request that was answered
        self._latest = 0  # number of the latest request that was sent
        self._out: set[int] = set()  # numbers of the requests that are out
        self.returned = self._out.discard  # takes the number of one that is out no more, whatever came of it
        self.held: list[Suspect] = []
        self.refusals = Refusals()
        self._answered_behind = 0  # requests answered that were sent after the first of these rows'
        self._unreadable_n = 0
        self._unreachable_n = 0
        self._unreachable_s = -math.inf
        self._trouble_s: float | None = None  # since when there was a failure and no answer
        self._failed_rows: set[int] = set()  # since then
        self._last: Failure | None = None
        self._said_s = -math.inf
        self.cause: FailureKind | None = None  # of the failure that stopped the run, where it was refused for good
        self._end: str | None = None  # how the last rows ended, of themselves
        self._end_n = 0
        self._end_due: dict[str, int] = {}  # when each of them is said next: a few good rows between change nothing

    @property
    def has_worked(self) -> bool:
        """Whether there was any answer, in this run or an earlier one."""
        return self._worked or self._succeeded

    def answered_later(self, failure: Failure) -> str | None:
        """Take note of a row that was refused and then answered; return a sentence for the user at the first."""
        return self.refusals.answered_later(self._host, failure)

    def answered_earlier(self) -> None:
        """A row has the answer of an earlier run: what it asks is nothing that no row could ask."""
        self._worked = True

    # ---- attempts

    def sent(self, number: int) -> None:
        """A request is out, with its number in the order of sending."""
        self._latest = number
        self._out.add(number)

    def observe(self, row: RowInProgress, outcome: Outcome, sent_s: float, now_s: float) -> str | None:
        """Take note of one attempt's outcome; return a sentence if the run should stop."""
        if isinstance(outcome, Completion):
            self._succeeded = self._heard = True
            self._unreadable_n = 0
            self._trouble_s = None
            if row.number > self._good:  # noqa: PLR1730 - `max` costs three times as much, for every row
                self._good = row.number
            if self.held and row.number > self.held[0].row.number:
                self._answered_behind += 1
            return None
        if self._trouble_s is None:
            self._trouble_s, self._said_s = now_s, -math.inf
            self._failed_rows.clear()
        self._failed_rows.add(row.row)
        self._last = outcome
        if outcome.kind is FailureKind.UNREADABLE:
            return self._unreadable(outcome, first=row.tally.requests == 1)
        if outcome.http_status is None:
            return self._unreachable(outcome, sent_s, now_s)
        self._heard = True
        self._unreadable_n = 0
        if self._succeeded and outcome.verdict is Verdict.FAIL and outcome.kind in _OWN_LATER:
            self._good = max(self._good, row.number)  # judged on its own merits: the provider is alive
            self._trouble_s = None
        return None

    def _unreadable(self, failure: Failure, *, first: bool) -> str | None:
        self._unreadable_n += first
        if self._unreadable_n < (UNREADABLE_IN_A_ROW if self.has_worked else UNREADABLE_AT_FIRST):
            return None
        return (
            f"{self._unreadable_n} rows in a row had answers from {self._host} that are not the provider's; "
            f"is there a proxy or a login page in between? The last: {failure.message}"
        )

    def _unreachable(self, failure: Failure, sent_s: float, now_s: float) -> str | None:
        # Requests sent together fail together: only one sent after the last failure was seen is another try.
        if self._heard or not failure.unsent or _is_starting(failure) or sent_s < self._unreachable_s:
            return None
        self._unreachable_s = now_s
        self._unreachable_n += 1
        if self._unreachable_n < UNREACHABLE_TRIES:
            return None
        return f"{self._host} gave no answer in {self._unreachable_n} tries: {failure.message}"

    # ---- rows

    @property
    def in_doubt(self) -> bool:
        """Whether to send nothing more until what was sent after the first refusal has come back."""
        if len(self.held) < REFUSED_ROWS:
            return False
        many = 0 < self._enough <= len(self.held)
        refused = [one for one in self.held if one.failure.verdict is Verdict.STOP and not one.again]
        few = self.refusals.rows_that_stop(self.held, refused, self._latest, self._good)
        few = few if few == REFUSED_ROWS else 2 * few  # others are not held up for what may be single rows'
        if not many and len(refused) < few:
            return False
        seen = min(one.seen for one in self.held)
        return sum(number > seen for number in self._out) >= (1 if many else DOUBTFUL_ROWS)

    def _rows_that_stop(self, refused: list[Suspect]) -> int:
        """Return how many refused rows in a row stop the run."""
        rows = self.refusals.rows_that_stop(self.held, refused, self._latest, self._good)
        return rows if self._succeeded else rows + self.refusals.may_be_answered(self.held, self._out)

    @property
    def _enough(self) -> int:
        """So many rows that failed without an answer between them stop the run, whatever they failed of; 0: none do."""
        first = 0 if self.has_worked else self.limits.max_alike_at_first
        return first or self.limits.max_failed_in_a_row

    def is_suspect(self, failure: Failure) -> bool:
        """Whether a row's last failure may be everybody's, so that the row is to be held back."""
        if failure.verdict is Verdict.STOP:
            return True
        if failure.kind in _OWN or (self._succeeded and failure.kind in _OWN_LATER):
            return False
        limits = self.limits
        if limits.max_failed_in_a_row:  # which bounds how many are held, with what is in flight
            return True
        return limits.max_alike_at_first > 0 and not self._succeeded and len(self.held) < HELD_MOST

    def hold(self, row: RowInProgress, failure: Failure) -> str | None:
        """Hold a row back; return a sentence if the run should stop."""
        if not self.held:
            self._answered_behind = 0
        self.held.append(Suspect(row, failure, self._latest, self._succeeded))
        first_one = min(self.held, key=lambda one: one.seen)
        oldest = min((number for number in self._out if number > first_one.seen), default=math.inf)
        sure = [one for one in self.held if one is first_one or first_one.seen < one.row.number < oldest]
        sure = [one for one in sure if not one.again]
        refused = [one for one in sure if one.failure.verdict is Verdict.STOP]
        if len(refused) >= self._rows_that_stop(refused):
            return self._refused(refused)
        first, most = self.limits.max_alike_at_first, self.limits.max_failed_in_a_row
        if first and not self.has_worked and len(sure) >= first and _alike(sure):
            return self._all_alike(sure)
        if most and len(sure) >= most:
            return (
                f"{len(sure)} rows in a row failed and none was answered (limits.max_failed_in_a_row); the last: "
                f"{told(sure[-1].failure)}"
            )
        return None

    def cleared(self) -> list[Suspect]:
        """Return the rows whose failure is not everybody's, as a later answer has shown; they are held no more."""
        own = [one for one in self.held if one.seen < self._good]
        if own:
            self.refusals.disproved(own)
            self.held = [one for one in self.held if one.seen >= self._good]
        return own

    def at_the_end(self) -> str | None:
        """Return why the rows that are still held back stop the run when no others are left, None if they fail."""
        refused = [one for one in self.held if one.failure.verdict is Verdict.STOP and not one.again]
        sure = [one for one in refused if one.failure.http_status not in DOUBTFUL_STATUSES]
        alone = not self._succeeded and (sure or (refused and not self._worked))
        many = any(some and len(some) >= self._rows_that_stop(some) for some in (sure, refused))
        if alone or (many and self._answered_behind < len(refused)):
            return self._refused(refused)
        if self.has_worked or len(self.held) < REFUSED_ROWS or not self.limits.max_alike_at_first:
            return None
        if _alike(self.held) and any(one.failure.setting for one in self.held):
            return self._all_alike(self.held)
        return None

    def _refused(self, refused: list[Suspect]) -> str:
        rows = ", ".join(f"{row:,}" for row in sorted(one.row.row for one in refused)[:3])
        which = "row" if len(refused) == 1 else "rows"
        if len(refused) > 3:
            rows += ", ..."
        self.cause = refused[-1].failure.kind
        failure, request = refused[-1].failure, refused[-1].row.request
        where = ""
        if request is not None and (failure.kind is FailureKind.ENDPOINT or failure.http_status == 404):
            where = f" at {public_url(request.url)}"
        return f"The provider refused for good{where} ({which} {rows}): {told(failure)}"

    def _all_alike(self, suspects: list[Suspect]) -> str:
        self.cause = FailureKind.INVALID_REQUEST
        return (
            f"The first {len(suspects)} rows were all refused alike (limits.max_alike_at_first), so the job rather "
            f"than the rows is at fault: {told(suspects[-1].failure)}"
        )

    # ---- time

    def overdue(self, now_s: float, timeout_s: float, *, down: bool) -> str | None:
        """Return why the run should stop after so long without any answer, None if it should not.

        `timeout_s` bounds one attempt; `down`: the circuit breaker is open.
        """
        last = self._last
        if self._trouble_s is None or last is None or now_s - self._trouble_s < self._wait_s(last, timeout_s):
            return None
        limited = last.verdict is Verdict.WAIT and not _is_unsaid(
            last
        )  # which is no row's fault, however few are asked
        if self.has_worked and not limited and len(self._failed_rows) < DIFFERENT_ROWS:
            return None  # the last rows may just be bad ones
        passing = last.verdict is Verdict.WAIT or last.kind is FailureKind.TIMEOUT
        if self._succeeded and not (down or passing):
            return None
        said = f"nothing was answered by {self._host} ({self._limit_named(last)}); the last error: {told(last)}"
        return f"For {now_s - self._trouble_s:,.0f} s {said}"

    def is_limited(self, now_s: float) -> bool:
        """Whether nothing was answered for as long as a row waits out rate limits: then the run stops."""
        return self._trouble_s is not None and now_s - self._trouble_s >= self._patience_s

    def _limit_named(self, last: Failure) -> str:
        """Return the job key of the limit on a time without any answer, by what came instead of one."""
        if last.verdict is Verdict.WAIT and not _is_unsaid(last):
            return "retry.rate_limit_patience_s"
        known = self.has_worked or _is_loading(last)
        return "limits.stalled_s" if known else "limits.startup_wait_s"

    def _wait_s(self, last: Failure, timeout_s: float) -> float:
        """Return the seconds of that limit; where requests time out, enough for two of them."""
        named = {
            "limits.stalled_s": self.limits.stalled_s,
            "limits.startup_wait_s": self.limits.startup_wait_s,
            "retry.rate_limit_patience_s": self._patience_s,
        }
        wait_s = named[self._limit_named(last)]
        return max(wait_s, 2 * timeout_s) if last.kind is FailureKind.TIMEOUT and not last.unsent else wait_s

    def news(self, now_s: float, timeout_s: float) -> str | None:
        """Return a sentence for the user where nothing is answered: soon after it begins, then once a minute."""
        last = self._last
        if self._trouble_s is None or last is None or now_s - self._said_s < SAID_AGAIN_S:
            return None
        since_s = now_s - self._trouble_s
        starting = _is_loading(last) or (not self._heard and _is_starting(last))
        if since_s < SAID_AFTER_S or not (starting or len(self._failed_rows) >= DIFFERENT_ROWS):
            return None
        self._said_s = now_s
        what = f"{self._host} is not ready, and the run waits" if starting else f"{self._host} has answered nothing"
        return (
            f"For {since_s:,.0f} s {what}; the run stops after {self._wait_s(last, timeout_s):,.0f} s of it "
            f"({self._limit_named(last)}). The last error: {told(last)}"
        )

    @property
    def heard(self) -> bool:
        """Whether there was any reply at all in this run."""
        return self._heard

    @property
    def trouble(self) -> str | None:
        """The last error, while there has been no answer since."""
        return None if self._trouble_s is None or self._last is None else told(self._last)

    # ---- rows that end alike of themselves

    def row_ended(self, outcome: Outcome) -> str | None:
        """Take note of how a row has ended; return a sentence for the user where many in a row end badly and alike."""
        if isinstance(outcome, Completion):
            if outcome.finish_reason != "length":
                self._end_n = 0
                return None
            end, what = "length", "were cut at the limit of tokens (finish_reason length)"
        else:
            end, what = outcome.kind, f"failed with {outcome.kind}: {outcome.message}"
        self._end_n = self._end_n + 1 if end == self._end else 1
        self._end = end
        if self._end_n < self._end_due.get(end, ALIKE_SAID):
            return None
        self._end_due[end] = 10 * self._end_n
        return f"The last {self._end_n:,} rows all {what}. (limits.max_failed stops a run when too many rows fail.)"


def _is_loading(failure: Failure) -> bool:
    """Whether a server says that its model is not there yet."""
    status = failure.http_status
    return status == 503 or (status is not None and status >= 500 and _LOADING.search(failure.message) is not None)


def _is_unsaid(failure: Failure) -> bool:
    """Whether a server is full for all that is known: a 503 whose words do not say so may as well be an outage."""
    return failure.kind is FailureKind.SERVER_ERROR and failure.throttle is Throttle.UNKNOWN


def _is_starting(failure: Failure) -> bool:
    """Whether a server may be on its way up: nobody listens yet, or a container's port is open with nobody behind."""
    return failure.code in ("connect", "closed")


def _alike(suspects: list[Suspect]) -> bool:
    """Whether all failed with the same kind and words, whatever figures and names stand in them."""
    return len({_words(one.failure) for one in suspects}) == 1


def _words(failure: Failure) -> tuple[FailureKind, str | None, str]:
    return failure.kind, failure.code, _VARIABLE_PART.sub("", failure.message)[:200]
