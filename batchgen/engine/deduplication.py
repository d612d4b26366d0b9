"""Rows whose requests are the same: the first is asked, the others wait for its result, which they share.

`repeat_search` finds the rows whose requests come more than once; only those are looked at here. A row that waits is a
number in a list: it holds no worker and no permit. What was answered earlier, in this run or one before, is found in
`SharedAnswers`.

A sharing row has the result of the row that was asked, with 0 attempts, a cost of 0, no tokens and no latency: all
sums stay those of the requests sent. If the request fails in a way that another try could mend, the next of the rows
that wait for it is asked in its place; if it fails for good, they fail alike; later ones, and `--retry-failed`, ask
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from batchgen.engine.kept_prompts import KeptPrompt, KeptPrompts
from batchgen.engine.protocol import Outlet
from batchgen.engine.repeat_search import WAIT_S, RepeatSearch
from batchgen.engine.work import RowInProgress
from batchgen.money.ledger import Charges
from batchgen.pace.retry import AttemptCounts
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shared_answers import SharedAnswers
from batchgen.values import FailureKind, Result, Status

_NOTHING = Decimal(0)

_MENDABLE = frozenset(
    {
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
        FailureKind.TIMEOUT,
        FailureKind.NETWORK,
        FailureKind.UNREADABLE,
    }
)
"""Failures that say nothing of the request itself: another try may end well."""


def shared_answers(directory: RunDirectory, search: RepeatSearch) -> SharedAnswers | None:
    """Open the answers that rows share; None once it is known that no row has another one's request.

    Those that an earlier session has left in the journal are put in, as far as their rows may be repeated: the
    store holds what was committed, but the last of that may not have reached it before a kill.
    """
    if search.wait(WAIT_S) is False:
        return None
    journal = directory.journal
    store = SharedAnswers(directory.shared_path, journal.identity.run)
    for record in journal.shards():
        if not record.sealed:
            store.put(
                (bytes.fromhex(result.request_key), result)
                for result in journal.results(record.first_row, record.end_row)
                if result.status is Status.SUCCEEDED
                and result.attempts
                and result.request_key is not None
                and search.may_repeat(result.row)
            )
    return store


class Sharing:
    """Stands between feed and writer: says which rows are asked, and gives their results to the others.

    In memory are the numbers of the rows in hand and of those that wait for them, answers not yet committed, and some
    prompts; `directory` takes the others.
    """

    def __init__(
        self,
        may_repeat: Callable[[int], bool],
        store: SharedAnswers,
        writer: Outlet,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        *,
        directory: Path | None = None,
    ) -> None:
        self._may_repeat = may_repeat
        self._store = store
        self._writer = writer
        self._wall_us = wall_us
        self._prompts = KeptPrompts(directory)
        self.close = self._prompts.close
        self._asked: dict[int, tuple[bytes, KeptPrompt]] = {}  # row in hand → key, and what the rows of that key ask
        self._waiting: dict[bytes, list[int]] = {}  # key in hand → rows that wait for it
        self._answered: dict[int, bytes] = {}  # row emitted, not committed → key
        self._answers: dict[bytes, Result] = {}  # its result

    def admit(self, work: RowInProgress) -> RowInProgress | Result | None:
        """Return the row to be asked, its result if that is known, or None if it will come with another row's."""
        key = work.key
        if key is None or not self._may_repeat(work.row):
            return work
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(work.row)
            return None
        known = self._answers.get(key) or self._store.get(key)
        if known is not None:
            return self._share(known, work.row)
        self._waiting[key] = []
        self._asked[work.row] = key, self._prompts.keep(work.prompt)
        return work

    def _share(self, result: Result, row: int) -> Result:
        nothing = None if result.input_cost is None else _NOTHING
        return msgspec.structs.replace(
            result,
            row=row,
            attempts=0,
            finished_at_us=self._wall_us(),
            input_tokens=None,
            output_tokens=None,
            total_tokens=None,
            cached_tokens=None,
            reasoning_tokens=None,
            input_cost=nothing,
            output_cost=nothing,
            reported_cost=None,
            latency_ms=None,
        )

    @property
    def congested(self) -> bool:
        """Whether to send no more requests for now."""
        return self._writer.congested

    def emit(self, result: Result) -> RowInProgress | None:
        """Pass a result on, and with it those of the rows that waited for it; or return one that is to be asked now."""
        self._writer.emit(result)
        asked = self._asked.pop(result.row, None)
        if asked is None:
            return None
        key, kept = asked
        again = result.error_kind in _MENDABLE and bool(self._waiting[key])
        prompt = self._prompts.take(kept, wanted=again)
        if again:
            row = self._waiting[key].pop(0)
            self._asked[row] = key, self._prompts.keep(prompt)
            return RowInProgress(row, prompt, AttemptCounts(), key=key)
        for row in self._waiting.pop(key):
            self._writer.emit(self._share(result, row))
        if result.status is Status.SUCCEEDED:
            self._answered[result.row] = key
            self._answers[key] = result
        return None

    def spend(self, charges: Charges) -> None:
        """Put on record what a row without a result has cost."""
        self._writer.spend(charges)

    async def wait_for_room(self) -> None:
        """Return when results can be taken again; raises `StorageStop` when they never will."""
        await self._writer.wait_for_room()

    def committed(self, results: Sequence[Result]) -> None:
        """Move answers that are durable now from memory to the store."""
        if not self._answered:
            return
        stored = [(key, r) for r in results if (key := self._answered.pop(r.row, None)) is not None]
        if stored:
            self._store.put(stored)
            for key, _ in stored:
                del self._answers[key]
