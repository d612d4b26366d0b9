"""Which keys come twice, and when sharing an answer is right by default."""

import hashlib
from contextlib import closing

import pytest

from batchgen.files import hashes
from batchgen.prompts.duplicates import RepeatCount, dedupe_default


def keys(first, last):
    """Return the keys of some prompts."""
    return [hashlib.blake2b(b"%d" % n, digest_size=16).digest() for n in range(first, last)]


def test_repeats_are_counted_exactly():
    """Each key that had been added before, once for each time; not one that only begins like another."""
    with closing(RepeatCount()) as count:
        for key in keys(0, 25_000) + keys(0, 5_000) + keys(0, 2):
            count.add(key)
        assert count.repeats() == 5_002
        count.add(keys(0, 1)[0][:8] + b"another.")
        assert count.repeats() == 5_002
        count.add(keys(0, 1)[0][:8] + b"another.")
        assert count.repeats() == 5_003


def test_the_count_stays_exact_beyond_what_is_held_in_memory(monkeypatch):
    """With hashes in a file, compared share by share."""
    monkeypatch.setattr(hashes, "_HELD_ROWS", 1_000)
    monkeypatch.setattr(hashes, "_SHARE_ROWS", 3_000)
    with closing(RepeatCount()) as count:
        for key in [*keys(0, 25_500), *keys(100, 400)]:
            count.add(key)
        assert count.repeats() == 300


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
