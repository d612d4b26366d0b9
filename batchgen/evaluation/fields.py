"""Fields of extracted objects: exact and normalised matches, and what kind of mistake the others are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc
from msgspec import Struct

from batchgen.evaluation.comparison import Columns, count
from batchgen.evaluation.statistics import Bootstrap, Measure, ratio

if TYPE_CHECKING:
    from batchgen.evaluation.statistics import Counts, Values


class FieldScore(Struct, frozen=True):
    """One field. `exact` and `match` (normalised) are shares of all rows, a rightly empty value counting as right.

    `precision`, `recall` and `f1` look at values only: right values among those predicted, and among those in gold.
    `missed`: gold has a value, the answer none; `invented`: the reverse; `wrong`: two different values.
    """

    field: str
    rows: int
    exact: Measure
    match: Measure
    precision: Measure
    recall: Measure
    f1: Measure
    missed: int
    invented: int
    wrong: int


class FieldTally:
    """Counts of one field."""

    def __init__(self, field: str) -> None:
        self.field = field
        self._rows = self._exact = self._match = 0
        self._right_values = self._missed = self._invented = self._wrong = 0

    def add(self, columns: Columns) -> None:
        """Count a batch of comparisons."""
        self._rows += len(columns.match)
        self._exact += count(columns.exact)
        self._match += count(columns.match)
        has_gold, has_value = pc.is_valid(columns.gold_keys), pc.is_valid(columns.predicted_keys)
        wrong = pc.invert(columns.match)
        self._right_values += count(pc.and_(columns.match, has_gold))
        self._missed += count(pc.and_(wrong, pc.and_not(has_gold, has_value)))
        self._invented += count(pc.and_(wrong, pc.and_not(has_value, has_gold)))
        self._wrong += count(pc.and_(wrong, pc.and_(has_gold, has_value)))

    def score(self, bootstrap: Bootstrap) -> FieldScore:
        """Return the measures with their intervals."""
        right, wrong = self._right_values, self._wrong
        neither = self._rows - right - wrong - self._missed - self._invented

        def f1(drawn: Counts) -> Values:
            hits = 2 * drawn[:, 0]
            return ratio(hits, hits + 2 * drawn[:, 1] + drawn[:, 2] + drawn[:, 3])

        return FieldScore(
            self.field,
            self._rows,
            bootstrap.share(self._exact, self._rows),
            bootstrap.share(self._match, self._rows),
            bootstrap.share(right, right + wrong + self._invented),
            bootstrap.share(right, right + wrong + self._missed),
            bootstrap.measure([right, wrong, self._missed, self._invented, neither], f1, self._rows),
            self._missed,
            self._invented,
            wrong,
        )
