"""Draws what is odd about a call, a file, a batch or a row of the simulated batch APIs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from batchgen.simulator.batches.oddity_names import parse
from batchgen.simulator.faults import drawn


class Oddities:
    """Draws oddities. An entry is `NAME` (always), `NAME=SHARE` (0 to 1) or `NAME=Nx` (the first N times)."""

    def __init__(self, entries: Sequence[str], seed: int, met: Mapping[str, int] | None = None) -> None:
        self.shares, self.counts = parse(entries)
        self.met = Counter(met or {})
        """How often each has been met; where it goes by number, this has to last."""
        self._seed = seed

    def meets(self, name: str, number: int) -> bool:
        """Return whether the thing with this number (a call, a file, a batch, a row) is odd in this way."""
        if name in self.shares:
            if (share := self.shares[name]) < 1 and drawn(name, self._seed, number, 0) >= share:
                return False
        elif self.met[name] >= self.counts.get(name, 0):
            return False
        self.met[name] += 1
        return True

    def any_of(self, names: Mapping[str, str]) -> tuple[str, ...]:
        """Return those of `names` that are switched on."""
        return tuple(name for name in names if name in self.shares or name in self.counts)
