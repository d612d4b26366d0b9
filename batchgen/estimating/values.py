"""The result of `estimate`, and its form as JSON (README, "Estimate")."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from batchgen.text.storable import json_bytes

T = TypeVar("T", int, float, Decimal)


class Span(Struct, Generic[T], frozen=True):
    """Low, expected, high. None: nothing bounds it, or nothing tells what to expect."""

    low: T | None
    expected: T | None
    high: T | None


class Paid(Struct, frozen=True):
    """The number of rows that have finished already, and what they have cost."""

    rows: int
    cost: Decimal | None


class Offer(Struct, frozen=True, kw_only=True):
    """What the same rows would cost with another model or region; `batch_cost` in half-price file batches.

    These are None for a model without a price. `rows_too_long` are too long for the model and are in no other figure.
    """

    model: str
    region: str | None
    input_tokens: int
    input_method: Literal["exact", "rule"]
    cost: Span[Decimal] | None = None
    batch_cost: Span[Decimal] | None = None
    currency: str | None = None
    price_date: dt.date | None = None
    rows_too_long: int = 0
    note: str | None = None


class LaneCost(Struct, frozen=True, kw_only=True):
    """What the rows cost in one lane; `note` says what else tells it from the others. `cheapest`: of all of them.

    Where a deadline is given, `in_time` says whether all rows are answered by then, None where that is not known, and
    `cheapest_in_time` names the cheapest of those that are.
    """

    lane: str
    cost: Span[Decimal] | None
    cheapest: bool = False
    in_time: bool | None = None
    cheapest_in_time: bool = False
    note: str | None = None


class EndpointCost(Struct, frozen=True, kw_only=True):
    """What all rows would cost at one of several endpoints, where `model` is the name asked for."""

    endpoint: str
    model: str
    cost: Span[Decimal] | None
    price: str | None = None


class Estimate(Struct, frozen=True, kw_only=True):
    """Tokens, cost and duration of a job before it is paid. Money in `currency`, times in seconds.

    `rows` is the size of the input. `unaskable` rows cannot be rendered, `rows_too_long` do not fit the model; both
    will fail without a charge and are in no other figure. `output_method` "max_tokens": nothing is known about the
    answers; `low` is the input alone, `high` the longest answers allowed, `expected` and `confidence` are None. Else
    the figures come from `sampled` rows, and `confidence` is that of each interval. `input_rule` names the vocabulary
    or rule; the true count lies between `input_tokens` × `input_band`. `paid` is what is settled already, a part of
    `cost`. `reused` rows take an earlier answer, which saves about `saved`; they are in no other figure.
    `asked_live` rows are too long for a batch: in that lane they are asked live, for `asked_live_cost`, which is in the
    figures. `lanes` are those that the model has where the job asks it, if there is more than one. `endpoints` are
    those of a job with several: `cost` goes from the cheapest to the dearest, or follows the rows that have been
    answered.
    """

    rows: int
    model: str
    input_tokens: int
    input_method: Literal["exact", "rule"]
    output_tokens: Span[int]
    output_method: Literal["pilot", "earlier run", "max_tokens"]
    confidence: float | None
    cost: Span[Decimal] | None
    currency: str | None
    price_date: dt.date | None = None
    duration_s: Span[float] | None
    rows_too_long: int = 0
    too_long_ids: list[str] = []
    unaskable: int = 0
    unaskable_examples: dict[int, str] = {}
    job: str = ""
    input: str = ""
    input_rule: str = ""
    input_band: tuple[float, float] = (1.0, 1.0)
    sampled: int = 0
    paid: Paid | None = None
    reused: int = 0
    saved: Decimal | None = None
    asked_live: int = 0
    asked_live_cost: Span[Decimal] | None = None
    batch_cost: Span[Decimal] | None = None
    lanes: list[LaneCost] = []
    endpoints: list[EndpointCost] = []
    price: str | None = None
    compare: list[Offer] = []
    notes: list[str] = []

    def to_json(self) -> bytes:
        """Return the object of `estimate --json`; money as decimal strings."""
        return json_bytes(self)


def read_estimate(kept: Mapping[str, Any] | None) -> Estimate | None:
    """Return the estimate in the object of `estimate --json`, as `run.json` keeps it; None if it cannot be read."""
    if kept is None:
        return None
    try:
        return msgspec.convert(kept, Estimate, strict=False)
    except msgspec.ValidationError:
        return None  # written by another version: the report leaves the comparison out
