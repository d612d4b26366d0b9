"""Duplicate requests: how many keys occur again, and when rows may share an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from batchgen.files.hashes import RowHashes
from batchgen.tokens.parameters import effective_parameters


class RepeatCount:
    """Counts the keys of 16 bytes that are the same as an earlier one: exact, in bounded memory."""

    def __init__(self) -> None:
        self._first = RowHashes()
        self._second = RowHashes()

    def add(self, key: bytes) -> None:
        """Add a key."""
        self._first.extend((int.from_bytes(key[:8], signed=True),))
        self._second.extend((int.from_bytes(key[8:16], signed=True),))

    def close(self) -> None:
        """Let go of the keys."""
        self._first.close()
        self._second.close()

    def repeats(self) -> int:
        """Return how many keys had been added before."""
        repeats = 0
        for alike in self._first.alike():
            keys = pa.table({"first": alike.hashes, "second": self._second.take(alike.rows)})
            repeats += keys.num_rows - keys.group_by(["first", "second"]).aggregate([]).num_rows
        return repeats


def dedupe_default(parameters: Mapping[str, Any]) -> bool:
    """Return whether duplicate requests share an answer if the job does not say: at temperature 0 or with a fixed seed.

    A value from a column counts as neither. Fields of `extra_body` count as parameters.
    """
    merged = effective_parameters(parameters)
    temperature, seed = merged.get("temperature"), merged.get("seed", merged.get("random_seed"))  # the latter: Mistral
    is_zero = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    return is_zero or (isinstance(seed, int) and not isinstance(seed, bool))
