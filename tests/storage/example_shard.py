"""A shard with its results, to be written as a part."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

from batchgen.storage.result_schema import Layout
from batchgen.storage.shards import Shard
from batchgen.values import FailureKind, Result, Status

LAYOUT = Layout(pa.schema([("n", pa.int64())]), "id")
TIME_US = 1_750_000_000_123_456


def succeeded(row, **fields):
    """Return an answered row."""
    return Result(
        row=row,
        status=Status.SUCCEEDED,
        attempts=1,
        finished_at_us=TIME_US,
        **{
            "completion": f"answer {row}",
            "finish_reason": "stop",
            "input_tokens": 10,
            "output_tokens": row,
            "total_tokens": 10 + row,
            "input_cost": Decimal("0.000001000001"),
            "output_cost": Decimal("0.5"),
            "model": "m",
            "request_id": f"r{row}",
            "latency_ms": 12.5,
            "http_status": 200,
        }
        | fields,
    )


def failed(row):
    """Return a row that failed for good."""
    return Result(
        row=row,
        status=Status.FAILED,
        attempts=6,
        finished_at_us=TIME_US,
        error_kind=FailureKind.TIMEOUT,
        error_code="T",
        error_message="too slow",
    )


def shard_of(rows, first_row=0, number=0):
    """Return an open shard with two carried columns."""
    return Shard(
        number, first_row, pa.table({"id": [f"k{first_row + i}" for i in range(rows)], "n": list(range(rows))})
    )
