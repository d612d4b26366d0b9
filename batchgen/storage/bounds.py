"""The largest figures that the columns can hold: checked before a result is stored, so that no reply can end a run.

Replies are read with bounds of their own (`providers`); what passes them all the same is kept as null here, since the
journal, a part or the cost summary would refuse it at every further start.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from batchgen.money.ledger import Charges
from batchgen.values import Result

MOST_TOKENS = 2**40 - 1
"""Tokens of one row. The sums of eight million such rows still fit the 64 bits of the cost summary."""

MOST_MONEY = Decimal(10**7)
"""Input or output cost of one row: both together fit decimal128(20, 12)."""

_NOTHING = Decimal(0)  # a whole number would be made one for each comparison
_MOST_ATTEMPTS = 2**31 - 1
_MOST_STATUS = 2**15 - 1

T = TypeVar("T", Result, Charges)


def bounded(item: T) -> T:
    """Return the result, or the charges, without figures that no column can hold; the same object if there is none."""
    try:
        together = (  # one bit beyond the bound in any of them shows in all of them together
            (item.input_tokens or 0)
            | (item.output_tokens or 0)
            | (item.total_tokens or 0)
            | (item.cached_tokens or 0)
            | (item.reasoning_tokens or 0)
        )
        if (
            0 <= together <= MOST_TOKENS
            and item.attempts <= _MOST_ATTEMPTS
            and (item.input_cost is None or _NOTHING <= item.input_cost <= MOST_MONEY)
            and (item.output_cost is None or _NOTHING <= item.output_cost <= MOST_MONEY)
            and (type(item) is Charges or 0 <= (item.http_status or 0) <= _MOST_STATUS)  # type: ignore[attr-defined]
        ):
            return item
    except (TypeError, ArithmeticError):  # no whole number, or NaN
        pass
    return _replaced(item)


def _replaced(item: T) -> T:
    changes: dict[str, Any] = {"attempts": min(item.attempts, _MOST_ATTEMPTS)}
    for name, value in msgspec.structs.asdict(item).items():
        if name.endswith("_tokens") and (type(value) is not int or not 0 <= value <= MOST_TOKENS):
            changes[name] = None
        elif name.endswith("_cost") and isinstance(value, Decimal):
            changes[name] = value if value.is_finite() and 0 <= value <= MOST_MONEY else None
        elif name == "http_status" and value is not None and not 0 <= value <= _MOST_STATUS:
            changes[name] = None
    return msgspec.structs.replace(item, **changes)
