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


def test_sessions_are_taken_at_their_own_times():
    """A short break between two sessions is no activity, and the wait for a session's first row is."""
    first = [1e9 + 2 + n / 72 for n in range(1_440)]
    second = [1e9 + 40 + n / 72 for n in range(1_440)]
    sessions = [(1e9, first[-1]), (1e9 + 38, second[-1])]
    moments = timeline(*first, *second).moments(sessions)
    assert sum(found.rows for found in moments) == 2_880
    assert sum(found.span_s for found in moments) == pytest.approx(44, abs=0.6)
    assert max(found.rows / found.span_s for found in moments) == pytest.approx(72, rel=0.1)
    assert moments[0].start_s == 1e9
    assert sum(found.span_s for found in timeline(*first, *second).moments()) > 55, "without their times it is a guess"


def test_reused_answers_are_in_no_session():
    """Rows that an earlier run had finished long before say nothing of this one's rate; a session may have no row."""
    rows = [1e9 + n / 10 for n in range(100)]
    moments = timeline(*(at - 86_400 for at in rows), *rows).moments([(1e9 - 50, 1e9 - 45), (1e9, 1e9 + 10)])
    assert sum(found.rows for found in moments) == 100
    assert sum(found.span_s for found in moments) == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize("gap_s", [0.1, 3, 3_600])
def test_no_row_is_lost_at_the_seams_of_sessions(gap_s):
    """Sessions that share a moment, and a last row that came after the last note of its session."""
    sessions, rows, at = [], [], 1e9
    for _ in range(30):
        rows += [at + n / 10 for n in range(20)]
        sessions.append((at, at + 1.2))
        at += 2 + gap_s
    assert sum(found.rows for found in timeline(*rows).moments(sessions)) == 600
