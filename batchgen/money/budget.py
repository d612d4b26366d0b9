"""The cap on a run's cost: the most a request can cost is reserved before it is sent, then replaced by its real
cost."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

_NOTHING = Decimal(0)


class PossiblyBilled(Struct, frozen=True):
    """Requests that got no answer although the provider may charge for them, and the most that they can cost."""

    requests: int
    cost: Decimal


class Budget:
    """The money spent, reserved and possibly billed, and the cap on their sum (None: there is no cap).

    The sum never passes the cap, provided that each request costs at most what was reserved for it. It includes what
    earlier runs spent or were possibly billed. All amounts are in the price's currency. Every `reserve` that returned
    True is followed by exactly one `settle` or `abandon` of the same amount. `unreported` is the part of `spent` for
    answers that came without usage: they count with their worst case.
    """

    __slots__ = ("_abandoned", "_abandoned_cost", "_reserved", "_spent", "cap", "unreported")

    def __init__(
        self,
        cap: Decimal | None,
        spent: Decimal = _NOTHING,
        possibly_billed: PossiblyBilled | None = None,
        unreported: Decimal = _NOTHING,
    ) -> None:
        self.cap = cap
        self._spent = spent + unreported
        self.unreported = unreported
        self._reserved = _NOTHING
        self._abandoned = possibly_billed.requests if possibly_billed else 0
        self._abandoned_cost = possibly_billed.cost if possibly_billed else _NOTHING

    def reserve(self, worst: Decimal) -> bool:
        """Reserve `worst`, the most that a request can cost; return False, with nothing reserved, if that passes the
        cap."""
        if self.cap is not None and self._spent + self._abandoned_cost + self._reserved + worst > self.cap:
            return False
        self._reserved += worst
        return True

    def hold(self, worst: Decimal) -> None:
        """Reserve what an earlier run has reserved for requests that are still out, whatever the cap is now."""
        self._reserved += worst

    def settle(self, reserved: Decimal, actual: Decimal) -> None:
        """Replace a reservation by what the request really cost: 0 if it was refused and not billed."""
        self._reserved -= reserved
        self._spent += actual

    def spend(self, actual: Decimal) -> None:
        """Count what a request has cost that was sent without a reservation."""
        self._spent += actual

    def settle_unreported(self, reserved: Decimal, worst: Decimal) -> None:
        """Replace a reservation by the worst case of a request that was charged and whose tokens were not reported."""
        self.settle(reserved, worst)
        self.unreported += worst

    def abandon(self, reserved: Decimal, requests: int = 1) -> None:
        """Keep a reservation as possibly billed: what it is for was sent and got no answer."""
        self._reserved -= reserved
        self._abandoned_cost += reserved
        self._abandoned += requests

    def abandon_unheld(self, worst: Decimal) -> None:
        """Count a request that was sent without a reservation, when there was no cap, as possibly billed."""
        self._abandoned_cost += worst
        self._abandoned += 1

    def fits_later(self, worst: Decimal) -> bool:
        """Whether `worst` would fit if all requests in flight cost nothing. If not, the run has to stop."""
        return self.cap is None or self._spent + self._abandoned_cost + worst <= self.cap

    def change_cap(self, cap: Decimal | None) -> None:
        """Set another cap. It may be below the present sum, in which case nothing more fits."""
        self.cap = cap

    @property
    def spent(self) -> Decimal:
        """What finished requests really cost."""
        return self._spent

    @property
    def reserved(self) -> Decimal:
        """The worst cases of the requests in flight."""
        return self._reserved

    @property
    def possibly_billed(self) -> PossiblyBilled:
        """The worst cases of the requests that got no answer."""
        return PossiblyBilled(self._abandoned, self._abandoned_cost)

    @property
    def left(self) -> Decimal | None:
        """What can still be reserved; None if there is no cap."""
        return None if self.cap is None else self.cap - self._spent - self._abandoned_cost - self._reserved
