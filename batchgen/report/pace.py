"""`pace.parquet` → what the limiter did, in as many moments as a plot can show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import OutputError
from batchgen.pace_values import PaceSample
from batchgen.report.timeline import MOST_MOMENTS, without_pauses
from batchgen.report.values import PaceMoment


def pace_moments(path: Path) -> list[PaceMoment]:
    """Return the samples of a run, joined to at most `MOST_MOMENTS` moments; none if there is no such file.

    `time_s` is the end of a sample in seconds since the epoch; times are cut where the run stood still. A day has 86,400
    samples of a second at most, 8 MB.
    """
    try:
        lines = pq.read_table(path).select(PaceSample.__struct_fields__).sort_by("time_s").to_pylist()
    except FileNotFoundError:
        return []
    except (pa.ArrowException, OSError, KeyError) as error:
        raise OutputError(f"{path} cannot be read: {error}. Remove it to have a report without the pace.") from None
    samples = [msgspec.convert(line, PaceSample, strict=False) for line in lines]
    if not samples:
        return []
    times = [sample.time_s for sample in samples]
    steps = [after - before for before, after in zip(times, times[1:], strict=False) if after > before]
    step_s = median(steps) if steps else 1.0
    stretches = without_pauses(times, step_s)
    active_s = sum(last - first + step_s for first, last in stretches)
    span_s = max(step_s, active_s / MOST_MOMENTS)
    moments = []
    place = 0
    for first, last in stretches:
        start = first
        while start <= last:
            inside = []
            while place < len(samples) and samples[place].time_s < min(start + span_s, last + step_s / 2):
                inside.append(samples[place])
                place += 1
            if inside:
                moments.append(_joined(inside, start - step_s, span_s))
            start += span_s
    return moments


def _joined(samples: Sequence[PaceSample], start_s: float, span_s: float) -> PaceMoment:
    last = samples[-1]

    def seen(name: str) -> list[float]:
        return [value for sample in samples if (value := getattr(sample, name)) is not None]

    medians = seen("latency_p50_s")
    return PaceMoment(
        start_s=start_s,
        span_s=span_s,
        requests_per_s=last.requests_per_s,
        tokens_per_s=last.tokens_per_s,
        in_flight=last.in_flight,
        cap=last.cap,
        sent=sum(sample.sent for sample in samples),
        refused=sum(sample.refused for sample in samples),
        failed=sum(sample.failed for sample in samples),
        latency_p50_s=median(medians) if medians else None,
        latency_p95_s=max(seen("latency_p95_s"), default=None),
        latency_p99_s=max(seen("latency_p99_s"), default=None),
    )
