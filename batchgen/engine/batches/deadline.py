"""When it is time to cancel what is open, and to ask the rest live: `batch.deadline`.

Pure; times are seconds since 1970.
"""

from __future__ import annotations

from msgspec import Struct

CANCEL_S = 900.0
"""Until a batch that is cancelled has ended: vendors say ten minutes."""

LIVE_ROWS_PER_S = 10.0
"""Rows that are surely answered live in a second, before it is known how many are."""

LEAST_LIVE_S = 300.0

CANCEL_SHARE, LIVE_SHARE = 0.25, 0.1
"""A short deadline leaves less time for both: so much of all of it, at the most."""

LOOK_SHARE = 0.1
"""So much of the time for live rows there is besides, for a last look at the batches that have not ended."""


class Deadline(Struct, frozen=True):
    """`at_s` is the hour to be met, None for none; `whole_s` the time that there was in all. `waits`: what is open then
    is waited for."""

    at_s: float | None
    whole_s: float = 0.0
    waits: bool = False

    def live_s(self, rows: int, rows_per_s: float | None) -> float:
        """Return about how long it takes to ask so many rows live."""
        needed_s = rows / (rows_per_s or LIVE_ROWS_PER_S)
        return max(needed_s, min(LEAST_LIVE_S, LIVE_SHARE * self.whole_s))

    def cancel_s(self, rows: int, rows_per_s: float | None = None) -> float | None:
        """Return when to cancel what is open, if `rows` are to be asked live then; None for never."""
        last_s = self.last_call_s(rows, rows_per_s)
        return None if last_s is None else last_s - min(CANCEL_S, CANCEL_SHARE * self.whole_s)

    def last_call_s(self, rows: int, rows_per_s: float | None = None) -> float | None:
        """Return when rows are asked live although their batches have not ended, cancelled as these are, after a last
        look at them."""
        if self.at_s is None or self.waits:
            return None
        return self.at_s - (1 + LOOK_SHARE) * self.live_s(rows, rows_per_s)

    def last_look_s(self, now_s: float, rows: int) -> float:
        """Return how long a batch may be looked at once more before its rows are asked live."""
        return 0.0 if self.at_s is None or self.waits else max(0.0, self.at_s - self.live_s(rows, None) - now_s)

    def has_time(self, now_s: float, rows: int, batch_s: float) -> bool:
        """Whether another batch can be waited for that takes `batch_s`."""
        until_s = self.cancel_s(rows)
        return until_s is None or now_s + batch_s < until_s
