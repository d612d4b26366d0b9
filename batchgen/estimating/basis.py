"""What the figures of an estimate rest on: the counted rows, their prices, and what is known about answers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from batchgen.estimating.compare import money, offered_cost
from batchgen.estimating.cost import (
    Answers,
    Bill,
    Sampled,
    bounded_answers,
    calibration_of,
    exact_cost,
    fit_answers,
    fits,
    predicted_cost,
    sampled_bill,
)
from batchgen.estimating.count import Asked, Census, CountedRow
from batchgen.estimating.intervals import Interval
from batchgen.estimating.observed import Observations, Observed
from batchgen.estimating.values import Span
from batchgen.job.parts import JobParts
from batchgen.money.prices import ModelPrice
from batchgen.tokens.parameters import effective_parameters

FEW_ROWS = 30
"""A smaller sample gives an interval that its own rows can mislead."""

_NOTABLE = 0.005  # a difference between counted and reported input tokens that is worth a sentence


class Basis:
    """Counted rows priced, and answers predicted from a sample where there is one (`bill`), else only bounded.

    `fitting` rows are asked and fit their model; `input_tokens` are theirs. `dominating` rows count for themselves
    (`apart`) if they are settled; of what is left the observed rows are a random sample.
    """

    def __init__(
        self, parts: JobParts, census: Census, observations: Observations | None, dominating: Mapping[int, CountedRow]
    ) -> None:
        counted_rows = {**census.wanted, **dominating}
        self.parts = parts
        self.census = census
        self.observations = observations
        self.prices: dict[Asked, ModelPrice | None] = {
            asked: parts.price_of(asked.model) for asked in census.groups if asked.model
        }
        self.fitting, counted = self._count_fitting()
        known = [
            Sampled(row, observed)
            for observed in (observations.sample if observations else ())
            if (row := counted_rows.get(observed.row)) is not None and fits(self.prices[row.asked], row.tokens)
        ]
        self.apart = [item for item in known if item.observed.row in dominating]
        self.sample = [item for item in known if item.observed.row not in dominating]
        self.unseen = len(dominating) - len(self.apart)
        self._settled: dict[int, Observed] = {item.observed.row: item.observed for item in known}
        methods = {counter.method for counter in census.counters.values()}
        self.input_method: Literal["exact", "rule"] = "rule" if "rule" in methods else "exact"
        self.bill: Bill | None = None
        self._answers = Answers(0.0)
        self._calibration = 1.0
        left = self.fitting - len(self.apart)
        if self.sample and len(self.sample) >= min(2, left):
            self._answers = fit_answers(self.sample)
            self._calibration = calibration_of(self.sample)
            self.bill = sampled_bill(
                census,
                self.prices,
                self.sample,
                self.apart,
                answers=self._answers,
                calibration=self._calibration,
            )
        # what the provider reported mends a rule; an exact count stays what it is
        mended = self.bill is not None and self.input_method == "rule"
        self.input_tokens = round(counted * self._calibration) if mended else counted
        bands = [counter.band for counter in census.counters.values()] or [(1.0, 1.0)]
        self.band = (1.0, 1.0) if mended else (min(low for low, _ in bands), max(high for _, high in bands))

    def _count_fitting(self) -> tuple[int, int]:
        rows = tokens = 0
        for asked, histogram in self.census.groups.items():
            for place, length in histogram.places():
                if fits(self.prices[asked], length):
                    rows += histogram.rows[place]
                    tokens += histogram.tokens[place]
        return rows, tokens

    @property
    def known(self) -> list[Sampled]:
        """All rows that are observed."""
        return [*self.apart, *self.sample]

    @property
    def _priced(self) -> bool:
        return all(price is not None for price in self.prices.values())

    def output_tokens(self) -> Span[int]:
        """Return the output tokens of all rows."""
        if self.bill is not None:
            seen = self.bill.output_tokens
            low = max(seen.low, sum(item.observed.output_tokens for item in self.known))
            return Span(round(low), round(max(low, seen.expected)), round(max(low, self._capped_tokens(seen.high))))
        bound = self._bound()[0]
        return Span(0, bound, bound)

    def cost(self) -> Span[Decimal] | None:
        """Return the cost of all rows; None if a model has no price."""
        if not self._priced:
            return None
        if self.bill is None:
            return self._offered(None)
        seen = self.bill.cost
        if seen is None:
            return None
        paid = sum((item.observed.cost or Decimal(0) for item in self.known), Decimal(0))
        if len(self.known) >= self.fitting:
            return Span(money(paid), money(paid), money(paid))
        low, expected, high = (max(paid, Decimal(value)) for value in (seen.low, seen.expected, seen.high))
        most = self._offered(None)
        if most is not None and most.high is not None and self._bounds_hold:
            high = max(expected, min(high, most.high))
        return Span(money(low), money(expected), money(high))

    def batch_cost(self) -> Span[Decimal] | None:
        """Return the cost in file batches; None if a model has none."""
        return self._offered(self.shared_answers(), batch=True) if self._priced else None

    def shared_answers(self) -> Answers | None:
        """Return the lengths of answers that other models are priced with; None if they are only bounded."""
        if self.bill is None:
            return None
        seen = self.output_tokens()
        assert seen.low is not None
        assert seen.high is not None
        low, high = (seen.low / seen.expected, seen.high / seen.expected) if seen.expected else (1.0, 1.0)
        return Answers(self._answers.base + self.bill.more_tokens, self._answers.slope, low, high)

    def expected(self, number: int, row: CountedRow) -> tuple[float | None, Decimal | None]:
        """Return a row's expected output tokens and cost, the real ones where known; both 0 if it does not fit."""
        price = self.prices[row.asked]
        if self.bill is not None and (settled := self._settled.get(number)) is not None:
            free = None if price is None else Decimal(0)
            return settled.output_tokens, free if settled.cost is None else settled.cost
        if not fits(price, row.tokens):
            return 0.0, None if price is None else Decimal(0)
        if self.bill is None:
            cost = None if price is None or row.answer is None else exact_cost(row, price, row.answer)
            return row.answer, cost
        tokens = max(0.0, self._answers.tokens(row.tokens) + self.bill.more_tokens)
        if price is None or self.bill.cost is None:
            return tokens, None
        return tokens, Decimal(
            max(0.0, predicted_cost(row, price, self._answers, self._calibration) + self.bill.more_cost)
        )

    def remarks(self, *, chosen: bool) -> list[str]:
        """Return what a reader has to know about the figures. `chosen`: the observed rows are a pilot's."""
        notes = [counter.note for counter in self.census.counters.values() if counter.note]
        notes += self._uncounted()
        names = ", ".join(sorted({asked.model for asked, price in self.prices.items() if price is None}))
        if names and not self.parts.model:
            notes.append(f"There is no price for {names}, so that the cost is unknown.")
        if self.observations is not None and self.bill is None:
            notes.append("No row has been answered yet with its tokens reported: answers are bounded, not predicted.")
        if self.bill is None:
            notes += self._bound_remarks()
            return notes
        failed = sum(item.observed.failed for item in self.known)
        if failed:
            notes.append(f"{failed:,} of the {len(self.known):,} sampled rows failed; they count with what they cost.")
        if len(self.known) < min(FEW_ROWS, self.fitting):
            notes.append(f"A sample of {len(self.known)} rows is small: take {FEW_ROWS} or more for a sound interval.")
        if not chosen and len(self.known) < self.fitting:
            notes.append("The rows settled so far are taken as a random sample; an interrupted run has the first ones.")
        if self.unseen:
            notes.append(
                f"{self.unseen:,} rows that hold much of the input are not answered yet; a --pilot would send them."
            )
        if self.input_method == "exact" and abs(self._calibration - 1) > _NOTABLE:
            notes.append(
                f"The provider reported {self._calibration:.3f} times the input tokens counted here; the cost follows "
                "the provider."
            )
        return notes

    def _uncounted(self) -> list[str]:
        """Return what the counted tokens leave out, so that the real input and cost are higher."""
        more = "the real input and cost are higher" if self.bill is None else "the cost follows the sampled rows"
        notes = [
            f"{rows:,} rows hold {kind}, whose tokens are not counted: {more}."
            for kind, rows in self.census.media.items()
        ]
        for added in dict.fromkeys(asked.added for asked in self.census.groups if asked.added):
            notes.append(f"What the provider adds is not counted, nor its fees: {added}.")
        return notes

    def _bound_remarks(self) -> list[str]:
        tokens = self._bound()[0]
        if tokens is None:
            return [
                "Nothing bounds the answers: set max_tokens (when thinking, max_completion_tokens or thinking_budget) "
                "under model.parameters, or use --pilot."
            ]
        if not {"max_tokens", "max_completion_tokens"} & effective_parameters(self.parts.job.model.parameters).keys():
            return [
                "max_tokens is not set: answers are bounded by the model's own limit. --pilot tells how long they are."
            ]
        return []

    @property
    def _bounds_hold(self) -> bool:
        """Whether no sampled row cost more than one attempt of its counted tokens."""
        once = all(item.observed.attempts == 1 for item in self.known)
        return once and self.input_method == "exact" and self._calibration <= 1

    def _capped_tokens(self, tokens: float) -> float:
        bound = self._bound()[0]
        return tokens if bound is None or not self._bounds_hold else min(tokens, bound)

    def _bound(self) -> tuple[int | None, Decimal | None]:
        tokens, cost = 0, Decimal(0)
        for asked, histogram in self.census.groups.items():
            most, price = bounded_answers(histogram, self.prices[asked], asked.thinks)
            if most is None:
                return None, None
            tokens += most
            cost += price or 0
        return tokens, cost

    def _offered(self, answers: Answers | None, *, batch: bool = False) -> Span[Decimal] | None:
        """Return what all rows cost at their prices, or at those of file batches; None if a model has none."""
        total = Span[Decimal](Decimal(0), Decimal(0), Decimal(0))
        for asked, histogram in self.census.groups.items():
            price = self.prices[asked]
            if batch and price is not None:
                price = price.batch()
            if price is None:
                return None
            low, high = self.census.counters[asked.model].band
            counted = Interval(low, 1.0, high)
            if self.bill is not None:
                counted = Interval(self._calibration, self._calibration, self._calibration)
            total = _sum(total, offered_cost(histogram, price, asked.thinks, counted, answers))
        return total


def _sum(first: Span[Decimal], second: Span[Decimal]) -> Span[Decimal]:
    def add(one: Decimal | None, other: Decimal | None) -> Decimal | None:
        return None if one is None or other is None else one + other

    return Span(add(first.low, second.low), add(first.expected, second.expected), add(first.high, second.high))
