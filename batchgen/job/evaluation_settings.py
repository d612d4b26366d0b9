"""`[evaluate]` of a job: which columns hold the correct answers."""

from __future__ import annotations

from msgspec import Struct


class EvaluationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[evaluate]`: `gold` is the column with the correct label, or a table from fields to their gold columns.

    Dots in the name of a field lead into nested objects. `seed` and `resamples` are those of the intervals' bootstrap.
    """

    gold: str | dict[str, str]
    seed: int = 0
    resamples: int = 2_000

    @property
    def columns(self) -> list[str]:
        """The gold columns, which have to be among the columns that are carried into the results."""
        return [self.gold] if isinstance(self.gold, str) else list(self.gold.values())
