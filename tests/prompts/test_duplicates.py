"""Which keys come twice, and when sharing an answer is right by default."""

import hashlib

import pytest

from batchgen.answers import RepeatFilter, dedupe_default


def keys(first, last):
    """Return the keys of some prompts."""
    return [hashlib.blake2b(b"%d" % n, digest_size=16).digest() for n in range(first, last)]


def test_a_filter_misses_no_repeat():
    """Every key that came twice is in it; of 20,000 that came once hardly any."""
    seen = RepeatFilter(25_000)
    for key in keys(0, 25_000) + keys(0, 5_000):
        seen.add(key)
    assert all(key in seen for key in keys(0, 5_000))
    assert sum(key in seen for key in keys(5_000, 25_000)) < 200
    assert 5_000 <= seen.repeats < 5_100


def test_a_filter_has_a_bounded_size():
    """However many rows: two tables of 16 MB."""
    huge = RepeatFilter(10**12)
    assert len(huge._once) + len(huge._twice) == 32 * 2**20


@pytest.mark.parametrize(
    ("parameters", "shared"),
    [
        ({}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.7}, False),
        ({"temperature": False}, False),
        ({"temperature": {"column": "t"}}, False),
        ({"seed": 7}, True),
        ({"random_seed": 7}, True),
        ({"seed": 0, "temperature": 1}, True),
        ({"seed": {"column": "s"}}, False),
        ({"extra_body": {"temperature": 0}}, True),
    ],
)
def test_rows_share_an_answer_by_default_only_if_it_would_be_the_same(parameters, shared):
    """Temperature 0 or a fixed seed."""
    assert dedupe_default(parameters) is shared
