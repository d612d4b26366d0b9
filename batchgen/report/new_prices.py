"""Published rows priced anew: `batchgen report DIR --prices FILE`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchgen.money.prices import JobPrices, ModelPrice, load_prices
from batchgen.providers import VENDORS
from batchgen.providers.vendors import region_of
from batchgen.values import Usage

_PLACES = Decimal("1e-12")


class NewPrices:
    """Prices rows by the model that was asked, in the region of the run; where rows named theirs, by what answered.

    `settings` are those of `run.json`. A row is priced by the sums of its tokens, all its attempts together. Prices in
    another currency than the first one found count as unknown.
    """

    def __init__(self, prices: Path, settings: Mapping[str, Any]) -> None:
        provider = VENDORS.get(str(settings.get("model.provider")))
        base_url = settings.get("model.base_url") or (provider.base_url if provider is not None else "")
        region = settings.get("pricing.region") or region_of(str(base_url))
        self._asked = str(settings.get("model.name") or "")
        self._find = JobPrices(load_prices(prices), region, self._asked)
        self._used: dict[str, ModelPrice] = {}

    @property
    def currency(self) -> str | None:
        """The currency of the new costs."""
        return self._find.currency

    @property
    def dates(self) -> list[str]:
        """The days of the prices that were used."""
        return sorted({str(price.price_date) for price in self._used.values()})

    @property
    def sources(self) -> list[str]:
        """Where the prices that were used are from."""
        return sorted({price.price_source for price in self._used.values()})

    def priced(self, batch: pa.Table) -> pa.Table:
        """Return the rows with their new costs; null where the model has no price or no tokens were reported."""
        tokens = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
        used = (Usage(*row) for row in zip(*(batch[name].to_pylist() for name in tokens), strict=True))
        rows = zip(batch["model"].to_pylist(), batch["status"].to_pylist(), used, strict=True)
        costs = [self._cost(*row) for row in rows]
        place = batch.schema.get_field_index("cost")
        return batch.set_column(place, batch.schema.field(place), pa.array(costs, batch.schema.field(place).type))

    def _cost(self, answered: str | None, status: str, usage: Usage) -> Decimal | None:
        name = self._asked or answered or ""
        price = self._find(name)
        if price is None:
            return None
        self._used[name] = price
        if usage.input_tokens is None and status == "failed":
            return Decimal(0)
        cost = price.cost(usage)
        return None if cost is None else (cost.input + cost.output).quantize(_PLACES)
