"""Files of results, line by line: split at newlines alone, as other line ends stand inside of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from batchgen.engine.batches.tools import Tools
from batchgen.providers.batch_api import ResultLine
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import Failure

_BOM = b"\xef\xbb\xbf"


def result_lines(tools: Tools, record: BatchRecord, paths: Sequence[Path]) -> Iterator[ResultLine]:
    """Yield the lines of all files of results of a batch."""
    for path in paths:
        with open(path, "rb", buffering=1024 * 1024) as file:
            for line in file:
                text = line.strip().removeprefix(_BOM)
                if text:
                    yield tools.api.read_line(text, record.model)


def common_refusal(lines: Iterator[ResultLine], least: int = 3) -> Failure | None:
    """Return the first failure where all lines, `least` or more, say that the job's settings are wrong."""
    first, number = None, 0
    for line in lines:
        if not isinstance(line.outcome, Failure) or not line.outcome.setting:
            return None
        first, number = first or line.outcome, number + 1
    return first if number >= least else None
