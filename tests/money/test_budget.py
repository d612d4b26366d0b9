"""The budget: no order of reserving, settling and abandoning passes the cap."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from batchgen.money.budget import Budget, PossiblyBilled

AMOUNTS = st.decimals(0, 10, places=9)


class Spending(RuleBasedStateMachine):
    """Requests reserve, settle and are abandoned in any order, checked against plain lists of amounts."""

    reservations = Bundle("reservations")

    @initialize(cap=st.decimals(0, 40, places=4), earlier=st.decimals(0, 1, places=9))
    def start(self, cap, earlier):
        """Begin, perhaps after an earlier run that already used some of the cap."""
        earlier = min(earlier, cap)
        self.budget = Budget(cap, earlier, PossiblyBilled(0, Decimal(0)))
        self.cap = cap
        self.settled = [earlier]
        self.abandoned = []
        self.open = []

    @rule(target=reservations, worst=AMOUNTS)
    def reserve(self, worst):
        """A reservation is granted exactly if everything together still fits."""
        fits = sum(self.settled) + sum(self.abandoned) + sum(self.open) + worst <= self.cap
        assert self.budget.fits_later(worst) >= fits
        assert self.budget.reserve(worst) == fits
        if not fits:
            return None
        self.open.append(worst)
        return worst

    @rule(reserved=consumes(reservations), share=st.fractions(0, 1))
    def settle(self, reserved, share):
        """A request costs at most its worst case."""
        if reserved is None:
            return
        actual = (reserved * Decimal(share.numerator) / share.denominator).quantize(Decimal("1e-9"), "ROUND_DOWN")
        self.budget.settle(reserved, actual)
        self.open.remove(reserved)
        self.settled.append(actual)

    @rule(reserved=consumes(reservations))
    def abandon(self, reserved):
        """A request whose answer never came stays counted at its worst case."""
        if reserved is None:
            return
        self.budget.abandon(reserved)
        self.open.remove(reserved)
        self.abandoned.append(reserved)

    @invariant()
    def the_books_agree(self):
        """Spent, possibly billed and reserved are right, and together within the cap."""
        if not hasattr(self, "cap"):
            return
        billed = self.budget.possibly_billed
        assert self.budget.spent == sum(self.settled)
        assert self.budget.reserved == sum(self.open)
        assert billed == PossiblyBilled(len(self.abandoned), sum(self.abandoned, Decimal(0)))
        assert self.budget.spent + billed.cost + self.budget.reserved <= self.cap
        assert self.budget.left == self.cap - self.budget.spent - billed.cost - self.budget.reserved


TestSpending = Spending.TestCase
TestSpending.settings = settings(deadline=None)


def test_waiting_and_stopping_are_told_apart():
    """What does not fit beside requests in flight may fit after them; what cannot fit at all stops the run."""
    budget = Budget(Decimal(10))
    assert budget.reserve(Decimal(8))
    assert not budget.reserve(Decimal(3))
    assert budget.fits_later(Decimal(3))
    budget.settle(Decimal(8), Decimal("7.5"))
    assert not budget.reserve(Decimal(3))
    assert not budget.fits_later(Decimal(3))
    assert budget.reserve(Decimal("2.5"))
    assert budget.left == 0


@settings(deadline=None)
@given(st.lists(AMOUNTS))
def test_without_a_cap_all_fits(amounts):
    """No cap refuses nothing and still keeps the books."""
    budget = Budget(None)
    for amount in amounts:
        assert budget.reserve(amount)
        assert budget.fits_later(amount)
        budget.settle(amount, amount)
    assert budget.spent == sum(amounts)
    assert budget.left is None


def test_earlier_runs_count():
    """What earlier runs spent or may have been billed is gone from the start."""
    budget = Budget(Decimal(10), Decimal(4), PossiblyBilled(2, Decimal(5)))
    assert budget.left == 1
    assert not budget.reserve(Decimal("1.01"))
    assert budget.possibly_billed == PossiblyBilled(2, Decimal(5))
