"""`pace.parquet` → what the limiter did, in as many moments as a plot can show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import OutputError
from batchgen.files.arrow import arrow_file
from batchgen.files.disk_errors import unreadable
from batchgen.report.timeline import MOST_MOMENTS
from batchgen.report.values import PaceMoment
from batchgen.storage.pace_file import PACE_SCHEMA

_Sample = dict[str, Any]


def pace_moments(path: Path) -> list[PaceMoment]:
    """Return the samples of all sessions, joined to about `MOST_MOMENTS` moments; none if there is no such file.

    The file is read whole: a week has 64,000 samples, 6 MB.
    """
    try:
        rows = pq.read_table(arrow_file(path), columns=PACE_SCHEMA.names).to_pylist()
    except FileNotFoundError:
        return []
    except (pa.ArrowException, OSError, KeyError) as error:
        raise OutputError(unreadable(path, error, "Remove it to have a report without the pace.")) from None
    sessions = [list(samples) for _, samples in groupby(rows, key=lambda row: row["session"])]
    shortest_s = sum(samples[-1]["elapsed_s"] for samples in sessions) / MOST_MOMENTS
    return [moment for samples in sessions for moment in _moments(samples, shortest_s)]


def _moments(samples: Sequence[_Sample], shortest_s: float) -> list[PaceMoment]:
    """Join the samples of a session until each moment lasts `shortest_s`; the rest at its end is one more."""
    moments = []
    inside: list[_Sample] = []
    start_s = 0.0
    for sample in samples:
        inside.append(sample)
        if 0 < sample["elapsed_s"] - start_s >= shortest_s or sample is samples[-1]:
            moments.append(_joined(inside, sample["elapsed_s"] - start_s))
            inside = []
            start_s = sample["elapsed_s"]
    return [moment for moment in moments if moment.span_s > 0]


def _joined(samples: Sequence[_Sample], span_s: float) -> PaceMoment:
    last = samples[-1]

    def seen(name: str) -> list[Any]:
        return [sample[name] for sample in samples if sample[name] is not None]

    medians = seen("latency_p50_s")
    return PaceMoment(
        start_s=last["time"].timestamp() - span_s,
        span_s=span_s,
        requests_per_s=last["requests_per_s"],
        tokens_per_s=last["tokens_per_s"],
        in_flight=last["in_flight"],
        cap=last["cap"],
        sent=sum(seen("sent")),
        refused=sum(seen("refused")),
        failed=sum(seen("failed")),
        latency_p50_s=median(medians) if medians else None,
        latency_p95_s=max(seen("latency_p95_s"), default=None),
        latency_p99_s=max(seen("latency_p99_s"), default=None),
    )
