"""Pieces of a text that repeat all before them, and texts that repeat themselves."""

import pytest

from batchgen.text.repeats import is_cumulative

SAID = "You said: yes or no? No. "


@pytest.mark.parametrize(
    ("pieces", "cumulative"),
    [
        (["The answer is 42", "The answer is 42, says the book"], True),
        (["The answer is", "The answer is 42", "The answer is 42, says the book"], True),
        ([SAID, SAID * 2, SAID * 3], True),
        ([SAID * 2, SAID * 18], False),  # one text, which repeats its beginning
        ([SAID, SAID], False),
        (["ha ", "ha ha "], False),
    ],
)
def test_growing_pieces_are_told_from_a_text_that_repeats_itself(pieces, cumulative):
    """Two pieces of a text that goes on as it began are increments: none of it is dropped."""
    assert is_cumulative(pieces) is cumulative
