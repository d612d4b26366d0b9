"""Which rows are drawn at random: of all, or of those that are met to be asked."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from hashlib import blake2b
from heapq import heappush, heappushpop

from batchgen.estimating.histogram import CountedRow


def drawn_rows(rows: int, count: int, seed: int) -> list[int]:
    """Return `count` random row numbers, or all if there are fewer. With the same seed a larger draw begins with a
    smaller."""
    if count >= rows:
        return list(range(rows))
    rng = random.Random(seed)
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn[rng.randrange(rows)] = None
    return list(drawn)


def pilot_rows(drawn: Sequence[int], dominating: Collection[int]) -> frozenset[int]:
    """Return as many rows as were drawn: the dominating ones, then the first of the others that were drawn."""
    return frozenset([*dominating, *(row for row in drawn if row not in dominating)][: len(drawn)])


class Draw:
    """Draws at most `count` of the rows that it is shown, each with the same chance, without knowing how many come.

    A row's place in the draw depends on the seed and its number alone: with the same seed a larger draw of the same
    rows begins with a smaller.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = repr(seed).encode()
        self._drawn: list[tuple[int, int, CountedRow]] = []  # a heap with the last place of all first

    def consider(self, number: int, row: CountedRow) -> None:
        """Show a row."""
        place = int.from_bytes(blake2b(number.to_bytes(8), digest_size=8, key=self._seed[:64]).digest())
        entry = (-place, number, row)
        if len(self._drawn) < self._count:
            heappush(self._drawn, entry)
        elif entry > self._drawn[0]:
            heappushpop(self._drawn, entry)

    def rows(self) -> dict[int, CountedRow]:
        """Return the rows that have been drawn so far by their numbers, in the order of the draw."""
        return {number: row for _, number, row in sorted(self._drawn, key=lambda entry: -entry[0])}
