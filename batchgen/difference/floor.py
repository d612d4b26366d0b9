"""How much two runs differ although nothing has changed: what `--refresh` found when it asked the same again, or, where
rows were asked several times, how often one of their votes was another."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow.compute as pc
from msgspec import Struct

from batchgen.evaluation.statistics import wilson
from batchgen.results.committed import Committed
from batchgen.results.rows import ResultRows


class NoiseFloor(Struct, frozen=True):
    """Of `asked` answers in `directory` that were asked for again (or, `by_votes`, of its rows), `moved` were others: a
    share that lies between `low` and `high` with 95 % confidence (Wilson)."""

    directory: str
    asked: int
    moved: int
    low: float
    high: float
    by_votes: bool = False


def floor_of(*sides: ResultRows) -> NoiseFloor | None:
    """Return the noise floor of two runs: from rows that were asked again, else from votes, else None."""
    runs = [run for side in sides for run in side.runs]
    return noise_floor(runs) or next((floor for side in sides if (floor := _voted_floor(side)) is not None), None)


def _voted_floor(side: ResultRows) -> NoiseFloor | None:
    """Return the share of votes that are not for their row's winner: a single answer would differ as often as that."""
    if not {"label", "agreement"} <= side.parsed_fields.keys():
        return None
    rows, against = 0, 0.0
    for batch in side.batches(["parsed"]):
        agreement = pc.struct_field(batch.column("parsed"), "agreement")
        rows += len(agreement) - agreement.null_count
        against += pc.sum(pc.subtract(1.0, agreement)).as_py() or 0.0
    if not rows:
        return None
    low, high = wilson(against / rows, rows)
    return NoiseFloor(side.name, rows, round(against), low, high, by_votes=True)


def noise_floor(runs: Iterable[Committed]) -> NoiseFloor | None:
    """Return the noise floor that rests on the most rows; None if none of the runs asked rows again."""
    found = []
    for run in runs:
        refreshed = None if run.state is None else run.state.summary.refreshed
        if refreshed is not None and refreshed.asked:
            low, high = wilson(refreshed.moved / refreshed.asked, refreshed.asked)
            found.append(NoiseFloor(str(run.directory), refreshed.asked, refreshed.moved, low, high))
    return max(found, key=lambda floor: floor.asked, default=None)


def floor_text(floor: NoiseFloor, changed: int, rows: int) -> str:
    """Return what a share of changed answers means against the floor."""
    share = changed / rows if rows else 0.0
    if share > floor.high:
        verdict = "more than that: the runs differ"
    elif share < floor.low:
        verdict = "less than that"
    else:
        verdict = "within that: no sign of a difference"
    sure = f"{floor.moved / floor.asked:.1%}, between {floor.low:.1%} and {floor.high:.1%}"
    if floor.by_votes:
        found = f"By its votes, a single answer in {floor.directory} is another one in {sure} of {floor.asked:,} rows."
    else:
        found = (
            f"Asked again without any change, {floor.moved:,} of {floor.asked:,} answers moved ({sure}; --refresh in "
            f"{floor.directory})."
        )
    return f"{found} Here {share:.1%} differ, {verdict}."
