"""Sums of results by group: rows, tokens and money. The sums are exact, and two of them can be merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

import msgspec
from msgspec import Struct

from batchgen.values import FailureKind, Result, Status, Turn

MONEY = Decimal("1e-12")
"""The smallest amount that is stored: the scale of the `cost` columns, decimal128(20, 12)."""


class Charges(Struct, frozen=True, gc=False, array_like=True):
    """What a row without a result has cost in all runs so far: requests sent, tokens and money billed.

    `turns` are the answers that it has got, in order; `batch` is the last batch of the vendor's queue whose line is in
    here. Fields may be appended, but never reordered: they are stored.
    """

    row: int
    attempts: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_cost: Decimal | None = None
    output_cost: Decimal | None = None
    turns: tuple[Turn, ...] = ()
    reported_cost: Decimal | None = None
    batch: int = 0


def with_charges(result: Result, spent: Charges) -> Result:
    """Return a result with what its row had cost before added to its tokens, attempts and costs."""
    sums = Totals()
    sums.add(spent)
    sums.add(result)
    return msgspec.structs.replace(
        result,
        attempts=sums.attempts,
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        total_tokens=sums.total_tokens,
        cached_tokens=sums.cached_tokens,
        reasoning_tokens=sums.reasoning_tokens,
        input_cost=sums.input_cost,
        output_cost=sums.output_cost,
        reported_cost=sums.reported_cost,
    )


def charges_on(row: int, *parts: Result | Charges) -> Charges:
    """Return what all of `parts` have cost together, with their turns, as the charges of a row that has no result."""
    sums = Totals()
    for part in parts:
        sums.add(part)
    return Charges(
        row,
        sums.attempts,
        sums.input_tokens,
        sums.output_tokens,
        sums.total_tokens,
        sums.cached_tokens,
        sums.reasoning_tokens,
        sums.input_cost,
        sums.output_cost,
        tuple(turn for part in parts if isinstance(part, Charges) for turn in part.turns),
        sums.reported_cost,
        max((part.batch for part in parts if isinstance(part, Charges)), default=0),
    )


class Group(NamedTuple):
    """What rows are grouped by: each group is a row of the cost summary."""

    model: str | None
    status: Status
    finish_reason: str | None
    error_kind: FailureKind | None
    endpoint: str | None = None


class Totals(Struct):
    """Sums over rows. A sum of tokens or money is None while no row has reported any, as SQL's `sum` has it.

    `shared` rows share the answer to the same request of another row; `reused` ones have the answer of an earlier run.
    """

    rows: int = 0
    attempts: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_cost: Decimal | None = None
    output_cost: Decimal | None = None
    shared: int = 0
    reported_cost: Decimal | None = None
    reused: int = 0

    @property
    def cost(self) -> Decimal | None:
        """The cost of input and output together."""
        if self.input_cost is None or self.output_cost is None:
            return None
        return self.input_cost + self.output_cost

    def add(self, other: Result | Charges | Totals) -> None:
        """Add the figures of a row, or of other totals; `rows` is left to the caller."""
        self.attempts += other.attempts
        if other.input_tokens is not None:
            self.input_tokens = (self.input_tokens or 0) + other.input_tokens
        if other.output_tokens is not None:
            self.output_tokens = (self.output_tokens or 0) + other.output_tokens
        if other.total_tokens is not None:
            self.total_tokens = (self.total_tokens or 0) + other.total_tokens
        if other.cached_tokens is not None:
            self.cached_tokens = (self.cached_tokens or 0) + other.cached_tokens
        if other.reasoning_tokens is not None:
            self.reasoning_tokens = (self.reasoning_tokens or 0) + other.reasoning_tokens
        if other.reported_cost is not None:
            self.reported_cost = (self.reported_cost or 0) + other.reported_cost
        if other.input_cost is not None and other.output_cost is not None:
            self.input_cost = other.input_cost if self.input_cost is None else self.input_cost + other.input_cost
            self.output_cost = other.output_cost if self.output_cost is None else self.output_cost + other.output_cost


class Sums:
    """The totals of each group."""

    def __init__(self) -> None:
        self.groups: dict[Group, Totals] = {}

    def add(self, result: Result) -> None:
        """Add the result of one row."""
        totals = self._totals((result.model, result.status, result.finish_reason, result.error_kind, result.endpoint))
        totals.rows += 1
        if result.reused:
            totals.reused += 1
        elif not result.attempts and result.error_kind is not FailureKind.PROMPT:
            totals.shared += 1
        totals.add(result)

    def add_all(self, results: Iterable[Result]) -> None:
        """Add the results of many rows."""
        for result in results:
            self.add(result)

    def merge(self, other: Sums) -> None:
        """Add the groups of other sums to these."""
        for group, totals in other.groups.items():
            self.merge_group(group, totals)

    def merge_group(self, group: Group, totals: Totals) -> None:
        """Add the totals of one group."""
        mine = self._totals(group)
        mine.rows += totals.rows
        mine.shared += totals.shared
        mine.reused += totals.reused
        mine.add(totals)

    def rows(self, status: Status) -> int:
        """Return the number of rows that have this status."""
        return sum(totals.rows for group, totals in self.groups.items() if group.status == status)

    def totals(self) -> Totals:
        """Return the sums over all groups."""
        everything = Totals()
        for totals in self.groups.values():
            everything.rows += totals.rows
            everything.shared += totals.shared
            everything.reused += totals.reused
            everything.add(totals)
        return everything

    def __iter__(self) -> Iterator[tuple[Group, Totals]]:
        return iter(self.groups.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and self.groups == other.groups

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> bytes:
        """Return the groups as JSON; money as decimal strings."""
        return msgspec.json.encode(list(self.groups.items()))

    @classmethod
    def from_json(cls, text: bytes | str) -> Sums:
        """Return what `to_json` wrote. Raises `msgspec.MsgspecError` for anything else."""
        sums = cls()
        sums.groups = dict(msgspec.json.decode(text, type=list[tuple[Group, Totals]]))
        return sums

    def _totals(self, group: tuple[str | None, Status, str | None, FailureKind | None, str | None]) -> Totals:
        """Return a group's totals. The key may be a plain tuple, which takes a tenth of the time to make that a `Group`
        takes."""
        totals: Totals | None = self.groups.get(group)  # type: ignore[call-overload]
        if totals is None:
            totals = self.groups[Group(*group)] = Totals()
        return totals
