"""An estimate, as a run keeps it."""

from __future__ import annotations


def estimate(**values):
    """Return an estimate as `batchgen estimate --json` words it, for ten rows of `row`."""
    return {
        "rows": 10,
        "model": "qwen-plus",
        "input_tokens": 1000,
        "input_method": "exact",
        "output_tokens": {"low": 80, "expected": 100, "high": 120},
        "output_method": "pilot",
        "confidence": 0.95,
        "cost": {"low": "0.0004", "expected": "0.0005", "high": "0.00051"},
        "currency": "USD",
        "duration_s": {"low": 1, "expected": 2, "high": 3.5},
        **values,
    }
