"""What is shown of batches while they are waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from batchgen.engine.batches.sites import BatchSites
from batchgen.engine.endpoints import unused_figures
from batchgen.engine.protocol import EngineFigures
from batchgen.job.requests import RequestParts
from batchgen.storage.batch_table import BatchRecord, BatchShown
from batchgen.text.figures import duration, quantity


def shown(record: BatchRecord, sites: BatchSites) -> BatchShown:
    """Return what `run.json` says of a batch."""
    return BatchShown(
        number=record.number,
        state=record.state,
        rows=record.rows,
        model=record.model,
        endpoint=sites.of(record).name if record.endpoint else "",
        id=record.id,
        word=record.word,
        done=record.done,
        answered=record.answered,
        created_s=record.created_s,
        ended_s=record.ended_s,
        cancelled=record.cancelled,
        reason=record.reason,
    )


def endpoint_figures(
    batch_sites: BatchSites,
    asked: Sequence[RequestParts],
    live: Sequence[Mapping[str, Any]],
    masked: Callable[[str | None], str | None],
) -> list[Mapping[str, Any]]:
    """Return the figures of each of several endpoints, `asked`: those of ordinary calls, with what batches add."""
    sites = {site.place: site for site in batch_sites.all}
    found = []
    for place, one in enumerate(live or [unused_figures(site.name) for site in asked]):
        site = sites.get(place)
        if site is None:
            found.append(one)
            continue
        counts = {"requests": one["requests"] + site.answered + site.failed, "failed": one["failed"] + site.failed}
        found.append({**one, **counts, "left_out": masked(site.out) or one["left_out"]})
    return found


def with_live(figures: EngineFigures, live: EngineFigures) -> EngineFigures:
    """Return the figures of the batches with those of the rows that are asked live."""
    return msgspec.structs.replace(
        figures,
        refused=figures.refused + live.refused,
        limited_by=live.limited_by,
        pace=live.pace,
        in_flight=live.in_flight,
        retried=live.retried,
        trouble=figures.trouble or live.trouble,
        waits_for=None if live.in_flight else figures.waits_for,
        left_out="; ".join(filter(None, (figures.left_out, live.left_out))) or None,
    )


def waits_text(records: Sequence[BatchRecord], now_s: float, next_s: float | None) -> str | None:
    """Return what is waited for, None where no batch is at the vendor."""
    open_ones = [record for record in records if record.unfinished]
    if not open_ones:
        return None
    rows, done = sum(record.rows for record in open_ones), sum(record.done or 0 for record in open_ones)
    there = sum(record.at_vendor for record in open_ones)
    said = f"{quantity(there, 'batch', 'batches')} open at the vendor, {done:,} of {quantity(rows, 'row')} done there"
    if there < len(open_ones):
        said += f"; {len(open_ones) - there:,} more wait to be handed in"
    if next_s is not None and next_s > now_s + 1:
        said += f"; next look in {duration(round(next_s - now_s))}"
    return said
