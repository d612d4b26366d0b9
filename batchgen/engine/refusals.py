"""Refusals that no row can survive (a wrong key, an empty account, an unknown model), and what others of the run say
of them.

Behind a gateway may stand several keys, accounts or servers, of which some refuse whatever they get while the others
answer (https://github.com/QuantumNous/new-api/issues/3302, https://github.com/caidaoli/ccLoad/issues/74). So a refusal
is final only as long as nothing speaks against it. Where a request with the same key and model that was sent after it
was answered, the row is tried again as after a server error; and the more of a run's requests were refused in spite of
such answers, the more rows in a row must be refused to stop it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import msgspec
from msgspec import Struct

from batchgen.engine.work import RowInProgress
from batchgen.values import Failure, Verdict

REFUSED_ROWS, DOUBTFUL_ROWS = 3, 5
"""Different rows in a row, with answers that no row can survive, that stop the run; the second where there were answers
before and the status is one that a single row can cause."""

DOUBTFUL_STATUSES = frozenset({402, 403, 404, 405, 410})
"""Moderation, firewalls and the price of a single request use these too."""

ASKED_AGAIN, DOUBTFUL_ASKED_AGAIN = 2, 1
"""How often a refused row is tried again as long as no refused row of the run was ever answered: what is refused again
and again is the row's own. The second is for a status that a single row can cause."""

SLOW_AT_FIRST = 30
"""So many more rows at most must be refused before the first answer: one for each request that went out before the
first refusal and is not back, since answers are slower than refusals."""

CHANCE = 1e-9
"""How unlikely it must be that so many rows in a row are refused at random, for the run to stop: one in a thousand runs
of a million rows."""


class Suspect(Struct, frozen=True):
    """A row that is held back, with the failure that may be everybody's; requests up to number `seen` had been sent.

    `among_answers`: the run had answers before.
    """

    row: RowInProgress
    failure: Failure
    seen: int
    among_answers: bool

    @property
    def again(self) -> bool:
        """Whether the row was refused before, and others were answered: then it says nothing about them.

        Rows that are refused for what is in them come again all together, at the end, when nothing else is left.
        """
        return self.row.tally.disproved > 0


class Refusals:
    """Counts the refusals of a run that other answers disproved."""

    def __init__(self) -> None:
        self._disproved = 0
        self._answered_later = 0  # rows that were answered when they were tried again

    def disproved(self, suspects: Sequence[Suspect]) -> None:
        """Take note of rows that were refused although a request sent later was answered."""
        self._disproved += sum(one.failure.verdict is Verdict.STOP for one in suspects)

    def rows_that_stop(self, held: Sequence[Suspect], refused: Sequence[Suspect], sent: int, good: int) -> int:
        """Return how many rows in a row must be refused to stop the run.

        `held` are the rows held back, `refused` those of them that count; `sent` requests have gone out, and number
        `good`, 0 if none, is the latest that was answered. Where a run begins with both, what was refused was refused
        beside it; later on, a change for all of them looks so, too.
        """
        fewest = DOUBTFUL_ROWS if good and is_doubtful(refused) else REFUSED_ROWS
        first = [one for one in held if one.failure.verdict is Verdict.STOP and not one.among_answers]
        beside = sum(one.row.number < good for one in first)
        if not self._disproved + beside:
            return fewest
        share = (self._disproved + beside + 1) / (sent + 2)
        return max(fewest, math.ceil(math.log(CHANCE) / math.log(share)))

    def may_be_answered(self, held: Sequence[Suspect], out: Collection[int]) -> int:
        """Return how many requests are out that were sent before the first refusal, to be waited for to some extent."""
        return min(SLOW_AT_FIRST, sum(number <= held[0].seen for number in out))

    def another_try(self, suspect: Suspect) -> Failure | None:
        """Return a failure that others have disproved as one of the moment, None if it is final for the row."""
        failure, tally = suspect.failure, suspect.row.tally
        if failure.verdict is not Verdict.STOP:
            return None
        most = DOUBTFUL_ASKED_AGAIN if failure.http_status in DOUBTFUL_STATUSES else ASKED_AGAIN
        if tally.disproved >= most and not self._answered_later:
            return None
        tally.disproved += 1
        tally.attempts += 1
        return msgspec.structs.replace(failure, verdict=Verdict.RETRY)

    def answered_later(self, host: str, failure: Failure) -> str | None:
        """A row was answered after a refusal; return a sentence for the user if it is the first such row of the run."""
        self._answered_later += 1
        if self._answered_later > 1:
            return None
        return (
            f"{host} refuses some requests and answers others with the same key and model, as a gateway with several "
            f"keys or servers behind it does; a row that was refused ({told(failure)}) was answered when it was tried "
            "again. Such rows are tried again from now on, as after a server error."
        )


def is_doubtful(refused: Sequence[Suspect]) -> bool:
    """Whether a single row can be the cause of one of these refusals."""
    return any(one.failure.http_status in DOUBTFUL_STATUSES for one in refused)


def told(failure: Failure) -> str:
    """Return an error in one line: status, code and the vendor's own words."""
    status = f"HTTP {failure.http_status}" if failure.http_status is not None else "no answer"
    code = f", {failure.code}" if failure.code else ""
    return f"{status}{code}: {failure.message}"
