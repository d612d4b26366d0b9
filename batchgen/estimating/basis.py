"""What the figures of an estimate rest on: answers that a sample predicts, or only the longest that are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, Protocol

from batchgen.estimating.compare import money, offered_cost
from batchgen.estimating.cost import (
    Answers,
    Sampled,
    bounded_answers,
    calibration_of,
    fit_answers,
    fits,
    predicted_cost,
    sampled_bill,
)
from batchgen.estimating.count import Census
from batchgen.estimating.endpoints import mixed, price_at
from batchgen.estimating.histogram import Asked, CountedRow
from batchgen.estimating.intervals import CONFIDENCE, Interval
from batchgen.estimating.observed import Observations
from batchgen.estimating.values import Span
from batchgen.job.parts import JobParts
from batchgen.job.requests import RequestParts
from batchgen.money.prices import ModelPrice
from batchgen.providers.lane import BATCH, LIVE
from batchgen.text.figures import quantity
from batchgen.tokens.parameters import effective_parameters

FEW_ROWS = 30
"""A smaller sample gives an interval that its own rows can mislead."""

_NOTABLE = 0.005  # a difference between counted and reported input tokens that is worth a sentence


class PricedRows:
    """The counted rows with their prices, and which of them have been answered.

    `fitting` rows can be asked and fit their model; `tokens` are their input tokens as counted, between `band[0]` and
    `band[1]` times the true ones. Of the answered rows, those `apart` were chosen for their length and stand for
    themselves; `sample` is a random sample of all others. `unseen` rows would stand for themselves but have no answer.
    """

    def __init__(
        self, parts: JobParts, census: Census, observations: Observations | None, dominating: Mapping[int, CountedRow]
    ) -> None:
        counted_rows = {**census.wanted, **dominating}
        self.parts = parts
        self.census = census
        self.observations = observations
        self.prices: dict[Asked, ModelPrice | None] = {
            asked: parts.price_of(asked.model) if parts.lane is None else self._price_in(parts.lane.name, asked)
            for asked in census.groups
            if asked.model
        }
        self.votes = 1 if parts.answers is None else parts.answers.settings.votes
        self.fitting = self.tokens = 0
        for asked, histogram in census.groups.items():
            for place, length in histogram.places():
                if fits(self.prices[asked], length):
                    self.fitting += histogram.rows[place]
                    self.tokens += histogram.tokens[place]
        self.known = [
            Sampled(row, observed)
            for observed in (observations.sample if observations else ())
            if (row := counted_rows.get(observed.row)) is not None and fits(self.prices[row.asked], row.tokens)
        ]
        self.apart = [item for item in self.known if item.observed.row in dominating]
        self.sample = [item for item in self.known if item.observed.row not in dominating]
        self.unseen = len(dominating) - len(self.apart)
        counters = census.counters.values()
        self.method: Literal["exact", "rule"] = "rule" if any(one.method == "rule" for one in counters) else "exact"
        bands = [counter.band for counter in counters] or [(1.0, 1.0)]
        least, most = census.sampling
        self.band = least * min(low for low, _ in bands), most * max(high for _, high in bands)

    def _price_in(self, lane: str | None, asked: Asked, site: RequestParts | None = None) -> ModelPrice | None:
        """Return the price in a lane, or in an endpoint's own."""
        at = site or self.parts
        if lane is None:
            lane = None if at.lane is None else at.lane.name
        return price_at(at, asked.model, LIVE if asked.too_long and lane == BATCH else lane)

    def most_output_tokens(self) -> int | None:
        """Return the most output tokens of all rows together; None if nothing bounds them."""
        total = 0
        for asked, histogram in self.census.groups.items():
            most, _ = bounded_answers(histogram, self.prices[asked], asked.thinks)
            if most is None:
                return None
            total += most
        return total

    def offered(
        self,
        answers: Answers | None,
        *,
        calibration: float | None = None,
        lane: str | None = None,
        too_long: bool = False,
        site: RequestParts | None = None,
    ) -> Span[Decimal] | None:
        """Return what all rows cost at their prices, or at those of a lane or an endpoint; None if a model has none.

        `answers` are their predicted lengths, None for the longest allowed. `calibration` is the true number of input
        tokens over the counted one, None where only the counters' bands tell. `too_long`: only those rows that are so
        for a batch. At several endpoints it is from what the cheapest takes to what the dearest does.
        """
        sites = self.parts.sites
        if site is None and sites:
            each = [
                self.offered(answers, calibration=calibration, lane=lane, too_long=too_long, site=one) for one in sites
            ]
            return mixed(each, [one.weight for one in self.parts.job.model.endpoints])
        total = Span[Decimal](Decimal(0), Decimal(0), Decimal(0))
        for asked, histogram in self.census.groups.items():
            if too_long and not asked.too_long:
                continue
            price = self.prices[asked]
            if site is not None or lane is not None:
                price = self._price_in(lane, asked, site)
            if price is None:
                return None
            low, high = self.census.counters[asked.model].band if calibration is None else (1.0, 1.0)
            (least, most), known = self.census.sampling, calibration or 1.0
            counted = Interval(known * low * least, known, known * high * most)
            total = _sum(total, offered_cost(histogram, price, asked.thinks, counted, answers))
        return total

    def remarks(self, *, follows: str) -> list[str]:
        """Return what the counted tokens and the prices leave out; `follows` is what that means for the cost."""
        notes = [counter.note for counter in self.census.counters.values() if counter.note]
        notes += [
            f"{quantity(rows, 'row holds', 'rows hold')} {kind}, whose tokens are not counted: {follows}."
            for kind, rows in self.census.media.items()
        ]
        for added in dict.fromkeys(asked.added for asked in self.census.groups if asked.added):
            notes.append(f"What the provider adds is not counted, nor its fees: {added}.")
        names = ", ".join(sorted({asked.model for asked, price in self.prices.items() if price is None}))
        if names and not self.parts.model:
            notes.append(f"There is no price for {names}, so that the cost is unknown.")
        return notes


class Basis(Protocol):
    """Where the figures for answers come from. `confidence` is that of the intervals, None where there are none.

    `input_tokens` are those of all rows that fit, and the true number lies between `band[0]` and `band[1]` times that.
    """

    rows: PricedRows
    confidence: float | None
    input_tokens: int
    band: tuple[float, float]

    def output_tokens(self) -> Span[int]:
        """Return the output tokens of all rows."""

    def cost(self) -> Span[Decimal] | None:
        """Return the cost of all rows; None if a model has no price."""

    def lane_cost(self, lane: str | None, site: RequestParts | None = None) -> Span[Decimal] | None:
        """Return the cost in a lane, or in file batches ("batch"), or at one of several endpoints; None if a model has
        none."""

    def too_long_cost(self) -> Span[Decimal] | None:
        """Return the cost of the rows that are too long for a batch, asked live; None if a model has no price."""

    def shared_answers(self) -> Answers | None:
        """Return the lengths of answers that other models are priced with; None if they are only bounded."""

    def expected(self, number: int, row: CountedRow) -> tuple[float | None, Decimal | None]:
        """Return a row's expected output tokens and cost, the real ones where known; both 0 if it does not fit."""

    def remarks(self, *, chosen: bool) -> list[str]:
        """Return what a reader has to know about the figures. `chosen`: the answered rows are a pilot's."""


def basis_of(
    parts: JobParts, census: Census, observations: Observations | None, dominating: Mapping[int, CountedRow]
) -> Basis:
    """Return the basis for counted rows: a sample of answers if there are enough, else the longest answers allowed.

    `dominating` rows stand for themselves where they have an answer; of the others the observed ones are a random
    sample.
    """
    rows = PricedRows(parts, census, observations, dominating)
    enough = len(rows.sample) >= max(1, min(2, rows.fitting - len(rows.apart)))
    return SampledBasis(rows) if enough else BoundedBasis(rows)


class BoundedBasis:
    """Nothing is known of the answers but the longest that the parameters and the model allow."""

    confidence: float | None = None

    def __init__(self, rows: PricedRows) -> None:
        self.rows = rows
        self.input_tokens = rows.tokens
        self.band = rows.band

    def output_tokens(self) -> Span[int]:
        most = self.rows.most_output_tokens()
        return Span(0, None if most else most, most)

    def cost(self) -> Span[Decimal] | None:
        return self.rows.offered(None)

    def lane_cost(self, lane: str | None, site: RequestParts | None = None) -> Span[Decimal] | None:
        return self.rows.offered(None, lane=lane, site=site)

    def too_long_cost(self) -> Span[Decimal] | None:
        return self.rows.offered(None, lane=LIVE, too_long=True)

    def shared_answers(self) -> None:
        return None

    def expected(self, number: int, row: CountedRow) -> tuple[float | None, Decimal | None]:
        price = self.rows.prices[row.asked]
        if not fits(price, row.tokens):
            return 0.0, None if price is None else Decimal(0)
        return None, None

    def remarks(self, *, chosen: bool) -> list[str]:
        notes = self.rows.remarks(follows="the real input and cost are higher")
        if self.rows.observations is not None:
            notes.append("No row has been answered yet with its tokens reported: answers are bounded, not predicted.")
        parameters = effective_parameters(self.rows.parts.job.model.parameters)
        if self.rows.most_output_tokens() is None:
            notes.append(
                "Nothing bounds the answers: set max_tokens (when thinking, max_completion_tokens or thinking_budget) "
                "under model.parameters, or use --pilot."
            )
        elif not {"max_tokens", "max_completion_tokens"} & parameters.keys():
            notes.append(
                "max_tokens is not set: answers are bounded by the model's own limit. --pilot tells how long they are."
            )
        return notes


class SampledBasis:
    """Answers and costs are predicted from the rows that have been answered, with an interval for the others."""

    confidence: float | None = CONFIDENCE

    def __init__(self, rows: PricedRows) -> None:
        self.rows = rows
        self._answered = {item.observed.row: item.observed for item in rows.known}
        self._answers = fit_answers(rows.sample)
        self._calibration = calibration_of(rows.sample)
        self._bill = sampled_bill(
            rows.census, rows.prices, rows.sample, rows.apart, answers=self._answers, calibration=self._calibration
        )
        by_rule = rows.method == "rule"  # what the provider reported corrects a rule; an exact count stays what it is
        self.input_tokens = round(rows.tokens * self._calibration) if by_rule else rows.tokens
        self.band = rows.census.sampling if by_rule else rows.band

    def output_tokens(self) -> Span[int]:
        seen = self._bill.output_tokens
        low = max(seen.low, sum(item.observed.output_tokens for item in self.rows.known))
        most = self.rows.most_output_tokens() if self._bounds_hold else None
        high = seen.high if most is None else min(seen.high, most)
        least, most_rows = self.rows.census.sampling
        return Span(round(low * least), round(max(low, seen.expected)), round(max(low, high) * most_rows))

    def cost(self) -> Span[Decimal] | None:
        seen, known = self._bill.cost, self.rows.known
        if seen is None:
            return None
        paid = sum((item.observed.cost or Decimal(0) for item in known), Decimal(0))
        if len(known) >= self.rows.fitting:
            return Span(money(paid), money(paid), money(paid))
        low, expected, high = (max(paid, Decimal(value)) for value in (seen.low, seen.expected, seen.high))
        most = self.rows.offered(None, calibration=self._calibration) if self._bounds_hold else None
        if most is not None and most.high is not None:
            high = max(expected, min(high, most.high))
        least, most_rows = map(Decimal, self.rows.census.sampling)
        return Span(money(max(paid, low * least)), money(expected), money(high * most_rows))

    def lane_cost(self, lane: str | None, site: RequestParts | None = None) -> Span[Decimal] | None:
        return self.rows.offered(self.shared_answers(), calibration=self._calibration, lane=lane, site=site)

    def too_long_cost(self) -> Span[Decimal] | None:
        return self.rows.offered(self.shared_answers(), calibration=self._calibration, lane=LIVE, too_long=True)

    def shared_answers(self) -> Answers:
        seen = self.output_tokens()
        assert seen.low is not None
        assert seen.high is not None
        low, high = (seen.low / seen.expected, seen.high / seen.expected) if seen.expected else (1.0, 1.0)
        return Answers(self._answers.base + self._bill.more_tokens, self._answers.slope, low, high)

    def expected(self, number: int, row: CountedRow) -> tuple[float | None, Decimal | None]:
        price = self.rows.prices[row.asked]
        if (answered := self._answered.get(number)) is not None:
            free = None if price is None else Decimal(0)
            return answered.output_tokens, free if answered.cost is None else answered.cost
        if not fits(price, row.tokens):
            return 0.0, None if price is None else Decimal(0)
        tokens = max(0.0, self._answers.tokens(row.all_tokens) + self._bill.more_tokens)
        if price is None or self._bill.cost is None:
            return tokens, None
        cost = predicted_cost(row, price, self._answers, self._calibration) + self._bill.more_cost
        return tokens, Decimal(max(0.0, cost))

    def remarks(self, *, chosen: bool) -> list[str]:
        notes = self.rows.remarks(follows="the cost follows the sampled rows")
        known, fitting = self.rows.known, self.rows.fitting
        failed = sum(item.observed.failed for item in known)
        if failed:
            notes.append(f"{failed:,} of the {len(known):,} sampled rows failed; they count with what they cost.")
        if len(known) < min(FEW_ROWS, fitting):
            notes.append(
                f"A sample of {quantity(len(known), 'row')} is small: take {FEW_ROWS} or more for a sound interval."
            )
        if not chosen and len(known) < fitting:
            notes.append(
                "The rows finished so far are taken as a random sample; an interrupted run has finished the first ones."
            )
        if self.rows.unseen:
            notes.append(
                f"{self.rows.unseen:,} rows that hold much of the input are not answered yet; --pilot would send them."
            )
        if self.rows.method == "exact" and abs(self._calibration - 1) > _NOTABLE:
            notes.append(
                f"The provider reported {self._calibration:.3f} times the input tokens counted here; the cost follows "
                "the provider."
            )
        return notes

    @property
    def _bounds_hold(self) -> bool:
        """Whether no sampled row cost more than one attempt of its counted tokens."""
        once = all(item.once for item in self.rows.known)
        return once and self.rows.method == "exact" and self._calibration <= 1


def _sum(first: Span[Decimal], second: Span[Decimal]) -> Span[Decimal]:
    def add(one: Decimal | None, other: Decimal | None) -> Decimal | None:
        return None if one is None or other is None else one + other

    return Span(add(first.low, second.low), add(first.expected, second.expected), add(first.high, second.high))
