"""What a killed run may have been billed for that nobody has the answers of. Pure.

A kill loses the answers that were in flight or not committed yet; how many at most, the journal knows of each of its
sessions. Each killed session is counted once, by the first run after it that lives long enough to say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from batchgen.money.budget import PossiblyBilled
from batchgen.money.ledger import Totals
from batchgen.storage.journal import Session
from batchgen.storage.run_state import SavedSummary


def possibly_billed(before: SavedSummary, killed: Sequence[Session], totals: Totals) -> PossiblyBilled:
    """Return what earlier runs abandoned, with the requests that kills may have lost added.

    `before` is the summary that `run.json` has, `killed` are the sessions that did not end by themselves, `totals` the
    sums so far. Under a budget the worst case of a kill is what was held at the most (`most_held`); without one, the
    requests at risk are reckoned at the mean cost of a request.
    """
    requests, cost = before.possibly_billed.requests, before.possibly_billed.cost
    fresh = [session for session in killed if session.number > before.killed_counted]
    at_risk = sum(session.at_risk for session in fresh)
    if not at_risk:
        return PossiblyBilled(requests, cost)
    mean = totals.cost / totals.attempts if totals.cost is not None and totals.attempts else Decimal(0)
    lost = max(at_risk * mean, len(fresh) * before.most_held)
    return PossiblyBilled(requests + at_risk, cost + lost)
