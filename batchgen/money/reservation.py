"""The budget in a concurrent run: the worst case of every request is set aside before it is sent.

A budget checked after the fact is passed by everything in flight. Here a request goes out only when its worst case,
on top of all other worst cases in flight, still fits; the real usage settles it. Arithmetic is `budget.Budget`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import anyio

from batchgen.errors import BudgetStop
from batchgen.money.budget import Budget
from batchgen.money.prices import ModelPrice
from batchgen.money.worst_case import Unbounded, WorstCase
from batchgen.text.figures import money
from batchgen.values import Completion, Cost, Failure, Outcome, Prompt, Request

_NOTHING = Decimal(0)


class Reservations:
    """Holds back worst cases; counts what was abandoned and may be billed.

    A `budget` with a cap refuses (`BudgetStop`) once nothing in flight could make room any more. Without a cap
    nothing is held, but abandoned requests are still counted; where a cap is set while some are in flight, nothing
    more goes out until these have settled.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        price_of: Callable[[str], ModelPrice | None],
        model: str,
        parameters: Mapping[str, Any],
        currency: str,
    ) -> None:
        self.budget = budget
        self.worst_case = WorstCase(price_of, model, parameters)
        self._currency = currency
        self._waiting: deque[anyio.Event] = deque()
        self._unheld = 0  # in flight without a reservation

    @property
    def capped(self) -> bool:
        """Whether requests have to ask first."""
        return self.budget.cap is not None

    def pass_unheld(self) -> None:
        """Count a request that goes out without a reservation, as there is no cap."""
        self._unheld += 1

    def try_hold(self, request: Request, prompt: Prompt) -> Decimal | None:
        """Set the worst case aside and return it, None if it does not fit at once or is not known."""
        worst = self.worst_case(request, prompt)
        if isinstance(worst, Unbounded) or self._unheld or not self.budget.reserve(worst):
            return None
        return worst

    async def hold(self, request: Request, prompt: Prompt) -> Decimal:
        """Set the worst case aside and return it, waiting for others to settle if it does not fit at once.

        Raises `BudgetStop` when it cannot fit even after everything in flight has settled.
        """
        worst = self.worst_case(request, prompt)
        if isinstance(worst, Unbounded):
            raise BudgetStop(worst.reason)
        waited = False
        while self._unheld or not self.budget.reserve(worst):
            if not self.budget.fits_later(worst):
                self._wake()
                raise BudgetStop(self._exhausted(worst, prompt))
            await self._wait_for_turn()
            waited = True
        if waited:
            self._wake()
        return worst

    def _exhausted(self, worst: Decimal, prompt: Prompt) -> str:
        budget, unit = self.budget, self._currency
        lost = budget.possibly_billed
        counted = f"{money(budget.spent, unit)} is spent"
        if lost.cost:
            counted += (
                f", up to {money(lost.cost, unit)} may be charged for {lost.requests:,} requests without an answer"
            )
        told = f"The budget of {money(budget.cap or _NOTHING, unit)} could be passed: {counted}, and the next request "
        told += f"could cost {money(worst, unit)}."
        alone = budget.cap is not None and worst > budget.cap
        return f"{told} {self.worst_case.advice(prompt)}" if alone else told

    async def _wait_for_turn(self) -> None:
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except anyio.get_cancelled_exc_class():
            if turn.is_set():
                self._wake()
            else:
                self._waiting.remove(turn)
            raise

    def settle(
        self, held: Decimal | None, request: Request, prompt: Prompt, outcome: Outcome | None, cost: Cost | None
    ) -> None:
        """Replace what was held by what was billed: `cost`, as far as usage and price tell.

        `outcome` None means cancelled on the way.
        """
        if outcome is None or (isinstance(outcome, Failure) and outcome.maybe_billed and outcome.usage is None):
            if held is None:
                self.budget.abandon_unheld(self._most(request, prompt))
            else:
                self.budget.abandon(held)
        else:
            # Spending counts without a cap too: one may be set while the run goes on.
            if cost is not None:
                billed = cost.input + cost.output
            elif isinstance(outcome, Completion):  # without usage, and billed all the same: at its worst case
                billed = held if held is not None else self._most(request, prompt)
            else:
                billed = _NOTHING
            self.budget.settle(held or _NOTHING, billed)
        if held is None:
            self._unheld -= 1
        if not self._unheld:
            self._wake()

    def _most(self, request: Request, prompt: Prompt) -> Decimal:
        """Return the worst case of a request that went out without a cap; nothing where none can be given."""
        worst = self.worst_case(request, prompt)
        return _NOTHING if isinstance(worst, Unbounded) else worst

    def release(self, held: Decimal) -> None:
        """Give back what was held for a request that never went out."""
        self.budget.settle(held, _NOTHING)
        self._wake()

    def _wake(self) -> None:
        """Let the first that waits look again; who gets in or gives up lets the next one look.

        All at once would be thousands that look in vain at every answer, near the end of a budget.
        """
        if self._waiting:
            self._waiting.popleft().set()
