"""Finds out which run a batch belongs to where only the ids in its results say so."""

from __future__ import annotations

from pathlib import Path

from batchgen.engine.batches.tools import Tools
from batchgen.providers.batch_api import BatchStatus
from batchgen.storage.batch_files import results_path
from batchgen.storage.batch_table import BatchRecord

MOST_LINES = 20
"""Lines looked at: the first may be one that cannot be read."""


async def is_ours(tools: Tools, record: BatchRecord, status: BatchStatus) -> bool | None:
    """Return whether the results of a batch are those of `record`; None as long as it has none that can be had."""
    if status.phase not in ("ended", "refused"):
        return None
    for place, call in enumerate(tools.api.results(status)):
        path = results_path(tools.directory, record.number, place)
        if await tools.fetch(call, path) is not None:
            return None
        found = _names(tools, record, path)
        if found is not None:
            return found
    return False


def _names(tools: Tools, record: BatchRecord, path: Path) -> bool | None:
    """Return whether the ids in a file of results are the record's; None where it has no ids."""
    with open(path, "rb") as file:
        for _ in range(MOST_LINES):
            line = file.readline()
            if not line:
                return None
            custom_id = tools.api.read_line(line).custom_id
            if custom_id is not None:
                return tools.line_of(custom_id, record.number) is not None
    return None
