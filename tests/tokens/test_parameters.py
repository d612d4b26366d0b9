"""Parameters as the provider sees them."""

from batchgen.tokens.parameters import effective_parameters


def test_a_rows_own_win_and_a_null_cell_sets_nothing():
    """A missing value is no value."""
    own = {"max_tokens": None, "temperature": 0.5}
    assert effective_parameters({"max_tokens": 10}, own) == {"max_tokens": 10, "temperature": 0.5}


def test_an_extra_body_stands_beside_the_others():
    """As the SDK sends it; anything but a table is dropped."""
    assert effective_parameters({"seed": 1, "extra_body": {"seed": 2, "top_k": 3}}) == {"seed": 2, "top_k": 3}
    assert effective_parameters({"extra_body": None, "n": 2}) == {"n": 2}
