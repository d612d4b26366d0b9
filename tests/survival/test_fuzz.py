"""Damaged replies to both providers' readers: a short share of `fuzz.py` each time, a million by hand."""

from tests.survival import fuzz


def test_damaged_replies_are_values():
    """6,000 damaged bodies and streams: no exception, no success without a finish reason, memory stays."""
    successes, growth = fuzz.run(seed=5, inputs=6_000)
    assert 100 < successes < 5_000
    assert growth < 40
