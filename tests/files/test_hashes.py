"""Rows with a hash in common: all of them, and no others."""

from collections import Counter
from contextlib import closing
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import InputError
from batchgen.files import hashes
from batchgen.files.hashes import RowHashes


@pytest.fixture
def small(monkeypatch):
    """Bounds so low that a few hundred rows go through the file and are compared in shares."""
    monkeypatch.setattr(hashes, "_HELD_ROWS", 50)
    monkeypatch.setattr(hashes, "_SHARE_ROWS", 90)


def found(values, pieces=1):
    """Return the rows that are alike, in order, having checked that equal hashes stand together."""
    with closing(RowHashes()) as rows:
        for start in range(pieces):
            rows.extend(values[start * len(values) // pieces : (start + 1) * len(values) // pieces])
        assert len(rows) == len(values)
        together = []
        for some in rows.alike():
            together += zip(some.hashes.to_pylist(), some.rows.to_pylist(), strict=True)
        assert all(values[row] == value for value, row in together)
        changes = sum(one[0] != next_[0] for one, next_ in pairwise(together))
        assert changes + 1 == max(1, len({value for value, _ in together}))
        assert rows.take(pa.array([row for _, row in together], pa.int64())).to_pylist() == [v for v, _ in together]
    return sorted(row for _, row in together)


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=60), st.integers(1, 4))
def test_all_rows_that_are_alike_are_found(values, pieces):
    """However the rows came."""
    times = Counter(values)
    assert found(values, pieces) == [row for row, value in enumerate(values) if times[value] > 1]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("distinct", [1, 7, 300, 1_000])
@pytest.mark.parametrize("pieces", [1, 11, 400])
def test_nothing_changes_when_the_hashes_are_in_a_file(distinct, pieces):
    """Whatever does not fit into memory is written down, and read again share by share."""
    values = [(row * 7919 % distinct) * 2**52 - 5 * row % distinct for row in range(1_000)]
    times = Counter(values)
    assert found(values, pieces) == [row for row, value in enumerate(values) if times[value] > 1]


@pytest.mark.usefixtures("small")
def test_a_full_disk_is_named(monkeypatch):
    """With the way on."""

    def refuse(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hashes.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match="TMPDIR"), closing(RowHashes()) as rows:
        rows.extend(range(100))
