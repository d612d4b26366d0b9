"""How many requests may be in flight: the least of three bounds, each found in a way of its own. Pure arithmetic."""

from __future__ import annotations

from batchgen.pace.concurrency_ceiling import ConcurrencyCeiling
from batchgen.pace.late_answers import LateAnswers
from batchgen.pace.level_search import LevelSearch
from batchgen.pace.values import CONCURRENCY, IN_FLIGHT, LEVEL, SLOW, Limits


class InFlight:
    """`ceiling`: the job's bound and the provider's limit; `late`: what a slow server answers in time; `level`: what is
    of use where the job does not say."""

    __slots__ = ("ceiling", "late", "level")

    def __init__(self, limits: Limits) -> None:
        self.ceiling = ConcurrencyCeiling(limits.concurrency)
        self.late = LateAnswers()
        self.level = LevelSearch(search=limits.search_level, most=limits.concurrency)
        if limits.requests_per_minute or limits.tokens_per_minute:
            self.level.guarded()

    @property
    def limit(self) -> float:
        """Most requests in flight now."""
        return min(self.ceiling.limit, self.late.limit, self.level.limit)

    def bound_by(self, in_flight: int) -> int:
        """Return, as a bit of `Ticket.bound`, what lets no more than `in_flight` requests out; 0 if nothing does."""
        ceiling = self.ceiling
        if in_flight >= self.late.limit:
            return SLOW
        if in_flight >= self.level.limit:
            return LEVEL
        if in_flight >= ceiling.limit:
            return IN_FLIGHT if ceiling.limit < ceiling.bound else CONCURRENCY
        return 0

    def change(self, limits: Limits) -> None:
        """Go on with other limits of the job; what was found stays in force."""
        self.ceiling.rebound(limits.concurrency)
        self.level.change(search=limits.search_level, most=limits.concurrency)
