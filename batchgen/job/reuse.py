"""Answers that earlier runs have paid for: which rows take one instead of being asked.

An answer is taken for the very same request only, and only where it would be accepted today: it passes the job's own
validation, and one that was cut at a limit comes from the same server, whose own limits are not in the request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from batchgen.errors import JobError
from batchgen.files.arrow import arrow_file
from batchgen.job.parts import JobParts
from batchgen.providers.request_key import limit_in
from batchgen.storage.answer_index import AnswerIndex
from batchgen.storage.earlier_runs import EarlierAnswer, EarlierRun, earlier_run, stored_path, stored_runs
from batchgen.storage.mirror import local_directory
from batchgen.storage.move_aside import begun_state
from batchgen.storage.own_files import EARLIER_FILE, is_run
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import fingerprints, is_simulated
from batchgen.values import KEY_HASH_BYTES, Completion, Prompt, Result, Status, Usage

_NOTHING = Decimal(0)
_ENDED = ("stop", "tool_calls")
_CUT_TURN = '"finish_reason":"length"'  # in `answer_turns`


def named_runs(parts: JobParts) -> list[EarlierRun]:
    """Return the runs of `input.reuse`. Raises `UsageError` where there is none, or one of the other kind."""
    found = [earlier_run(local_directory(name).absolute()) for name in parts.job.input.reuse]
    for run in found:
        if run.simulated != parts.endpoint.simulated:
            kind, other = ("simulated", "real") if run.simulated else ("real", "simulated")
            raise JobError(f"{run.path} holds {kind} answers, which are never reused in a {other} run.")
    return found


class Reuse:
    """The answers of earlier runs, for the rows of one run. `saved` is what those taken so far would have cost."""

    def __init__(
        self, parts: JobParts, runs: Sequence[EarlierRun], index: AnswerIndex, refresh: float, run: str
    ) -> None:
        self._parts = parts
        self._index = index
        self._runs = runs
        self._refresh = refresh
        self._salt = run.encode()
        here = fingerprints({"model.base_url": parts.fingerprint["model"]["base_url"]}).items()
        self._same_server = [here <= run.identity.fingerprints.items() for run in runs]
        self.saved = _NOTHING

    def result(self, row: int, key: bytes, prompt: Prompt) -> Result | None:
        """Return the result of a row from an earlier answer, None where it is to be asked."""
        if self._refresh and self._drawn(key):
            return None
        answer = self._index.take(key, partial(self._fits, key))
        if answer is None and KEY_HASH_BYTES in self._index.key_lengths:  # answers of the time when keys were shorter
            answer = self._index.take(self._parts.keys.before.of(prompt), partial(self._fits, key))
        if answer is None:
            return None
        self.saved += self._cost(prompt.model or self._parts.model, answer) or _NOTHING
        return self.as_result(row, key, answer)

    def has_answer(self, key: bytes) -> bool:
        """Whether a row would take an earlier answer; nothing counts as taken by this."""
        return self._index.find(key, partial(self._fits, key)) is not None

    def mean_cost(self) -> Decimal | None:
        """Return what a row costs now, at the mean of some of the earlier answers; None where no price is known."""
        some = list(self._index.some())
        costs = [self._cost(self._parts.model or answer.model or "", answer) for answer in some]
        votes = _votes(self._parts)
        known = [cost * votes / _had_votes(one) for cost, one in zip(costs, some, strict=True) if cost is not None]
        return sum(known, _NOTHING) / len(known) if known else None

    def as_result(self, row: int, key: bytes, answer: EarlierAnswer) -> Result:
        """Return the result of a row that takes an earlier answer."""
        return _reused(row, key, answer, None if self._parts.currency is None else _NOTHING)

    def asked_again(self, key: bytes) -> EarlierAnswer | None:
        """Return the earlier answer of rows that are asked again all the same, None for all others."""
        return self._index.find(key, partial(self._fits, key)) if self._refresh and self._drawn(key) else None

    @property
    def refreshes(self) -> bool:
        """Whether some rows are asked again."""
        return self._refresh > 0

    def replaced(self, key: bytes) -> None:
        """Count all answers to a request as taken, because this run has one of its own."""
        self._index.mark_all(key)

    def left(self) -> list[Path]:
        """Return the runs that have answers which no row has taken."""
        return [run.path for number, run in enumerate(self._runs) if not self._index.used_up(number)]

    def close(self) -> None:
        """Delete the index."""
        self._index.close()

    def _drawn(self, key: bytes) -> bool:
        """Whether the rows of a key are among those asked again: the same ones when the run goes on after a kill."""
        drawn = hashlib.blake2b(key, digest_size=8, salt=self._salt[:16]).digest()
        return int.from_bytes(drawn) < self._refresh * 2**64

    def _fits(self, key: bytes, answer: EarlierAnswer) -> bool:
        if len(answer.key) == len(key) and answer.key != key and not _has_room(answer, limit_in(key)):
            return False
        if answer.finish_reason == "length" and not self._same_server[answer.source]:
            return False
        answers = self._parts.answers
        if answers is None:
            return True
        from batchgen.answers.kinds import Answer

        return isinstance(answers.read(as_completion(answer)), Answer)

    def _cost(self, model: str, answer: EarlierAnswer) -> Decimal | None:
        price = self._parts.price_of(model)
        cost = None if price is None else price.cost(_usage(answer))
        return None if cost is None else cost.input + cost.output


def _has_room(answer: EarlierAnswer, limit: int | None) -> bool:
    """Whether an answer that came under another limit came to its own end, and would under this one."""
    if answer.finish_reason not in _ENDED or (answer.answer_turns and _CUT_TURN in answer.answer_turns):
        return False
    then = limit_in(answer.key)
    return (
        limit is None
        or (then is not None and then < limit)
        or (answer.output_tokens is not None and answer.output_tokens <= limit)
    )


def _votes(parts: JobParts) -> int:
    return 1 if parts.answers is None else parts.answers.settings.votes


def _had_votes(answer: EarlierAnswer) -> int:
    """Return how many votes an earlier answer was taken from."""
    turns = msgspec.json.decode(answer.answer_turns or "[]")
    return max((turn.get("vote") or 1 for turn in turns if isinstance(turn, dict)), default=1)


def _of_other_votes(parts: JobParts, runs: Iterable[EarlierRun]) -> str | None:
    """Return a sentence where earlier runs have another number of votes, so that nothing of them can be taken."""
    votes = fingerprints({"response.votes": _votes(parts)})["response.votes"]
    found = [run for run in runs if run.identity.fingerprints.get("response.votes", votes) != votes]
    if not found:
        return None
    return (
        f"response.votes is {_votes(parts)} and was another number in {', '.join(str(run.path) for run in found)}: an "
        "answer counts with all its votes, so that none of them is taken from there, and each row is asked anew for "
        "every vote."
    )


def _usage(answer: EarlierAnswer) -> Usage:
    return Usage(
        answer.input_tokens,
        answer.output_tokens,
        answer.total_tokens,
        answer.cached_tokens,
        answer.reasoning_tokens,
    )


def as_completion(answer: EarlierAnswer) -> Completion:
    """Return an earlier answer as it came."""
    return Completion(
        answer.completion,
        answer.finish_reason,
        _usage(answer),
        reasoning=answer.reasoning,
        tool_calls=answer.tool_calls,
    )


def _reused(row: int, key: bytes, answer: EarlierAnswer, cost: Decimal | None) -> Result:
    return Result(
        row,
        Status.SUCCEEDED,
        0,
        answer.finished_at_us,
        answer.completion,
        answer.reasoning,
        answer.tool_calls,
        answer.finish_reason,
        answer.input_tokens,
        answer.output_tokens,
        answer.total_tokens,
        answer.cached_tokens,
        answer.reasoning_tokens,
        cost,
        cost,
        answer.model,
        answer.request_id,
        answer.latency_ms,
        answer.http_status,
        confidence=answer.confidence,
        agreement=answer.agreement,
        answer_turns=answer.answer_turns,
        request_key=key.hex(),
        reused=True,
    )


def open_reuse(
    parts: JobParts,
    directory: RunDirectory,
    named: Sequence[EarlierRun],
    refresh: float,
    note: Callable[[str], None],
) -> Reuse | None:
    """Read the answers of the earlier runs that the run in `directory` takes answers from; None if there are none.

    Those are put on record there, so that a run that goes on takes them too. What is taken already counts as taken.
    Raises `StorageStop` when the disk refuses.
    """
    recorded = stored_runs(directory.reuse, directory.path, note)
    runs = {run.path: run for run in (*recorded, *named) if run.path != directory.path}
    directory.keep_reuse([stored_path(path, directory.path) for path in runs])
    if not runs:
        return None
    note(f"Earlier answers are looked for in {', '.join(str(path) for path in runs)}.")
    if (other := _of_other_votes(parts, runs.values())) is not None:
        note(other)
    index = AnswerIndex(directory.path / EARLIER_FILE, shared=parts.dedupe)
    for number, run in enumerate(runs.values()):
        index.add(run.answers(number, note))
    index.sort()
    for key, finished_at_us in _taken(directory):
        index.mark(bytes.fromhex(key), finished_at_us)
    if not len(index):
        note("No earlier answer can be reused: nothing has succeeded there, or an older version kept no request_key.")
    return Reuse(parts, list(runs.values()), index, refresh, directory.journal.identity.run)


class ReusePlan(Struct, frozen=True):
    """What a run would do: ask `asked` rows, for about `cost`; `reused` ones take an earlier answer: `saved` less."""

    asked: int
    reused: int
    saved: Decimal | None
    cost: Decimal | None


@contextmanager
def planned_reuse(parts: JobParts, *, update: bool) -> Iterator[Reuse | None]:
    """Give the answers that a run of the job would find, with `update` those in its output directory too; None if it
    would look for none. Nothing is changed there: the index is a temporary file. Raises `UsageError`."""
    path = parts.job.output.directory.absolute()
    notes = parts.notes.append
    state = begun_state(path)
    runs = []
    if update and state is not None and is_simulated(state.fingerprints) == parts.endpoint.simulated:
        runs = [earlier_run(path)] if is_run(path) else []
        runs += stored_runs(state.reuse, path, notes)
    found = {run.path: run for run in (*runs, *named_runs(parts))}
    if not found and not update:
        yield None
        return
    if (other := _of_other_votes(parts, found.values())) is not None:
        notes(other)
    with TemporaryDirectory(prefix="batchgen-") as folder:
        index = AnswerIndex(Path(folder) / EARLIER_FILE, shared=parts.dedupe)
        for number, run in enumerate(found.values()):
            index.add(run.answers(number, notes))
        index.sort()
        yield Reuse(parts, list(found.values()), index, 0.0, "")
        index.close()


def _taken(directory: RunDirectory) -> Iterator[tuple[str, int]]:
    """Yield which answers the rows of a run have taken so far: the key of the request, and when it was answered."""
    for path in directory.sealed_parts:
        with pq.ParquetFile(arrow_file(path)) as file:
            for batch in file.iter_batches(columns=["request_key", "reused", "finished_at"]):
                if "reused" in batch.schema.names:
                    table = pa.Table.from_batches([batch])
                    table = table.filter(table["reused"])
                    times = table["finished_at"].cast(pa.int64()).to_pylist()
                    yield from zip(table["request_key"].to_pylist(), times, strict=True)
    for result in directory.journal.unpublished():
        if result.reused and result.request_key is not None:
            yield result.request_key, result.finished_at_us
