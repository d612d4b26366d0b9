"""Quantiles and histograms against the sorted values."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.report.distribution import Distribution

counts = st.lists(st.none() | st.integers(0, 2_000_000), max_size=200)
times = st.lists(st.none() | st.floats(1e-3, 1e7), max_size=200)


def spread_of(values, kind, *, whole):
    """Fold the values in two portions."""
    distribution = Distribution(whole=whole)
    middle = len(values) // 2
    for portion in (values[:middle], values[middle:]):
        distribution.add(pa.chunked_array([pa.array(portion, kind)]))
    return distribution.spread()


def ranked(values, share):
    """The smallest value that this share of the rows does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@settings(deadline=None)
@given(counts)
def test_whole_numbers_are_exact(values):
    """Quantiles are values that occur, and the bins hold every row once, each within its edges."""
    spread = spread_of(values, pa.int64(), whole=True)
    known = [value for value in values if value is not None]
    if not known:
        assert spread.quantiles is None
        assert not spread.bins
        return
    q = spread.quantiles
    assert (q.rows, q.smallest, q.largest) == (len(known), min(known), max(known))
    assert q.mean == pytest.approx(sum(known) / len(known))
    for share, found in ((0.5, q.p50), (0.9, q.p90), (0.95, q.p95), (0.99, q.p99)):
        assert found == ranked(known, share)
    assert sum(found.rows for found in spread.bins) == len(known)
    for found in spread.bins:
        inside = sum(found.low <= value < found.high for value in known) if found.high else known.count(0)
        assert found.rows == inside
    assert len(spread.bins) <= 50


@settings(deadline=None)
@given(times)
def test_times_are_half_a_percent_off_at_most(values):
    """The stated error holds, and the ends are exact."""
    spread = spread_of(values, pa.float64(), whole=False)
    known = [value for value in values if value is not None]
    if not known:
        return
    q = spread.quantiles
    assert (q.rows, q.smallest, q.largest) == (len(known), min(known), max(known))
    for share, found in ((0.5, q.p50), (0.9, q.p90), (0.95, q.p95), (0.99, q.p99)):
        assert found == pytest.approx(ranked(known, share), rel=0.00502)
    assert sum(found.rows for found in spread.bins) == len(known)


def test_memory_is_bounded():
    """A million different times are a few thousand steps."""
    distribution = Distribution(whole=False)
    for number in range(10):
        distribution.add(pa.chunked_array([pa.array([1 + (number * 1000 + n) ** 1.5 for n in range(1000)])]))
    assert len(distribution._counts) < 1500
