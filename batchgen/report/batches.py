"""Batches of a vendor's queue as a table, for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from batchgen.storage.batch_table import BatchShown
from batchgen.text.figures import UNKNOWN, duration, moment, plain, quantity
from batchgen.text.sections import Table

_HEAD = ["batch", "state", "rows", "answered", "at the vendor", "handed in", "took", "note"]
_AT_THE_VENDOR = 4


def batches_table(batches: Sequence[BatchShown], title: str = "") -> Table:
    """Return a line for each batch, with its endpoint where the job has several."""
    head, lines = list(_HEAD), [_line(batch) for batch in batches]
    if any(batch.endpoint for batch in batches):
        head.insert(_AT_THE_VENDOR, "endpoint")
        for batch, line in zip(batches, lines, strict=True):
            line.insert(_AT_THE_VENDOR, plain(batch.endpoint, 60))
    return Table(title, head, lines, words=2)


def batches_text(batches: Sequence[BatchShown]) -> str:
    """Return how many batches there are, and how far they are; empty where there are none."""
    if not batches:
        return ""
    there = [batch for batch in batches if batch.state in ("creating", "open", "ended")]
    done = sum(batch.state in ("collected", "cleaned") for batch in batches)
    said = [f"{len(there):,} open with {quantity(sum(batch.rows for batch in there), 'row')}"] if there else []
    said += [f"{done:,} collected"] if done else []
    waiting = len(batches) - len(there) - done
    said += [f"{waiting:,} to be handed in"] if waiting else []
    return ", ".join(said)


def _line(batch: BatchShown) -> list[str]:
    state: str = batch.state if not batch.cancelled or batch.state != "open" else "open, cancelled"
    if batch.word and batch.state in ("open", "ended"):
        state += f" ({plain(batch.word, 40)})"
    answered = batch.answered if batch.state in ("collected", "cleaned") else batch.done
    took = UNKNOWN
    if batch.created_s is not None and batch.ended_s is not None and batch.ended_s >= batch.created_s:
        took = duration(round(batch.ended_s - batch.created_s)) or "0 s"
    began = UNKNOWN
    if batch.created_s is not None:
        began = moment(datetime.fromtimestamp(batch.created_s, UTC).isoformat())
    return [
        str(batch.number),
        state,
        f"{batch.rows:,}",
        UNKNOWN if answered is None else f"{answered:,}",
        plain(batch.id or UNKNOWN, 60),
        began,
        took,
        plain(batch.reason or "", 80),
    ]
