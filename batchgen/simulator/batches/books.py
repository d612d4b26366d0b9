"""What the simulated vendor has billed for batches, at half the price: in all, for each batch, and for each row."""

from __future__ import annotations

from typing import Any

import msgspec

from batchgen.simulator.batches.build import BilledRow
from batchgen.simulator.batches.desk import BatchDesk
from batchgen.simulator.stats import Billed


def _sums(desk: BatchDesk) -> tuple[Billed, Billed]:
    """Return all that batches were billed, and what of it nobody can read."""
    billed, lost = Billed(), Billed()
    for batch in desk.records.batches.values():
        for total, part in ((billed, batch.billed), (lost, batch.lost)):
            total.requests += part.requests
            total.input_tokens += part.input_tokens
            total.output_tokens += part.output_tokens
    return billed, lost


def _of_each(desk: BatchDesk) -> list[dict[str, Any]]:
    """Return what each batch was billed, at half the price."""
    return [
        {
            "id": batch.id,
            "model": batch.model,
            "status": desk.life(batch).word,
            "total": batch.total,
            "ends": batch.rows,
            "odd": batch.odd,
            "billed": msgspec.structs.asdict(batch.billed),
            "lost": msgspec.structs.asdict(batch.lost),
        }
        for batch in desk.records.batches.values()
    ]


def billed_rows(desk: BatchDesk) -> list[BilledRow]:
    """Return the rows that were billed, of all batches in the order of their creation."""
    decoder = msgspec.json.Decoder(BilledRow)
    return [
        decoder.decode(line)
        for batch in desk.records.batches.values()
        if batch.built
        for line in desk.records.path(f"{batch.id}.books").read_bytes().split(b"\n")
        if line
    ]


def add_batches(told: dict[str, Any], desk: BatchDesk) -> None:
    """Add the books of the batch APIs to the statistics, in which sums are of all lanes."""
    billed, lost = _sums(desk)
    shown = {"batch": msgspec.structs.asdict(billed), "lost": msgspec.structs.asdict(lost)}
    told["billed"] = {name: told["billed"][name] + shown["batch"][name] for name in told["billed"]}
    told["billed_lost"] = {name: told["billed_lost"][name] + shown["lost"][name] for name in told["billed_lost"]}
    told["billed_delivered"] = {
        name: told["billed"][name] - told["billed_lost"][name] for name in told["billed_delivered"]
    }
    told["billed_lanes"] = told["billed_lanes"] | {"batch": shown["batch"]}
    told["batches"] = _of_each(desk)
