"""Files of results, line by line: split at newlines alone, as other line ends stand inside of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from batchgen.engine.batches.tools import Tools
from batchgen.providers.batch_api import BatchStatus, ResultLine
from batchgen.providers.batch_replies import phase_of
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import Failure

_BOM = b"\xef\xbb\xbf"


def result_lines(tools: Tools, record: BatchRecord, paths: Sequence[Path]) -> Iterator[ResultLine]:
    """Yield the lines of all files of results of a batch."""
    for path in paths:
        for text in _texts(path):
            yield tools.api.read_line(text, record.model)


def _texts(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file of results; of one that is a JSON array the first alone, which nobody can read.

    Some lines of an array can look like results, and others cannot: the rows of these would be paid again. Without any
    the run stops, and the file is kept.
    """
    with open(path, "rb", buffering=1024 * 1024) as file:
        first = True
        for line in file:
            text = line.strip().removeprefix(_BOM)
            if text:
                yield text
                if first and text.startswith(b"["):
                    return
                first = False


def tells_of_rows(tools: Tools, record: BatchRecord, status: BatchStatus, paths: Sequence[Path]) -> bool:
    """Whether the files of a batch that has ended have to be read row by row.

    Not those of one that was refused: some vendors give such a batch a file of errors without a line, or with the lines
    that could not be read. No line names a row then, and there is a reason for the whole or no line at all.
    """
    if status.completed or phase_of(status.word, results=False, reasons=bool(status.errors)) != "refused":
        return True
    lines = 0
    for line in result_lines(tools, record, paths):
        if line.custom_id is not None and tools.line_of(line.custom_id, record.number) is not None:
            return True
        lines += 1
    return bool(lines) and not status.errors


def common_refusal(lines: Iterator[ResultLine], least: int = 3) -> Failure | None:
    """Return the first failure where all lines, `least` or more, say that the job's settings are wrong."""
    first, number = None, 0
    for line in lines:
        if not isinstance(line.outcome, Failure) or not line.outcome.setting:
            return None
        first, number = first or line.outcome, number + 1
    return first if number >= least else None
