"""What the limiter recorded, joined for a plot."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import OutputError
from batchgen.report.pace import pace_moments
from batchgen.report.timeline import MOST_MOMENTS
from batchgen.storage.pace_file import PACE_SCHEMA


def write(path, *sessions):
    """Write sessions of (elapsed_s, sent, refused, p50, p99) samples, each beginning a day after the one before."""
    rows = [
        {
            "session": number,
            "time": round((1_790_000_000 + 86_400 * number + elapsed_s) * 1e6),
            "elapsed_s": elapsed_s,
            "requests_per_s": None,
            "tokens_per_s": 1000.0 + elapsed_s,
            "in_flight": 7,
            "cap": 64,
            "sent": sent,
            "refused": refused,
            "failed": 1,
            "latency_p50_s": p50,
            "latency_p95_s": None,
            "latency_p99_s": p99,
        }
        for number, samples in enumerate(sessions)
        for elapsed_s, sent, refused, p50, p99 in samples
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=PACE_SCHEMA), path)
    return path


def test_sums_are_kept_and_sessions_stay_apart(tmp_path):
    """Two sessions of an hour in few moments: nothing sent is lost, and the day between them is in none."""
    samples = [(float(second), 3, second % 2, 0.2, 0.5 + second / 1e4) for second in range(3601)]
    moments = pace_moments(write(tmp_path / "pace.parquet", samples, samples))
    assert MOST_MOMENTS * 0.8 <= len(moments) <= MOST_MOMENTS * 1.2
    assert sum(found.sent for found in moments) == 2 * 3 * 3601
    assert sum(found.refused for found in moments) == 3600
    assert sum(found.failed for found in moments) == 2 * 3601
    assert sum(found.span_s for found in moments) == pytest.approx(7200)
    assert max(found.span_s for found in moments) < 100
    assert max(found.latency_p99_s for found in moments) == pytest.approx(0.86)
    last = moments[-1]
    assert last.start_s + last.span_s == pytest.approx(1_790_000_000 + 86_400 + 3600)
    assert (last.tokens_per_s, last.requests_per_s, last.latency_p95_s) == (4600.0, None, None)


def test_a_session_shorter_than_a_sample(tmp_path):
    """A last sample at the same moment as the first is no division by zero."""
    assert pace_moments(write(tmp_path / "pace.parquet", [(0.0, 1, 0, None, None)])) == []


def test_none_and_damaged(tmp_path):
    """No file is no pace; a damaged one is named."""
    path = tmp_path / "pace.parquet"
    assert pace_moments(path) == []
    path.write_bytes(b"nonsense")
    with pytest.raises(OutputError, match=r"pace\.parquet cannot be read"):
        pace_moments(path)
    pq.write_table(pa.table({"other": [1]}), path)
    with pytest.raises(OutputError, match=r"pace\.parquet cannot be read"):
        pace_moments(path)
