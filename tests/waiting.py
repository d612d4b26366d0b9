"""Waiting for something to become true, without sleeping for a fixed time."""

from __future__ import annotations

import time


def wait_until(true, seconds=30):
    """Poll a condition that another process brings about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
