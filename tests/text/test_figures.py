"""Figures as people read them."""

import pytest

from batchgen.text.figures import quantity


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (2_000, ("row",), "2,000 rows"),
        (1, ("batch", "batches"), "1 batch"),
        (3, ("batch", "batches"), "3 batches"),
        (1, ("row takes", "rows take"), "1 row takes"),
    ],
)
def test_one_is_singular(number, words, said):
    """Where an s does not make the plural, it is given."""
    assert quantity(number, *words) == said
