"""What is shown of batches while they are waited for."""

from __future__ import annotations

from collections.abc import Sequence

from batchgen.storage.batch_table import BatchRecord, BatchShown
from batchgen.text.figures import duration


def shown(record: BatchRecord) -> BatchShown:
    """Return what `run.json` says of a batch."""
    return BatchShown(
        number=record.number,
        state=record.state,
        rows=record.rows,
        model=record.model,
        id=record.id,
        word=record.word,
        done=record.done,
        answered=record.answered,
        created_s=record.created_s,
        ended_s=record.ended_s,
        cancelled=record.cancelled,
        reason=record.reason,
    )


def waits_text(records: Sequence[BatchRecord], now_s: float, next_s: float | None) -> str | None:
    """Return what is waited for, None where no batch is at the vendor."""
    open_ones = [record for record in records if record.unfinished]
    if not open_ones:
        return None
    rows, done = sum(record.rows for record in open_ones), sum(record.done or 0 for record in open_ones)
    there = sum(record.at_vendor for record in open_ones)
    batches = "1 batch" if there == 1 else f"{there:,} batches"
    said = f"{batches} open at the vendor, {done:,} of {rows:,} rows done there"
    if there < len(open_ones):
        said += f"; {len(open_ones) - there:,} more wait to be handed in"
    if next_s is not None and next_s > now_s + 1:
        said += f"; next look in {duration(round(next_s - now_s))}"
    return said
