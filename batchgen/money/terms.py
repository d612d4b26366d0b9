"""Discounts and currencies: the share of list prices that a customer pays, and the currency in which they are shown.

The job keys are `pricing.factor`, `pricing.currency` and `pricing.rate`. Prices are multiplied once and rounded to a
millionth per million tokens, so that every cost is exact to the twelve decimal places that are stored.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct, structs

from batchgen.errors import JobError
from batchgen.money.prices import ModelPrice

_ONE = Decimal(1)
_MOST_FACTOR, _MOST_RATE = 100, 1_000_000


class PriceTerms(Struct, frozen=True):
    """`factor` multiplies every price. `rates` maps currencies to the value of one unit in `currency`, as of `date`."""

    factor: Decimal = _ONE
    currency: str | None = None
    rates: Mapping[str, Decimal] = {}
    date: dt.date | None = None

    def __bool__(self) -> bool:
        return self != PriceTerms()

    def applied(self, price: ModelPrice) -> ModelPrice:
        """Return a price under these terms. It stays in its own currency if there is no rate for it."""
        factor, currency, said = self.factor, price.currency, []
        if factor != _ONE:
            said.append(f"times {factor.normalize():f}")
        rate = self.rates.get(price.currency)
        if self.currency is not None and self.currency != price.currency and rate is not None:
            factor, currency = factor * rate, self.currency
            said.append(f"1 {price.currency} = {rate.normalize():f} {currency} on {self.date}")
        if not said:
            return price
        tiers = tuple(tier.times(factor) for tier in price.tiers)
        source = "; ".join([price.price_source, *said])
        return structs.replace(price, tiers=tiers, currency=currency, price_source=source)

    def missing_rate(self, price: ModelPrice) -> str | None:
        """Return a sentence if a price (under these terms) is not in their currency for want of a rate."""
        if self.currency in (None, price.currency):
            return None
        return (
            f"pricing.currency is {self.currency}, and the price of {price.model} is in {price.currency}: set what one "
            f"{price.currency} is, and when, with pricing.rate = {{ {price.currency} = 0.9, date = 2026-01-31 }}."
        )


def price_terms(
    factor: Any = None, currency: str | None = None, rate: Mapping[str, Any] | None = None, *, where: str = "pricing"
) -> PriceTerms:
    """Check the three keys of a job and return them. Raises `JobError` naming the key."""
    checked = _number(factor, f"{where}.factor", _MOST_FACTOR) if factor is not None else _ONE
    if currency is not None and not (len(currency) == 3 and currency.isalpha() and currency.isupper()):
        raise JobError(f"{where}.currency: {currency!r} is not the code of a currency, such as EUR.")
    rates: dict[str, Decimal] = {}
    date: dt.date | None = None
    for name, value in (rate or {}).items():
        if name == "date":
            date = _date(value, f"{where}.rate.date")
        elif len(name) == 3 and name.isalpha() and name.isupper():
            rates[name] = _number(value, f"{where}.rate.{name}", _MOST_RATE)
        else:
            raise JobError(f"{where}.rate.{name}: write the code of a currency, such as USD = 0.9, and its date.")
    if rates and (currency is None or date is None):
        missing = "currency" if currency is None else "rate.date"
        raise JobError(
            f"{where}.{missing} is missing: a rate is of one currency in another on a day, for example "
            'currency = "EUR" and rate = { USD = 0.9, date = 2026-01-31 }.'
        )
    return PriceTerms(checked, currency, rates, date)


def terms_of_settings(settings: Mapping[str, Any]) -> PriceTerms:
    """Return the terms in the settings of a run, by dotted job key as `run.json` keeps them."""
    rate = {key.removeprefix("pricing.rate."): settings[key] for key in settings if key.startswith("pricing.rate.")}
    return price_terms(settings.get("pricing.factor"), settings.get("pricing.currency"), rate)


def _number(value: Any, key: str, most: int) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise JobError(f"{key}: {value!r} is not a number.") from None
    if not number.is_finite() or not 0 < number <= most:
        raise JobError(f"{key}: {value} is not above 0 and at most {most:,}.")
    return number


def _date(value: Any, key: str) -> dt.date:
    if isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError:
        raise JobError(f"{key}: {value!r} is not a day, such as 2026-01-31.") from None
