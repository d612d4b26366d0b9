"""What the pacer did, second by second, for the report: `pace.parquet` in the output directory."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.files.arrow import arrow_file
from batchgen.files.disk_errors import storage_stop
from batchgen.files.replace import replace_file
from batchgen.pace.values import PaceSample
from batchgen.storage.own_files import PACE_FILE

EVERY_S = 1.0
LATER_EVERY_S = 10.0
FINE_S = 3600.0
"""A sample a second for the first hour of a session, then one every ten seconds: a week stays below 10 MB."""

PACE_SCHEMA = pa.schema(
    [
        ("session", pa.int32()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("elapsed_s", pa.float64()),
        ("requests_per_s", pa.float64()),
        ("tokens_per_s", pa.float64()),
        ("in_flight", pa.int32()),
        ("cap", pa.int32()),
        ("sent", pa.int64()),
        ("refused", pa.int64()),
        ("failed", pa.int64()),
        ("latency_p50_s", pa.float64()),
        ("latency_p95_s", pa.float64()),
        ("latency_p99_s", pa.float64()),
    ]
)
"""One row per sample. `requests_per_s` and `tokens_per_s` are the paces in force (null: none), `cap` the requests that
may be in flight; `sent`, `refused`, `failed` and the latencies count since the sample before."""


class PaceRecord:
    """Collects samples of one session; `save` adds them to those of earlier sessions."""

    def __init__(self, started_s: float, started_us: int) -> None:
        self._started_s = started_s
        self._started_us = started_us
        self._samples: list[PaceSample] = []

    def interval_s(self, now_s: float) -> float:
        """Seconds until the next sample."""
        return EVERY_S if now_s - self._started_s < FINE_S else LATER_EVERY_S

    def add(self, sample: PaceSample) -> None:
        """Keep a sample; its `time_s` is of the monotonic clock that `started_s` is of."""
        self._samples.append(sample)

    def save(self, directory: Path, session: int) -> None:
        """Write the samples as those of the session of this number, behind those of earlier sessions.

        Raises `StorageStop`.
        """
        path = directory / PACE_FILE
        rows = [self._row(sample, session) for sample in self._samples]
        table = pa.Table.from_pylist(rows, schema=PACE_SCHEMA)
        earlier = _read_record(path)
        if earlier is not None and earlier.schema.equals(PACE_SCHEMA):
            table = pa.concat_tables([earlier, table])
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        try:
            replace_file(path, sink.getvalue())
        except OSError as error:
            raise storage_stop(f"{path} cannot be written ({error}).", error) from error

    def _row(self, sample: PaceSample, session: int) -> dict[str, object]:
        values = msgspec.structs.asdict(sample)
        elapsed_s = values.pop("time_s") - self._started_s
        return {
            "session": session,
            "time": self._started_us + round(elapsed_s * 1e6),
            "elapsed_s": elapsed_s,
            **values,
        }


def _read_record(path: Path) -> pa.Table | None:
    """Return what earlier sessions left; None if there is nothing, or nothing that can be read."""
    try:
        with pq.ParquetFile(arrow_file(path)) as file:
            return file.read()
    except (OSError, ValueError, pa.ArrowException):  # Unicode errors are ValueErrors
        return None
