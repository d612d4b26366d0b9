"""The budget of a concurrent run: the worst case of every request is reserved before it is sent.

If costs were checked only when they are known, all requests in flight could exceed the budget. Here a request is sent
only if its worst case fits beside the worst cases of all requests in flight; its real usage then replaces the
reservation. `budget.Budget` has the arithmetic.
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
from batchgen.text.figures import money, quantity
from batchgen.values import Completion, Cost, Outcome, Prompt, Request

_NOTHING = Decimal(0)


class Reservations:
    """Reserves the worst case of requests, and counts those without an answer as possibly billed.

    With a cap, `BudgetStop` is raised once a request would not fit even if all requests in flight cost nothing. Without
    one nothing is reserved, but requests without an answer are still counted. If a cap is set while such requests are
    in flight, nothing more is sent until they have finished. `note` takes a sentence for the user.
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
        self._called = 0  # retries that have been woken and have not run yet
        self._without_permit: dict[anyio.CancelScope, None] = {}
        self._unheld = 0  # in flight without a reservation

    def pass_unheld(self) -> None:
        """Count a request that is sent without a reservation, as there is no cap."""
        self._unheld += 1

    def try_hold(self, request: Request, prompt: Prompt) -> Decimal | None:
        """Reserve the worst case of a request and return it; None if it does not fit now or is not known."""
        worst = self.worst_case(request, prompt)
        if isinstance(worst, Unbounded) or self._unheld or not self.budget.reserve(worst):
            return None
        return worst

    async def hold(self, request: Request, prompt: Prompt, *, retry: bool = False) -> Decimal:
        """Reserve the worst case of a request and return it, after waiting for others to finish if it does not fit now.

        Retries come first, and take back reservations of new rows that have no permit yet: in an outage only one
        request at a time is sent, and if that were always one of a new row, the retried rows could wait for ever.
        Raises `BudgetStop` if the request would not fit even after all requests in flight have finished.
        """
        worst = self.worst_case(request, prompt)
        if isinstance(worst, Unbounded):
            raise BudgetStop(worst.reason, "With that set, or without a budget, the same command goes on from here.")
        waited = False
        while self._unheld or (not retry and self._retries_first) or not self.budget.reserve(worst):
            if not self.budget.fits_later(worst):
                self._wake()
                raise BudgetStop(self.exhausted(worst, prompt))
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

    def exhausted(self, worst: Decimal, prompt: Prompt) -> str:
        """Return why the run stops when a request of this worst case does not fit."""
        budget, unit = self.budget, self._currency
        lost = budget.possibly_billed
        counted = f"{money(budget.spent, unit)} is spent"
        if lost.cost:
            requests = quantity(lost.requests, "request")
            counted += f", up to {money(lost.cost, unit)} may be charged for {requests} without an answer"
        told = f"The budget of {money(budget.cap or _NOTHING, unit)} could be passed: {counted}, and the next request "
        told += f"could cost {money(worst, unit)}."
        alone = budget.cap is not None and worst > budget.cap
        return f"{told} {self.worst_case.advice(prompt)}" if alone else told

    @contextmanager
    def until_permitted(self) -> Iterator[None]:
        """Within this block a new row waits for its permit. The block ends early, without one, if a retry needs the
        reservation."""
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
        """Replace the reservation by what was billed: `cost`, if usage and price are known.

        `outcome` None means that the request was cancelled while in flight.
        """
        if outcome is None or (not isinstance(outcome, Completion) and outcome.maybe_billed and outcome.usage is None):
            if held is None:
                self.budget.abandon_unheld(self._most(request, prompt))
            else:
                self.budget.abandon(held)
        # Costs are counted without a cap too: one may be set while the run goes on.
        elif cost is not None:
            actual = cost.input + cost.output
            if held is None:
                self.budget.spend(actual)
            else:
                self.budget.settle(held, actual)
        # billed, but the reply does not say how much
        elif isinstance(outcome, Completion) or outcome.usage is not None:
            worst = held if held is not None else self._most(request, prompt)
            self.budget.settle_unreported(held or _NOTHING, worst)
        else:
            self.budget.settle(held or _NOTHING, _NOTHING)
        if held is None:
            self._unheld -= 1
        if not self._unheld and (self._retries or self._fresh):
            self._wake()

    def _most(self, request: Request, prompt: Prompt) -> Decimal:
        """Return the worst case of a request that was sent without a cap; 0 where nothing bounds it."""
        worst = self.worst_case(request, prompt)
        return _NOTHING if isinstance(worst, Unbounded) else worst

    def release(self, held: Decimal) -> None:
        """Cancel the reservation of a request that was never sent."""
        self.budget.settle(held, _NOTHING)
        self._wake()

    def _wake(self) -> None:
        """Wake the first that waits; once it has its reservation or gives up, it wakes the next one.

        Near the end of a budget thousands may wait: waking all of them at every answer would be slow.
        """
        if self._retries:
            self._called += 1
            self._retries.popleft().set()
        elif self._fresh:
            self._fresh.popleft().set()

    @property
    def waiting(self) -> int:
        """Requests that wait until others have settled, so that the budget has room for them."""
        return len(self._retries) + len(self._fresh)

    @property
    def _retries_first(self) -> bool:
        return bool(self._retries or self._called)
