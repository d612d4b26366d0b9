"""The prices of one job's models, all in one currency."""

from __future__ import annotations

from batchgen.money.prices import ModelPrice, PriceTable

BATCH = "batch"
_NAMES_KEPT = 1_000


class JobPrices:
    """The prices of a job's models in one region, cached by name: `prices(NAME)` is None where a model has none.

    They are those of the job's `lane`.

    All are in one currency, that of the job's own `model` or else of the first one found: money is never added across
    currencies, so a price in another one counts as unknown.
    """

    def __init__(self, table: PriceTable, region: str, model: str, lane: str = "live") -> None:
        self._table = table
        self.region = region
        self._lane = lane
        self._found: dict[str, ModelPrice | None] = {}
        self.currency: str | None = None
        if model:
            self(model)

    def keep_currency(self, currency: str | None) -> None:
        """Use the currency of an earlier run, unless a price has decided it already (rows may name their models)."""
        self.currency = self.currency or currency

    def suggestion(self, name: str) -> str:
        """Return a sentence for a model without a price."""
        return self._table.suggestion(name, self.region)

    def in_lane(self, name: str, lane: str) -> ModelPrice | None:
        """Return the price of the model of this name in another lane; None if it has none in the job's currency."""
        price = self._table.find(name, self.region)
        price = None if price is None else price.in_lane(lane)
        return None if price is not None and self.currency not in (None, price.currency) else price

    def reserved(self, name: str) -> ModelPrice | None:
        """Return the price that a request is reserved at in the job's lane.

        Replies are priced by the class of service that they name (`billed_in`); before there is one, the lane tells.
        """
        return (self.in_lane(name, BATCH) if self._lane == BATCH else None) or self(name)

    def __call__(self, name: str) -> ModelPrice | None:
        """Return the price of the model of this name."""
        try:
            return self._found[name]
        except KeyError:
            if len(self._found) >= _NAMES_KEPT:  # replies may name any model
                return None
            price = self._table.find(name, self.region)
            price = None if price is None else price.billed_in(self._lane)
            if price is not None:
                self.currency = self.currency or price.currency
                if price.currency != self.currency:
                    price = None
            self._found[name] = price
        return self._found[name]
