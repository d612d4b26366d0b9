"""`[evaluate]` of a job: which columns hold the right answers."""

from __future__ import annotations

from msgspec import Struct


class EvaluationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[evaluate]`: `gold` is the column with the right label, or a table of fields and their gold columns.

    A field's dots lead into nested objects. `seed` and `resamples` are of the intervals.
    """

    gold: str | dict[str, str]
    seed: int = 0
    resamples: int = 2_000

    @property
    def columns(self) -> list[str]:
        """The gold columns; they have to be among the carried ones."""
        return [self.gold] if isinstance(self.gold, str) else list(self.gold.values())
