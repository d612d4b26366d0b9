"""What the pace of a rate limit is, and what changes that: one table, which the code goes by."""

from __future__ import annotations

from enum import Enum


class RateState(Enum):
    """What the pace is."""

    SEARCHING = "none: no limit was met"
    NAMED = "what the job or the headers name"
    CLIMBING = "unknown: a limit was met, and nothing is measured"
    HOLDING = "what was measured, or has held"
    TRYING = "between what has held and what was refused"
    RISING = "above what has held, by growing steps"
    RETURNING = "below what was measured, and back to it"
    SHARED = "a share of the limit, as others use it too"


class RateEvent(Enum):
    """What changes it."""

    NAMED = "a limit is named, or is in force after all"
    FORGOTTEN = "none is named, and what was refused was random"
    LOST = "nothing that was measured holds any more"
    MEASURED = "refused, after enough was admitted to measure the rate"
    BETWEEN = "the same, while a pace has held that is well below what was refused"
    REFUSED = "refused, too soon for a measurement"
    HELD = "enough was admitted at this pace"
    BACK = "the pace is the measured one again"
    OTHERS = "refused again and again although the pace was measured as safe"
    ALONE = "measured the same again and again"


S, E = RateState, RateEvent
FROM_ANY = {
    E.NAMED: S.NAMED,
    E.FORGOTTEN: S.SEARCHING,
    E.LOST: S.CLIMBING,
    E.MEASURED: S.HOLDING,
    E.BETWEEN: S.TRYING,
    E.OTHERS: S.SHARED,
}
"""The state that follows whatever the state was."""
TRANSITIONS = {
    (S.SEARCHING, E.REFUSED): S.CLIMBING,
    (S.NAMED, E.REFUSED): S.RETURNING,
    (S.NAMED, E.HELD): S.RISING,
    (S.HOLDING, E.REFUSED): S.RETURNING,
    (S.HOLDING, E.HELD): S.RISING,
    (S.TRYING, E.REFUSED): S.HOLDING,
    (S.TRYING, E.HELD): S.RISING,
    (S.RISING, E.REFUSED): S.RETURNING,
    (S.RETURNING, E.BACK): S.HOLDING,
    (S.SHARED, E.ALONE): S.RETURNING,
}
"""The state that follows; what is not named changes nothing."""


def after(state: RateState, event: RateEvent) -> RateState:
    """Return the state that follows."""
    return FROM_ANY.get(event) or TRANSITIONS.get((state, event), state)
