"""What a mistyped name means."""

import pytest

from batchgen.nearest import nearest


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("colunm", "Column"),
        ("COLUMN", "Column"),
        (" column ", "Column"),
        ("id", "ID "),
        ("data", "data.csv"),
        ("x", None),
        ("", None),
    ],
)
def test_the_nearest_name(wanted, meant):
    """Whatever its case and the blanks around it; a file may lack its extension."""
    assert nearest(wanted, ["Column", "ID ", "data.csv"]) == meant


def test_how_alike_names_have_to_be():
    """Where a wrong guess would mislead, more of the letters have to be the same."""
    assert nearest("max_token_count", ["max_tokens"]) == "max_tokens"
    assert nearest("max_token_count", ["max_tokens"], cutoff=0.85) is None
