"""How much two runs differ although nothing has changed: what `--refresh` found when it asked the same again."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from batchgen.results.committed import Committed

_DEVIATIONS = 1.96  # of 95 %


class NoiseFloor(Struct, frozen=True):
    """Of `asked` rows that the run in `directory` asked again, `moved` had another answer: a share that lies between
    `low` and `high` with 95 % confidence (Wilson)."""

    directory: str
    asked: int
    moved: int
    low: float
    high: float


def noise_floor(runs: Iterable[Committed]) -> NoiseFloor | None:
    """Return the floor that rests on most rows, None if none of the runs asked any again."""
    found = []
    for run in runs:
        refreshed = None if run.state is None else run.state.summary.refreshed
        if refreshed is not None and refreshed.asked:
            low, high = _wilson(refreshed.moved, refreshed.asked)
            found.append(NoiseFloor(str(run.directory), refreshed.asked, refreshed.moved, low, high))
    return max(found, key=lambda floor: floor.asked, default=None)


def _wilson(count: int, rows: int) -> tuple[float, float]:
    share, square = count / rows, _DEVIATIONS**2
    middle = share + square / (2 * rows)
    width = _DEVIATIONS * math.sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    return max(0.0, (middle - width) / (1 + square / rows)), min(1.0, (middle + width) / (1 + square / rows))


def floor_text(floor: NoiseFloor, changed: int, rows: int) -> str:
    """Return what a share of changed answers means against the floor."""
    share = changed / rows if rows else 0.0
    if share > floor.high:
        verdict = "more than that: the runs differ"
    elif share < floor.low:
        verdict = "less than that"
    else:
        verdict = "within that: no sign of a difference"
    return (
        f"Asked again without any change, {floor.moved:,} of {floor.asked:,} answers moved "
        f"({floor.moved / floor.asked:.1%}, between {floor.low:.1%} and {floor.high:.1%}; --refresh in "
        f"{floor.directory}). Here {share:.1%} differ, {verdict}."
    )
