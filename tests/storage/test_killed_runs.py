"""What a kill may have cost: counted once for each killed session, never forgotten, and never absurd."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from batchgen.money.budget import PossiblyBilled
from batchgen.storage.journal import Session
from batchgen.storage.killed_runs import UNKNOWN_IN_FLIGHT, Experience, possibly_billed, unclean_since
from batchgen.storage.run_state import SavedSummary

CENT = Decimal("0.01")
KNOWN = Experience(pending=500, rows=1_000, dearest=CENT, worst=Decimal(1))


def killed(*at_risk):
    """Return sessions numbered from 1 that were killed."""
    return [Session(number, 0, False, risk) for number, risk in enumerate(at_risk, 1)]


def test_a_kill_adds_what_was_in_flight_at_the_dearest_row():
    """With a margin of one in a hundred after a thousand rows; not what a request could cost at the worst."""
    found = possibly_billed(SavedSummary(most_out=40), killed(100), KNOWN)
    assert (found.requests, found.cost) == (80, 80 * CENT * Decimal("1.01"))


def test_few_rows_say_little():
    """One row gives a wide margin, but no request counts more than its worst case; none gives the worst case."""
    one = Experience(pending=500, rows=1, dearest=CENT, worst=Decimal("0.05"))
    assert possibly_billed(SavedSummary(most_out=1), killed(1), one).cost == Decimal("0.06")
    none = Experience(pending=500, rows=0, dearest=Decimal(0), worst=Decimal("0.05"))
    assert possibly_billed(SavedSummary(most_out=1), killed(1), none).cost == Decimal("0.05")
    unpriced = Experience(pending=500, rows=0, dearest=Decimal(0), worst=None)
    assert possibly_billed(SavedSummary(most_out=1), killed(1), unpriced) == PossiblyBilled(1, Decimal(0))


def test_no_more_requests_than_can_have_been_out():
    """Nor than rows without a result; where nothing was seen in flight, the first workers bound it."""
    assert possibly_billed(SavedSummary(most_out=1_000), killed(20), KNOWN).requests == 20
    assert possibly_billed(SavedSummary(), killed(10_000), KNOWN).requests == UNKNOWN_IN_FLIGHT
    nearly_done = Experience(pending=3, rows=1_000, dearest=CENT, worst=None)
    assert possibly_billed(SavedSummary(most_out=1_000), killed(2_000), nearly_done).requests == 3


def test_a_kill_costs_no_more_than_the_budget_let_out():
    """The cap held when it was killed."""
    tight = Experience(pending=500, rows=1_000, dearest=CENT, worst=None, left=Decimal("0.05"))
    assert possibly_billed(SavedSummary(most_out=100), killed(100), tight).cost == Decimal("0.05")


def test_each_killed_session_counts_once():
    """What an earlier run has counted already is not added again."""
    before = SavedSummary(possibly_billed=PossiblyBilled(80, Decimal("0.8")), killed_counted=1, most_out=20)
    assert unclean_since(before, killed(80)) == []
    fresh = unclean_since(before, killed(80, 20))
    assert [session.number for session in fresh] == [2]
    assert possibly_billed(before, fresh, KNOWN).requests == 100


def test_without_a_kill_nothing_is_added():
    """What was abandoned before stays."""
    before = SavedSummary(possibly_billed=PossiblyBilled(3, Decimal("0.1")))
    assert possibly_billed(before, [], KNOWN) == possibly_billed(before, killed(0), KNOWN) == before.possibly_billed


@given(
    at_risk=st.lists(st.integers(0, 5_000), max_size=3),
    most_out=st.integers(0, 5_000),
    pending=st.integers(0, 5_000),
    rows=st.integers(0, 5_000),
    left=st.none() | st.decimals(0, 10, places=4),
)
def test_every_count_has_its_bounds(at_risk, most_out, pending, rows, left):
    """However often it was killed, at whatever point."""
    known = Experience(pending, rows, CENT if rows else Decimal(0), Decimal("0.05"), left)
    found = possibly_billed(SavedSummary(most_out=most_out), killed(*at_risk), known)
    assert 0 <= found.requests <= min(sum(at_risk), len(at_risk) * pending)
    assert 0 <= found.cost <= found.requests * Decimal("0.06")
    assert left is None or found.cost <= left
