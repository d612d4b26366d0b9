"""`--refresh`: asks a share of the rows with an earlier answer again, to see how many answers change by themselves.

Answers of the same prompt differ from one day to the next, at temperature 0 too. The effect of another prompt or model
is what goes beyond that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.engine.protocol import Outlet
from batchgen.engine.work import RowInProgress
from batchgen.files.arrow import arrow_file
from batchgen.files.compute import pc
from batchgen.job.reuse import Reuse, as_completion
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import Refreshed
from batchgen.values import Completion, Result, Status, Usage

if TYPE_CHECKING:
    from batchgen.answers.structured import StructuredAnswers

_COLUMNS = ["request_key", "reused", "status", "completion", "tool_calls"]
_BATCH_ROWS = 2_000


class KeepEarlier:
    """Stands before the outlet: a row that was asked again and failed keeps its earlier answer."""

    def __init__(self, out: Outlet, reuse: Reuse) -> None:
        self._out = out
        self._reuse = reuse
        self.wait_for_room = out.wait_for_room
        self.spend = out.spend

    @property
    def congested(self) -> bool:
        """Whether to send no more requests for now."""
        return self._out.congested

    def emit(self, result: Result) -> RowInProgress | None:
        """Pass a result on, or the earlier one in its place."""
        if result.status is Status.FAILED and result.request_key is not None:
            key = bytes.fromhex(result.request_key)
            earlier = self._reuse.asked_again(key)
            if earlier is not None:
                kept = self._reuse.as_result(result.row, key, earlier)
                result = msgspec.structs.replace(
                    kept, attempts=result.attempts, input_cost=result.input_cost, output_cost=result.output_cost
                )
        return self._out.emit(result)


def compare_answers(reuse: Reuse, directory: RunDirectory, answers: StructuredAnswers | None) -> Refreshed | None:
    """Go through the rows that a finished run has asked: their earlier answers, if any, have been replaced.

    Return how many answers were asked for again and how many of them differ, None if none were to be asked again.
    """
    asked = moved = 0
    for text, completion, tool_calls in _answered(directory):
        key = bytes.fromhex(text)
        earlier = reuse.asked_again(key)
        reuse.replaced(key)
        if earlier is not None:
            asked += 1
            now = Completion(completion, None, Usage(), tool_calls=tool_calls)
            moved += _meaning(answers, now) != _meaning(answers, as_completion(earlier))
    return Refreshed(asked, moved) if reuse.refreshes else None


def _meaning(answers: StructuredAnswers | None, completion: Completion) -> object:
    """Return what is compared of an answer: its label or fields, else its text."""
    if answers is None:
        return completion.text, completion.tool_calls
    from batchgen.answers.kinds import Answer
    from batchgen.answers.votes import Label

    read = answers.read(completion)
    if isinstance(read, Answer):
        return read.value.label if isinstance(read.value, Label) else read.value
    return completion.text, completion.tool_calls


def _answered(directory: RunDirectory) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield key, text and tool calls of the rows that a run has got an answer for itself."""
    for path in directory.sealed_parts:
        with pq.ParquetFile(arrow_file(path)) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=_COLUMNS):
                table = pa.Table.from_batches([batch])
                for row in table.filter(pc.invert(table["reused"])).to_pylist():
                    if row["status"] == Status.SUCCEEDED and row["request_key"] is not None:
                        yield row["request_key"], row["completion"], row["tool_calls"]
    for result in directory.journal.unpublished():
        if not result.reused and result.status is Status.SUCCEEDED and result.request_key is not None:
            yield result.request_key, result.completion, result.tool_calls
