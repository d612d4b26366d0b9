"""What a kill may have cost: counted once for each killed session, never forgotten."""

from decimal import Decimal

from batchgen.money.budget import PossiblyBilled
from batchgen.money.ledger import Totals
from batchgen.storage.journal import Session
from batchgen.storage.killed_runs import possibly_billed
from batchgen.storage.run_state import SavedSummary

TOTALS = Totals(rows=100, attempts=100, input_cost=Decimal("0.5"), output_cost=Decimal("0.5"))


def killed(*at_risk):
    """Return sessions numbered from 1 that were killed."""
    return [Session(number, 0, False, risk) for number, risk in enumerate(at_risk, 1)]


def test_a_kill_adds_what_was_at_risk_at_the_mean_cost():
    """0.01 a request."""
    found = possibly_billed(SavedSummary(), killed(80), TOTALS)
    assert (found.requests, found.cost) == (80, Decimal("0.8"))


def test_each_killed_session_counts_once():
    """What an earlier run has counted already is not added again."""
    before = SavedSummary(possibly_billed=PossiblyBilled(80, Decimal("0.8")), killed_counted=1)
    assert possibly_billed(before, killed(80), TOTALS).requests == 80
    found = possibly_billed(before, killed(80, 20), TOTALS)
    assert (found.requests, found.cost) == (100, Decimal("1.0"))


def test_under_a_budget_a_kill_costs_what_was_held():
    """The cap must hold whatever the lost answers cost."""
    found = possibly_billed(SavedSummary(most_held=Decimal(5)), killed(80), TOTALS)
    assert found.cost == 5


def test_without_a_kill_nothing_is_added():
    """What was abandoned before stays."""
    before = SavedSummary(possibly_billed=PossiblyBilled(3, Decimal("0.1")))
    assert possibly_billed(before, [], TOTALS) == possibly_billed(before, killed(0), TOTALS)
    assert possibly_billed(before, [], TOTALS).cost == Decimal("0.1")
