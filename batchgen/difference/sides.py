"""What one side of a comparison cost and how long it took, over the rows both runs have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.evaluation.comparison import count, succeeded
from batchgen.results.rows import directories_of
from batchgen.storage.result_schema import MONEY_SUM
from batchgen.storage.run_state import read_run_json

_STEP = math.log(1.01)  # latencies are counted in steps of 1 %


class Side(Struct, frozen=True):
    """One run. `models` by rows; `cost` is None if no row has one, `unpriced` rows have none; latencies within 1 %."""

    directory: str
    models: Mapping[str, int]
    succeeded: int
    failed: int
    cost: Decimal | None
    unpriced: int
    currency: str | None
    input_tokens: int
    output_tokens: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None


class SideTally:
    """Sums over the rows of one run, in memory that does not grow with them."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._models: Counter[str] = Counter()
        self._latencies: Counter[int] = Counter()
        self._succeeded = self._failed = self._unpriced = self._input = self._output = 0
        self._cost: Decimal | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch of rows."""
        right = count(succeeded(batch))
        self._succeeded += right
        self._failed += batch.num_rows - right
        self._models.update(_counts(batch.column("model")))
        costs = batch.column("cost")
        self._unpriced += costs.null_count
        if costs.null_count < batch.num_rows:
            self._cost = pc.sum(costs.cast(MONEY_SUM)).as_py() + (self._cost or 0)
        self._input += pc.sum(batch.column("input_tokens")).as_py() or 0
        self._output += pc.sum(batch.column("output_tokens")).as_py() or 0
        latencies = batch.column("latency_ms")
        steps = pc.round(pc.divide(pc.ln(latencies.filter(pc.fill_null(pc.greater(latencies, 0), False))), _STEP))
        self._latencies.update(_counts(steps.cast(pa.int64())))

    def side(self) -> Side:
        """Return the sums."""
        return Side(
            self.directory,
            dict(self._models.most_common()),
            self._succeeded,
            self._failed,
            self._cost,
            self._unpriced,
            _currency(self.directory),
            self._input,
            self._output,
            self._percentile(0.5),
            self._percentile(0.95),
        )

    def _percentile(self, share: float) -> float | None:
        wanted = share * self._latencies.total()
        for step, number in sorted(self._latencies.items()):
            wanted -= number
            if wanted <= 0:
                return math.exp(step * _STEP)
        return None


def _currency(named: str) -> str | None:
    """Return the currency of the runs, as their `run.json` have it; None if it is not one."""
    states = [read_run_json(directory) for directory in directories_of(named)]
    currencies = {state.summary.currency if state is not None else None for state in states}
    return currencies.pop() if len(currencies) == 1 else None


def _counts(values: pa.Array) -> dict[Any, int]:
    """Return how often each value is there, null left out."""
    return {row["values"]: row["counts"] for row in values.drop_null().value_counts().to_pylist()}
