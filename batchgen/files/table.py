"""Parquet files that commands write outside a run: batch by batch, and they appear complete or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import OutputError
from batchgen.files.replace import named_file

BATCH_ROWS = 2_000
BATCH_BYTES = 16 * 1024 * 1024
"""A row group is written when either bound is reached; the bytes are those of the texts in its rows."""


@contextmanager
def parquet_file(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Yield a writer; at the end the complete file appears, as with `named_file`.

    When the block raises, an older file at `path` stays. Raises `OutputError` if the file cannot be written, or if
    `path` does not end in `.parquet`.
    """
    if path.suffix.lower() not in (".parquet", ".pq"):
        raise OutputError(f"{path}: the table is written as Parquet; choose a name that ends in .parquet.")
    with (
        named_file(path) as file,
        pq.ParquetWriter(pa.PythonFile(file, "w"), schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        yield writer


@contextmanager
def table_file(path: Path, schema: pa.Schema) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that adds one row to a `parquet_file`."""
    rows: list[Mapping[str, Any]] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
        rows.clear()
        size = 0

    def add(row: Mapping[str, Any]) -> None:
        nonlocal size
        rows.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
            flush()

    with parquet_file(path, schema) as writer:
        yield add
        flush()
