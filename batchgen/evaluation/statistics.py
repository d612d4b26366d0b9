"""Shares, F1 and their bootstrap intervals, from counts of equal rows.

A bootstrap draws rows with replacement. Rows that agree in gold and prediction are the same to every measure here, so
drawing counts of them (one multinomial draw per resample) is the same experiment, in memory that does not grow with
the rows. numpy draws; scikit-learn and scipy (200 MB installed, 2 s to import, arrays of all rows) would add three
one-line ratios; the tests hold these against textbook values and against both libraries where they are installed.

A share of 0 or 1 has no spread to draw from: its interval is Clopper and Pearson's exact one (Biometrika 26, 1934).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.extras import missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Values = NDArray[np.float64]

LEVEL = 0.95
"""Share of experiments whose interval holds the true value."""

_Z = 1.959963984540054
"""That share of a normal distribution lies within so many deviations of its mean."""

_CELLS_AT_ONCE = 4_000_000


class Measure(Struct, frozen=True):
    """A value between 0 and 1 (-1 and 1 for a difference) over `rows`, and its interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    rows: int


def wilson(share: float, rows: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share (Journal of the American Statistical Association 22, 1927)."""
    below = 1 + _Z**2 / rows
    middle = (share + _Z**2 / (2 * rows)) / below
    half = _Z / below * sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def need_numpy() -> None:
    """Raise `UsageError` without the package of the extra `evaluate`."""
    if lacking := missing("evaluate"):
        raise UsageError(f"Intervals need {lacking}")


class Bootstrap:
    """Intervals by resampling, the same for the same seed."""

    def __init__(self, seed: int = 0, resamples: int = 2_000) -> None:
        need_numpy()
        self.seed = seed
        self.resamples = resamples

    def share(self, hits: int, rows: int) -> Measure:
        """Return `hits` of `rows` with its interval."""
        if rows == 0:
            return Measure(None, None, None, 0)
        tail = (1 - LEVEL) / 2
        if hits == 0:
            return Measure(0.0, 0.0, 1 - tail ** (1 / rows), rows)
        if hits == rows:
            return Measure(1.0, tail ** (1 / rows), 1.0, rows)
        return self.measure([hits, rows - hits], lambda counts: ratio(counts[:, 0], counts.sum(axis=1)), rows)

    def measure(self, cells: Sequence[int], of: Callable[[Counts], Values], rows: int) -> Measure:
        """Return a measure of counts; `of` takes (resamples × cells) and gives a value for each resample.

        An undefined value (nan) is None; resamples without a value are left out of the interval.
        """
        import numpy as np

        value = of(np.asarray([cells], dtype=np.int64))[0]
        if np.isnan(value):
            return Measure(None, None, None, rows)
        drawn = np.concatenate([of(counts) for counts in self._draws(cells)])
        low, high = np.nanpercentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
        return Measure(float(value), float(low), float(high), rows)

    def _draws(self, cells: Sequence[int]) -> Any:
        import numpy as np

        random = np.random.default_rng(self.seed)
        counts = np.asarray(cells, dtype=np.int64)
        total = int(counts.sum())
        at_once = max(1, _CELLS_AT_ONCE // max(1, len(cells)))
        for start in range(0, self.resamples, at_once):
            yield random.multinomial(total, counts / total, size=min(at_once, self.resamples - start))


def ratio(above: Counts, below: Counts) -> Values:
    """Return `above` / `below`, nan where `below` is 0."""
    import numpy as np

    shares: Values = np.divide(above, below, out=np.full(below.shape, np.nan), where=below != 0)
    return shares
