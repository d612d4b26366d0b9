"""A Parquet file written batch by batch that appears whole or not at all: what the commands write outside a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import OutputError
from batchgen.files.replace import sync_directory

BATCH_ROWS = 2_000
BATCH_BYTES = 16 * 1024 * 1024
"""A row group is written when either is reached; bytes count the texts of a row."""


@contextmanager
def table_file(path: Path, schema: pa.Schema) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that adds one row; at the end the file is synced and renamed over `path`, mode 0600.

    When the block raises, what was written aside is removed and an older file at `path` stays. Raises `OutputError`
    when the disk or its permissions refuse, or `path` does not end in `.parquet`.
    """
    if path.suffix.lower() not in (".parquet", ".pq"):
        raise OutputError(f"{path}: the table is written as Parquet; choose a name that ends in .parquet.")
    aside = path.with_name(f".{path.name}.partial")
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
            with _refusals(path):
                flush()

    with _refusals(path):
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)
            try:
                yield add
                with _refusals(path):
                    flush()
            finally:
                with _refusals(path):
                    writer.close()
            with _refusals(path):
                file.flush()
                os.fsync(file.fileno())
        with _refusals(path):
            aside.rename(path)
            sync_directory(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
