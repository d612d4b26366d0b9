"""Rows that ask the same: which keys come more than once, and when sharing an answer changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEAST_BITS, _MOST_BITS = 20, 27  # of a filter's two tables: 128 KB to 16 MB each
_BITS_A_ROW = 256  # a single prompt is taken for a repeated one once in so many, about, in a full table


class RepeatFilter:
    """Which keys came more than once, in at most 32 MB however many there are.

    It never misses one; now and then it takes a single key for a repeated one. `repeats` counts the keys that had come
    before, by the same measure.
    """

    def __init__(self, rows: int) -> None:
        """`rows`: about how many keys will come."""
        bits = min(max((rows * _BITS_A_ROW).bit_length(), _LEAST_BITS), _MOST_BITS)
        self._mask = (1 << bits) - 1
        self._once = bytearray(1 << (bits - 3))
        self._twice = bytearray(1 << (bits - 3))
        self.repeats = 0

    def add(self, key: bytes) -> None:
        """Take note of a key."""
        place = int.from_bytes(key[:8]) & self._mask
        byte, bit = place >> 3, 1 << (place & 7)
        if self._once[byte] & bit:
            self._twice[byte] |= bit
            self.repeats += 1
        else:
            self._once[byte] |= bit

    def __contains__(self, key: bytes) -> bool:
        place = int.from_bytes(key[:8]) & self._mask
        return bool(self._twice[place >> 3] & (1 << (place & 7)))


def dedupe_default(parameters: Mapping[str, Any]) -> bool:
    """Return whether rows with one request share its answer when the job does not say: temperature 0 or a fixed seed.

    A value that comes from a column (a table) is neither; `extra_body` counts as if written at the top.
    """
    extra = parameters.get("extra_body")
    merged = {**parameters, **extra} if isinstance(extra, Mapping) else parameters
    temperature, seed = merged.get("temperature"), merged.get("seed")
    is_zero = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    return is_zero or (isinstance(seed, int) and not isinstance(seed, bool))
