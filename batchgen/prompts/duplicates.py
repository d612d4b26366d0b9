"""Duplicate requests: which keys occur more than once, and when rows may share an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchgen.tokens.parameters import effective_parameters

_LEAST_BITS, _MOST_BITS = 20, 27  # size of each of the filter's two tables: 128 KB to 16 MB
_BITS_A_ROW = 256  # in a full table about one in so many keys is wrongly taken for a repeated one


class RepeatFilter:
    """A Bloom filter for keys that occur more than once, in at most 32 MB for any number of keys.

    It finds every repeated key, and now and then takes a key for repeated that is not. `repeats` counts the keys that
    had occurred before, with the same error.
    """

    def __init__(self, rows: int) -> None:
        """`rows` is about the number of keys that will be added."""
        bits = min(max((rows * _BITS_A_ROW).bit_length(), _LEAST_BITS), _MOST_BITS)
        self._mask = (1 << bits) - 1
        self._once = bytearray(1 << (bits - 3))
        self._twice = bytearray(1 << (bits - 3))
        self.repeats = 0

    def add(self, key: bytes) -> None:
        """Add a key."""
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
    """Return whether duplicate requests share an answer if the job does not say: at temperature 0 or with a fixed seed.

    A value from a column counts as neither. Fields of `extra_body` count as parameters.
    """
    merged = effective_parameters(parameters)
    temperature, seed = merged.get("temperature"), merged.get("seed", merged.get("random_seed"))  # the latter: Mistral
    is_zero = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    return is_zero or (isinstance(seed, int) and not isinstance(seed, bool))
