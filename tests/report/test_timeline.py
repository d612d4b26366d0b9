"""Rows over time: sums kept, pauses cut, idle ends not counted."""

from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pytest

from batchgen.report.timeline import MOST_MOMENTS, Timeline, without_pauses


def timeline(*times_s):
    """A timeline of rows settled at these seconds, one token and 0.5 each, every other one failed."""
    result = Timeline()
    for portion in (times_s[::2], times_s[1::2]):
        result.add(
            pa.table(
                {
                    "finished_at": pa.array([round(s * 1e6) for s in portion], pa.timestamp("us", tz="UTC")),
                    "status": ["failed" if n % 2 else "succeeded" for n in range(len(portion))],
                    "output_tokens": pa.array([1] * len(portion), pa.int64()),
                    "cost": pa.array([Decimal("0.5")] * len(portion), pa.decimal128(20, 12)),
                }
            )
        )
    return result


@pytest.mark.parametrize("length_s", [1, 37, 3_600, 86_400 * 9])
def test_sums_are_kept_however_long_the_run(length_s):
    """All rows, tokens and money are in the moments, and these are few."""
    moments = timeline(*(1e9 + length_s * n / 2000 for n in range(2000))).moments()
    assert sum(found.rows for found in moments) == sum(found.output_tokens for found in moments) == 2000
    assert sum(found.failed for found in moments) == 1000
    assert sum(found.cost for found in moments) == 1000
    assert len(moments) <= MOST_MOMENTS
    assert sum(found.span_s for found in moments) == pytest.approx(length_s, rel=0.01, abs=0.3)


def test_rates_at_the_ends_are_not_diluted():
    """A steady run has a steady rate, its first and last moment included."""
    moments = timeline(*(1e9 + 0.37 + n / 50 for n in range(20_000))).moments()
    for found in moments:
        assert found.rows / found.span_s == pytest.approx(50, rel=0.05)


def test_a_pause_is_cut():
    """An interruption of a day is no activity; the moments round it do not touch."""
    first = [1e9 + n / 10 for n in range(600)]
    moments = timeline(*first, *(s + 86_400 for s in first)).moments()
    assert sum(found.span_s for found in moments) == pytest.approx(120, rel=0.02)
    gaps = [b.start_s - a.start_s - a.span_s for a, b in pairwise(moments)]
    assert sorted(gaps)[-1] == pytest.approx(86_340, rel=0.001)
    assert sorted(gaps)[-2] < 0.001


def test_a_slow_minute_is_no_pause():
    """An outage of a minute in a run of ten is shown as what it is."""
    assert without_pauses([*range(300), *range(360, 600)], 1.0) == [(0, 599)]
    assert without_pauses([*range(10), *range(70, 80)], 1.0) == [(0, 9), (70, 79)]
    assert without_pauses([], 1.0) == []


def test_rows_without_a_time_are_left_out():
    """A null time counts nowhere."""
    result = Timeline()
    empty = {"finished_at": pa.array([None], pa.timestamp("us", tz="UTC")), "status": ["failed"]}
    result.add(pa.table({**empty, "output_tokens": pa.array([1]), "cost": pa.array([None], pa.decimal128(20, 12))}))
    assert result.moments() == []
