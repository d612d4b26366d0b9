"""Shards: contiguous, bounded, and cut in the same places by every later run."""

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.money.ledger import Sums
from batchgen.storage.shards import PartRecord, ShardRecord, cut, first_needed_row, without_gaps

PART = PartRecord(1, 2, Sums())


def batches(total, size, first_row=0):
    """Return `total` numbered rows as batches of `size`."""
    return [
        (row, pa.RecordBatch.from_pydict({"n": list(range(row, min(row + size, first_row + total)))}))
        for row in range(first_row, first_row + total, size)
    ]


def numbers(shard):
    """Return the rows that a shard carries."""
    return shard.table["n"].to_pylist()


@given(total=st.integers(1, 60), size=st.integers(1, 25), rows=st.integers(1, 25))
def test_every_row_is_in_one_shard(total, size, rows):
    """Shards cover the input in order, numbered from 0, none above the limit."""
    shards = list(cut(batches(total, size), rows=rows))
    assert [n for shard in shards for n in numbers(shard)] == list(range(total))
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert all(shard.rows <= rows and shard.first_row == numbers(shard)[0] for shard in shards)
    assert all(shard.rows == rows for shard in shards[:-1])


@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=30), size=st.integers(1, 10), limit=st.integers(50, 600)
)
def test_bytes_bound_a_shard(sizes, size, limit):
    """A shard is above the byte limit only if it is a single row, and it is not cut earlier than need be."""
    texts = ["x" * length for length in sizes]
    source = [
        (row, pa.RecordBatch.from_pydict({"t": pa.array(texts[row : row + size], pa.string())}))
        for row in range(0, len(texts), size)
    ]
    shards = list(cut(source, max_bytes=limit))
    assert [t for shard in shards for t in shard.table["t"].to_pylist()] == texts
    assert all(shard.rows == 1 or shard.table.nbytes <= limit for shard in shards)
    for one, next_one in pairwise(shards):
        assert one.table.nbytes + next_one.table.slice(0, 1).nbytes > limit


@given(total=st.integers(1, 60), size=st.integers(1, 25), later=st.integers(1, 25), sealed=st.sets(st.integers(0, 9)))
def test_known_boundaries_are_kept(total, size, later, sealed):
    """A later run with other limits cuts where the first one did and leaves sealed shards out."""
    first = list(cut(batches(total, size), rows=7))
    known = [ShardRecord(s.number, s.first_row, s.rows, PART if s.number in sealed else None) for s in first]
    again = list(cut(batches(total, later), rows=3, known=known))
    assert [(s.number, numbers(s)) for s in again] == [(s.number, numbers(s)) for s in first if s.number not in sealed]


def test_source_may_start_at_the_first_needed_row():
    """Sealed shards at the front need not be read again; the next new shard gets the next number."""
    known = [ShardRecord(0, 0, 10, PART), ShardRecord(1, 10, 10, PART), ShardRecord(2, 20, 10)]
    start = first_needed_row(known)
    assert start == 20
    shards = list(cut(batches(25, 4, start), rows=10, known=known))
    assert [(s.number, s.first_row, s.rows) for s in shards] == [(2, 20, 10), (3, 30, 10), (4, 40, 5)]


@pytest.mark.parametrize(
    "source",
    [
        [*batches(5, 5), *batches(5, 5, 6)],
        batches(5, 5, 1),
        batches(12, 5),
    ],
    ids=["gap", "late", "short"],
)
def test_an_input_that_does_not_fit_is_refused(source):
    """A gap, a late start and an input that ends inside a known open shard are errors, never a silent loss."""
    with pytest.raises(ValueError, match="row"):
        list(cut(source, known=[ShardRecord(0, 0, 10), ShardRecord(1, 10, 10)]))


def test_no_rows_give_one_empty_shard():
    """A header without rows still gives a part with its columns."""
    [shard] = cut([(0, pa.RecordBatch.from_pydict({"n": pa.array([], pa.int64())}))])
    assert (shard.number, shard.rows, shard.table.column_names) == (0, 0, ["n"])
    assert list(cut([])) == []


def test_missing_records_are_filled_in():
    """Lost records share the rows between their neighbours; contradictions are refused."""
    known = [ShardRecord(0, 0, 10, PART), ShardRecord(3, 31, 5)]
    assert [(r.number, r.first_row, r.rows) for r in without_gaps(known)] == [
        (0, 0, 10),
        (1, 10, 11),
        (2, 21, 10),
        (3, 31, 5),
    ]
    for wrong in ([ShardRecord(0, 5, 5)], [ShardRecord(0, 0, 10), ShardRecord(1, 5, 5)], [ShardRecord(2, 1, 5)]):
        with pytest.raises(ValueError, match="starts at row"):
            without_gaps(wrong)
