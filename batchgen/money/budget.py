"""The hard cap on a run's cost: the worst case is reserved before sending and settled with what was really charged."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

_NOTHING = Decimal(0)


class PossiblyBilled(Struct, frozen=True):
    """Requests whose answer never came, though the provider may charge for them, and the most they can cost."""

    requests: int
    cost: Decimal


class Budget:
    """Money spent, reserved and possibly billed, against a cap (None: no cap, everything fits).

    spent + possibly billed + reserved never passes the cap as long as each request costs at most what was reserved for
    it; what earlier runs spent or may have been billed counts from the start. Pure arithmetic in the price's currency;
    every `reserve` that returned True is ended by exactly one `settle` or `abandon` of the same amount. `unreported` is
    the part of `spent` that no reply told: answers without usage, at their worst cases.
    """

    __slots__ = ("_abandoned", "_abandoned_cost", "_cap", "_reserved", "_spent", "unreported")

    def __init__(
        self,
        cap: Decimal | None,
        spent: Decimal = _NOTHING,
        possibly_billed: PossiblyBilled | None = None,
        unreported: Decimal = _NOTHING,
    ) -> None:
        self._cap = cap
        self._spent = spent + unreported
        self.unreported = unreported
        self._reserved = _NOTHING
        self._abandoned = possibly_billed.requests if possibly_billed else 0
        self._abandoned_cost = possibly_billed.cost if possibly_billed else _NOTHING

    def reserve(self, worst: Decimal) -> bool:
        """Take `worst` out of what is left; False, with nothing taken, if the request could pass the cap."""
        if self._cap is not None and self._spent + self._abandoned_cost + self._reserved + worst > self._cap:
            return False
        self._reserved += worst
        return True

    def settle(self, reserved: Decimal, actual: Decimal) -> None:
        """Replace a reservation by what the request really cost: 0 for one that was refused and not billed."""
        self._reserved -= reserved
        self._spent += actual

    def settle_unreported(self, reserved: Decimal, worst: Decimal) -> None:
        """Replace a reservation by the worst case of a request that was charged without a word on its tokens."""
        self.settle(reserved, worst)
        self.unreported += worst

    def abandon(self, reserved: Decimal) -> None:
        """Keep a reservation for good: the request went out, no answer came back, it may have been billed."""
        self._reserved -= reserved
        self._abandoned_cost += reserved
        self._abandoned += 1

    def abandon_unheld(self, worst: Decimal) -> None:
        """Count a request that went out without a reservation (there was no cap then) as possibly billed."""
        self._abandoned_cost += worst
        self._abandoned += 1

    def fits_later(self, worst: Decimal) -> bool:
        """Whether `worst` would fit if all that is in flight cost nothing: wait for it then; if not, stop the run."""
        return self._cap is None or self._spent + self._abandoned_cost + worst <= self._cap

    @property
    def cap(self) -> Decimal | None:
        """The most that may be spent; None if there is no cap."""
        return self._cap

    def change_cap(self, cap: Decimal | None) -> None:
        """Put another cap in force, also below what is counted already: then nothing more fits."""
        self._cap = cap

    @property
    def spent(self) -> Decimal:
        """What settled requests really cost."""
        return self._spent

    @property
    def reserved(self) -> Decimal:
        """Worst cases of what is in flight."""
        return self._reserved

    @property
    def possibly_billed(self) -> PossiblyBilled:
        """Abandoned requests, at their worst cases."""
        return PossiblyBilled(self._abandoned, self._abandoned_cost)

    @property
    def left(self) -> Decimal | None:
        """What can still be reserved; None if there is no cap."""
        return None if self._cap is None else self._cap - self._spent - self._abandoned_cost - self._reserved
