"""Accuracy from a sample drawn per label, against published values."""

import pytest

from batchgen.review.accuracy import sample_accuracy, wilson


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_wilson(right, rows, low, high):
    """As in Newcombe's comparison (Statistics in Medicine 17, 1998)."""
    assert wilson(right / rows, rows) == pytest.approx((low, high), abs=1e-4)


def test_labels_count_by_their_rows():
    """A rare label that is always wrong weighs little; what nobody checked is not covered."""
    found = sample_accuracy([("a", 900, 10, 10), ("b", 100, 10, 0), ("c", 1_000, 0, 0)])
    assert found.value == pytest.approx(0.9)
    assert found.covered == 0.5
    assert found.low < 0.9 < found.high
    assert found.labels[2].low is None
    assert sample_accuracy([("a", 5, 0, 0)]).value is None
