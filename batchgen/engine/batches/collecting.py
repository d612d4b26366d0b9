"""Results of a batch that has ended → results of its rows, in the same way as live answers.

Both files of every end are read, and lines are joined to rows by their ids alone. What a line brings is durable before
the batch counts as collected, and each line counts once: a row that has its result, or whose turn is on record, is
passed over when a batch is read again after a kill.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import anyio.lowlevel
import anyio.to_thread
import msgspec
from msgspec import Struct

from batchgen.engine.batches.fates import MISSING, NOT_RUN, fate_of
from batchgen.engine.batches.live_rows import LiveRows
from batchgen.engine.batches.result_lines import common_refusal, result_lines, texts
from batchgen.engine.batches.returning import work_of
from batchgen.engine.batches.staging import Staging
from batchgen.engine.batches.tools import RowPlaces, Tools
from batchgen.engine.protocol import Outlet
from batchgen.engine.provider_health import REMEDIES
from batchgen.engine.refusals import DOUBTFUL_STATUSES
from batchgen.engine.work import RowInProgress
from batchgen.money.ledger import Charges
from batchgen.pace.retry import is_retryable
from batchgen.providers.batch_api import BatchStatus, ResultLine
from batchgen.storage.batch_files import StagedRow, StagedRows, results_path
from batchgen.storage.batch_table import BatchRecord
from batchgen.text.figures import quantity
from batchgen.values import Completion, Failure, FailureKind, Outcome, Prompt, Turn, Verdict

YIELD_ROWS = 200
"""Lines between two looks at what else is to be done."""

MOST_SHORT = 3
"""So many downloads of the same results may come short before they count as all there is."""

LEAST_ROWS = 3
"""A batch of fewer rows may have broken lines only by chance."""

_NOTHING = Decimal(0)


class LineCounts(Struct):
    """What there was to say of the lines of a batch, `number`; `tools` are those of its endpoint. `refused` are rows
    that the endpoint refused in a way that no other row can survive there."""

    tools: Tools
    number: int
    refused: list[tuple[StagedRow, Failure]]
    answered: int = 0
    twice: int = 0
    unknown: int = 0
    broken: int = 0
    missing: int = 0
    again: int = 0


class Collecting:
    """Reads the results of batches. `places` says which rows are still in them."""

    def __init__(self, tools: Tools, staging: Staging, live: LiveRows, places: RowPlaces) -> None:
        self._tools = tools
        self._staging = staging
        self._live = live
        self._places = places
        self._parts = tools.parts
        self._budget = tools.parts.budget
        self._worked = tools.parts.worked
        self._short: dict[Path, int] = {}
        self.out: Outlet

    async def download(self, record: BatchRecord, status: BatchStatus) -> list[Path] | Failure:
        """Fetch the files of results; return where they are, or why one could not be had."""
        tools, paths = self._tools.at(record), []
        for place, call in enumerate(tools.api.results(status)):
            path = results_path(tools.directory, record.number, place)
            refused = await tools.fetch(call, path)
            if refused is not None:
                return refused
            cut = await self._cut_short(record, status.results[place], path)
            if cut is not None:
                return cut
            paths.append(path)
        return paths

    async def _cut_short(self, record: BatchRecord, name: str, path: Path) -> Failure | None:
        """Return a failure for a download that ended in order, but too soon; after a few of them it is believed.

        Vendors with files say how long one is; the others have a line for every row.
        """
        tools = self._tools.at(record)
        if tools.api.inline:
            came, whole = await anyio.to_thread.run_sync(_lines_of, path), record.rows
        else:
            response = await tools.call(tools.api.file(name))
            file = response if isinstance(response, Failure) else tools.api.read_file(response)
            if isinstance(file, Failure) or file.bytes is None:
                return None
            came, whole = os.stat(path).st_size, file.bytes
        if came >= whole:
            return None
        self._short[path] = self._short.get(path, 0) + 1
        if self._short[path] > MOST_SHORT:
            return None
        told = f"{came:,} of {whole:,} {'lines' if tools.api.inline else 'bytes'} of results came"
        return Failure(FailureKind.NETWORK, Verdict.RETRY, told)

    async def collect(self, record: BatchRecord, status: BatchStatus, paths: list[Path]) -> BatchRecord:
        """Bring every row of a batch further and return the batch as collected.

        Raises `ProviderStop` for an answer that no other row can survive.
        """
        tools, number = self._tools.at(record), record.number
        members = tools.table.members(number)
        seen, counts = bytearray(len(members)), LineCounts(tools, number, [])
        common = None if self._worked else common_refusal(result_lines(tools, record, paths))
        with ExitStack() as stack:
            rows = self._rows(stack, number)
            failed = 0
            for answers in (True, False):  # a row may have several lines: an answer counts before a failure
                if not answers and not failed:
                    break
                for place, found in enumerate(result_lines(tools, record, paths)):
                    line = None if found.custom_id is None else tools.line_of(found.custom_id, number)
                    if line is None or line >= len(members):
                        counts.broken += answers and found.custom_id is None
                        counts.unknown += answers and found.custom_id is not None
                    elif isinstance(found.outcome, Completion) is not answers:
                        failed += answers
                    elif seen[line]:
                        counts.twice += 1
                    else:
                        seen[line] = 1
                        staged = self._staged(rows, line, members[line])
                        if common is not None:
                            self._leave(number, staged)
                        else:
                            await self._line(counts, staged, found)
                    if place % YIELD_ROWS == YIELD_ROWS - 1:
                        await self._breathe()
                if answers and not failed and not any(seen):
                    self._refuse_unreadable(record, counts)
            missing = MISSING if status.phase == "ended" and _is_whole(status.word) else NOT_RUN
            broken = counts.broken
            for line, row in enumerate(members):
                if not seen[line]:
                    counts.missing += 1
                    failure, broken = (MISSING if broken > 0 else missing), broken - 1
                    absent = ResultLine(None, failure, again=failure is NOT_RUN)
                    await self._line(counts, self._staged(rows, line, row), absent)
                    if line % YIELD_ROWS == 0:
                        await self._breathe()
        fatal = await self._elsewhere(counts) if counts.refused else None
        if counts.answered and tools.site.on_trial:
            tools.sites.taken(tools.site)
        self._say(record, counts)
        collected = msgspec.structs.replace(
            record, state="collected", answered=counts.answered, word=status.word, ended_s=status.ended_s
        )
        await tools.table.put(collected)
        if fatal is not None or common is not None:
            cause = fatal or common
            assert cause is not None
            remedy = REMEDIES.get(cause.kind if fatal is not None else FailureKind.INVALID_REQUEST)
            raise tools.stopped(f"The rows of batch {number} were refused{tools.where}: {cause.message}", remedy)
        return collected

    def _refuse_unreadable(self, record: BatchRecord, counts: LineCounts) -> None:
        """Raise `ProviderStop` where there are lines of results, but none of any row: another batch would be paid in
        vain, too. One that is cancelled is given up."""
        if record.rows >= LEAST_ROWS and counts.broken + counts.unknown and not self._staging.closed:
            raise self._tools.stopped(
                f"The results of batch {record.number} ({record.id}) cannot be read: none of their "
                f"{counts.broken + counts.unknown:,} lines names one of its {quantity(record.rows, 'row')}. They "
                f"stay at the vendor, and as a copy in {results_path(self._tools.directory, record.number, 0).name}",
                "Running the same command again reads them anew; batchgen cancel gives them up, so that the rows are "
                "asked, and paid, once more.",
            )

    def _rows(self, stack: ExitStack, number: int) -> StagedRows | None:
        try:
            return stack.enter_context(StagedRows(self._tools.directory, number))
        except FileNotFoundError as error:
            self._tools.tell(f"The rows of batch {number} cannot be read back ({error}); their results can.")
            return None

    def _staged(self, rows: StagedRows | None, line: int, row: int) -> StagedRow:
        if rows is None or line >= len(rows):
            return StagedRow(row, None, Prompt())
        return rows[line]

    async def _breathe(self) -> None:
        """Let others go on, and the disk catch up."""
        await anyio.lowlevel.checkpoint()
        if self.out.congested:
            await self.out.wait_for_room()

    def _leave(self, number: int, staged: StagedRow) -> None:
        """Let a row stay pending."""
        self._budget.settle(staged.held, _NOTHING)
        if self._places.of(staged.row) == number:
            self._places.put(staged.row, 0)

    async def _line(self, counts: LineCounts, staged: StagedRow, found: ResultLine) -> None:
        """Do with a row what its line says."""
        tools, number = counts.tools, counts.number
        if self._places.of(staged.row) != number:
            self._budget.settle(staged.held, _NOTHING)  # it was counted before a kill
            return
        work, outcome = work_of(tools, staged), found.outcome
        if not found.again:
            work.tally.requests = 1
            work.tally.attempts += isinstance(outcome, Failure)
        fate = fate_of(found, staged.rounds, work.tally.attempts, self._parts.requests.job.retry.max_attempts)
        if fate == "stop":
            assert isinstance(outcome, Failure)
            self._leave(number, staged)
            counts.refused.append((staged, outcome))
            return
        tools.site.answered += isinstance(outcome, Completion)
        tools.site.failed += isinstance(outcome, Failure) and not found.again
        self._settle(staged.held, work, outcome)
        self._places.put(staged.row, 0)
        if isinstance(outcome, Completion):
            self._worked = True
            counts.answered += 1
            step = self._parts.dialogue.next(work, outcome)
            if isinstance(step, Charges):
                self.out.spend(msgspec.structs.replace(step, batch=number))
                await self._again(work, (*staged.turns, *step.turns), rounds=0)
            else:
                await self._end(work, step)
        elif fate == "failed":
            counts.answered += 1
            if isinstance(outcome, Failure) and outcome.usage is not None and is_retryable(outcome):
                self._parts.results.bill(work, outcome)
            await self._end(work, outcome)
        else:
            counts.again += 1
            self._charge(number, work, outcome)
            if fate == "batch":
                await self._again(work, staged.turns, rounds=staged.rounds + 1)
            else:
                self._live.add([work])

    async def _elsewhere(self, counts: LineCounts) -> Failure | None:
        """Have rows asked at other endpoints that one refused for good; return why if there is none, and let them stay
        pending. Live, where others of the same batch were answered: then it may be the row that is at fault.
        """
        tools, failure = counts.tools, counts.refused[-1][1]
        doubtful = counts.answered > 0 and failure.http_status in DOUBTFUL_STATUSES
        if not (tools.sites.others(tools.site) if doubtful else tools.sites.leave_out(tools.site, failure.message)):
            return failure
        for staged, why in counts.refused:
            work = work_of(tools, staged)
            work.tally.requests = 1
            tools.site.failed += 1
            self._charge(counts.number, work, why)
            if doubtful:
                self._live.add([work])
            else:
                await self._again(work, staged.turns, rounds=staged.rounds)
        return None

    def _settle(self, held: Decimal, work: RowInProgress, outcome: Outcome) -> None:
        """Replace what was reserved for a row by what it cost."""
        cost = self._parts.results.cost(work, outcome)
        if cost is not None:
            self._budget.settle(held, cost.input + cost.output)
        elif isinstance(outcome, Completion) or outcome.usage is not None:
            self._budget.settle_unreported(held, held)
        elif outcome.maybe_billed:
            self._budget.abandon(held)
        else:
            self._budget.settle(held, _NOTHING)

    def _charge(self, number: int, work: RowInProgress, failure: Failure) -> None:
        """Put on record what a try has cost that does not end its row."""
        if failure.usage is not None:
            self._parts.results.bill(work, failure)
        charges = self._parts.results.unfinished(work)
        if charges is not None:
            self.out.spend(msgspec.structs.replace(charges, batch=number))
        work.billed, work.tally.requests = None, 0

    async def _end(self, work: RowInProgress, outcome: Outcome) -> None:
        result = self._parts.results.result(work, outcome)
        instead = self.out.emit(self._parts.dialogue.finish(work, outcome, result))
        if instead is not None:
            await self._again(instead, (), rounds=0)

    async def _again(self, work: RowInProgress, turns: tuple[Turn, ...], *, rounds: int) -> None:
        work.latency_ms = None
        await self._staging.add_back(work, turns=turns, rounds=rounds)

    def _say(self, record: BatchRecord, counts: LineCounts) -> None:
        said = [
            f"{number:,} {what}"
            for number, what in (
                (counts.twice, "lines came for rows that had one"),
                (counts.unknown, "lines have an id that nobody sent"),
                (counts.broken, "lines cannot be read"),
                (counts.missing, "rows have no line"),
            )
            if number
        ]
        if said:
            self._tools.tell(f"Batch {record.number}: {'; '.join(said)}. Rows without an answer are asked again.")


def _is_whole(word: str) -> bool:
    """Whether a vendor says that it has asked every row of a batch."""
    return not any(part in word.lower() for part in ("expire", "timeout", "cancel"))


def _lines_of(path: Path) -> int:
    """Return how many lines a file has; blank ones are none."""
    return sum(1 for _ in texts(path))
