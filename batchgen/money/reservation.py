"""The budget in a concurrent run: the worst case of every request is set aside before it is sent.

A budget checked after the fact is passed by everything in flight. Here a request goes out only when its worst case,
on top of all other worst cases in flight, still fits; the real usage settles it. Arithmetic is `budget.Budget`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
    more goes out until these have settled. `note` takes a sentence for the user.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        price_of: Callable[[str], ModelPrice | None],
        model: str,
        parameters: Mapping[str, Any],
        currency: str,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.budget = budget
        self._note = note
        self._noted = False
        self.worst_case = WorstCase(price_of, model, parameters)
        self._currency = currency
        self._retries: deque[anyio.Event] = deque()
        self._fresh: deque[anyio.Event] = deque()
        self._called = 0  # retries whose turn it is, but who have not run yet
        self._without_permit: dict[anyio.CancelScope, None] = {}
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

    async def hold(self, request: Request, prompt: Prompt, *, retry: bool = False) -> Decimal:
        """Set the worst case aside and return it, waiting for others to settle if it does not fit at once.

        Retries come first, and take back what is held for fresh rows that have no permit yet: in an outage one request
        at a time is let out, and if it were always one of those, the rows that were tried before could wait for ever.
        Raises `BudgetStop` when it cannot fit even after everything in flight has settled.
        """
        worst = self.worst_case(request, prompt)
        if isinstance(worst, Unbounded):
            raise BudgetStop(worst.reason, "With that set, or without a budget, the same command goes on from here.")
        waited = False
        while self._unheld or (not retry and self._retries_first) or not self.budget.reserve(worst):
            if not self.budget.fits_later(worst):
                self._wake()
                raise BudgetStop(self._exhausted(worst, prompt))
            self._say_waiting(worst)
            await self._wait_for_turn(retry=retry)
            waited = True
        if waited:
            self._wake()
        return worst

    def _say_waiting(self, worst: Decimal) -> None:
        """Tell the user once that fewer requests go out at a time than could, and why."""
        if self._noted:
            return
        self._noted = True
        left, unit = self.budget.left or _NOTHING, self._currency
        self._note(
            f"Requests wait for the budget: each is sent only while the most that it can cost ({money(worst, unit)}) "
            f"still fits beside the others that are out, {money(max(left, _NOTHING), unit)} is left now. A lower "
            "max_tokens under model.parameters, or a higher limits.budget, lets more out at a time."
        )

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

    @contextmanager
    def until_permitted(self) -> Iterator[None]:
        """Wait inside for the permit of a fresh row; left early, without it, if a retry needs what is held."""
        with anyio.CancelScope() as scope:
            self._without_permit[scope] = None
            try:
                yield
            finally:
                self._without_permit.pop(scope, None)

    async def _wait_for_turn(self, *, retry: bool) -> None:
        turn = anyio.Event()
        queue = self._retries if retry else self._fresh
        queue.append(turn)
        if retry and self._without_permit:
            self._without_permit.popitem()[0].cancel()
        try:
            await turn.wait()
        except anyio.get_cancelled_exc_class():
            self._called -= retry and turn.is_set()
            if turn.is_set():
                self._wake()
            else:
                queue.remove(turn)
            raise
        self._called -= retry

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
        # Spending counts without a cap too: one may be set while the run goes on.
        elif cost is not None:
            self.budget.settle(held or _NOTHING, cost.input + cost.output)
        elif isinstance(outcome, Completion) or outcome.usage is not None:  # billed, but not told how much
            worst = held if held is not None else self._most(request, prompt)
            self.budget.settle_unreported(held or _NOTHING, worst)
        else:
            self.budget.settle(held or _NOTHING, _NOTHING)
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
        if self._retries:
            self._called += 1
            self._retries.popleft().set()
        elif self._fresh:
            self._fresh.popleft().set()

    @property
    def _retries_first(self) -> bool:
        return bool(self._retries or self._called)
