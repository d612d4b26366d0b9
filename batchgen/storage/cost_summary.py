"""`cost_summary.parquet`: what the rows cost, by model and how they ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.files.replace import replace_file
from batchgen.money.ledger import Sums
from batchgen.storage.result_schema import (
    MONEY_SUM,
    PriceLabel,
)


def write_cost_summary(
    path: Path, sums: Sums, label: Callable[[str | None], PriceLabel], *, simulated: bool = False
) -> None:
    """Write the cost summary: a row per group, sorted; `label` gives currency, date and source of a model's price.

    Where the job has several endpoints, the groups are divided by `endpoint`, in a last column.
    `simulated`: the built-in simulator answered, so that nothing was charged.
    """
    groups = sorted(sums, key=lambda pair: tuple(word or "" for word in pair[0]))
    labels = [label(group.model) for group, _ in groups]
    fields: Mapping[str, tuple[list[Any], pa.DataType]] = {
        "model": ([g.model for g, _ in groups], pa.string()),
        "status": ([g.status for g, _ in groups], pa.string()),
        "finish_reason": ([g.finish_reason for g, _ in groups], pa.string()),
        "error_kind": ([g.error_kind for g, _ in groups], pa.string()),
        "rows": ([t.rows for _, t in groups], pa.int64()),
        "attempts": ([t.attempts for _, t in groups], pa.int64()),
        "input_tokens": ([t.input_tokens for _, t in groups], pa.int64()),
        "output_tokens": ([t.output_tokens for _, t in groups], pa.int64()),
        "total_tokens": ([t.total_tokens for _, t in groups], pa.int64()),
        "cached_tokens": ([t.cached_tokens for _, t in groups], pa.int64()),
        "reasoning_tokens": ([t.reasoning_tokens for _, t in groups], pa.int64()),
        "input_cost": ([t.input_cost for _, t in groups], MONEY_SUM),
        "output_cost": ([t.output_cost for _, t in groups], MONEY_SUM),
        "cost": ([t.cost for _, t in groups], MONEY_SUM),
        "reported_cost": ([t.reported_cost for _, t in groups], MONEY_SUM),
        "currency": ([label.currency for label in labels], pa.string()),
        "price_date": ([label.date for label in labels], pa.date32()),
        "price_source": ([label.source for label in labels], pa.string()),
        "simulated": ([simulated] * len(groups), pa.bool_()),
    }
    if any(group.endpoint is not None for group, _ in groups):
        fields = {**fields, "endpoint": ([group.endpoint for group, _ in groups], pa.string())}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: pa.array(values, kind) for name, (values, kind) in fields.items()}), sink)
    replace_file(path, sink.getvalue())
