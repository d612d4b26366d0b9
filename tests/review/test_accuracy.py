"""Accuracy from a sample drawn per label, against published values."""

import pytest

from batchgen.review.accuracy import sample_accuracy


def test_labels_count_by_their_rows():
    """A rare label that is always wrong weighs little; what nobody checked is not covered."""
    found = sample_accuracy([("a", 900, 10, 10), ("b", 100, 10, 0), ("c", 1_000, 0, 0)])
    assert found.value == pytest.approx(0.9)
    assert found.covered == 0.5
    assert found.low < 0.9 < found.high
    assert found.labels[2].low is None
    assert sample_accuracy([("a", 5, 0, 0)]).value is None
