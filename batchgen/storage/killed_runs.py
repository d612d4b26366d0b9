"""Estimates what a killed run may have been billed for although the answers are lost. Pure.

A kill loses the answers that were in flight or not committed yet; how many at most, the journal knows of each of its
sessions. Each killed session is counted once, by the first run after it that lives long enough to say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from batchgen.money.budget import PossiblyBilled
from batchgen.storage.journal import Session
from batchgen.storage.run_state import SavedSummary

UNKNOWN_IN_FLIGHT = 64
"""Requests that can be out before `run.json` has been written with a first count of them."""

_DOUBT = 10
"""A request counts as the dearest row so far and `_DOUBT` / n of it more, where n rows are known: the next row is
dearer than all before it once in n + 1 times, so that few rows say little."""


class Experience(Struct, frozen=True):
    """What is known of a run's costs: `rows` have a cost, of which `dearest` is the highest; `worst` is the most that a
    request can cost, None where nothing bounds it; `pending` rows have no result; `left` is what the budget of the
    killed run had left at the most, None where it had none."""

    pending: int
    rows: int
    dearest: Decimal
    worst: Decimal | None
    left: Decimal | None = None


def unclean_since(before: SavedSummary, killed: Sequence[Session]) -> list[Session]:
    """Return the killed sessions that no run has counted yet; `before` is the summary that `run.json` has."""
    return [session for session in killed if session.number > before.killed_counted]


def possibly_billed(before: SavedSummary, fresh: Sequence[Session], known: Experience) -> PossiblyBilled:
    """Return what earlier runs abandoned, with the requests that kills may have lost added.

    Of a session never more requests count than were seen in flight at once, twice over, nor more than there are rows
    without a result; each at the dearest row so far, with a margin that shrinks as rows are known. Without any, each
    counts at its worst case. Together they count no more than that run's budget had left: it let nothing more out.
    """
    lost = before.possibly_billed
    seen = 2 * before.most_out if before.most_out else UNKNOWN_IN_FLIGHT
    requests = sum(min(session.at_risk, known.pending, seen) for session in fresh)
    if not requests:
        return lost
    if known.rows:
        each = known.dearest * (known.rows + _DOUBT) / known.rows
        if known.worst is not None:
            each = min(each, known.worst + known.dearest)
    else:
        each = known.worst or Decimal(0)
    cost = requests * each if known.left is None else min(requests * each, known.left)
    return PossiblyBilled(lost.requests + requests, lost.cost + cost)
