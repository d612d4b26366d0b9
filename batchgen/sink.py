"""Results into Parquet: the columns of the contract, a part per shard, the cost summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
from msgspec import Struct

from batchgen.values import Result


class Parsed(Struct, frozen=True):
    """The `parsed` column: its Arrow type and how the answers of a shard become it (same length, null where none)."""

    type: pa.DataType
    read: Callable[[Sequence[Result]], pa.Array]


class Layout(Struct, frozen=True):
    """The columns of a part: `carried` input columns (names and types), `id` the column that gives `row_id`."""

    carried: pa.Schema
    id: str | None = None
    parsed: Parsed | None = None


def read_results(path: Path) -> pa.Table:
    """Return the published rows of an output directory in input order. Raises `OutputError`."""
    raise NotImplementedError
