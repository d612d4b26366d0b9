"""Output tokens and cost of all rows, as low / expected / high, from counted inputs and a sample of answers.

The cost of a row is predicted from its input length, which is known for every row: the input at the price of its tier,
and an answer of `base + slope × input tokens` at its output price. Uncertain is only the difference between the real
cost of the sampled rows and their prediction (longer answers, retries, cache discounts). Its mean, with an interval for
a sample without replacement (`intervals.py`), is added for every row. This is the difference estimator of survey
sampling (W. G. Cochran, Sampling Techniques, 3rd ed., 7.1 and 7.3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from batchgen.estimating.count import Census
from batchgen.estimating.histogram import Asked, CountedRow, Histogram
from batchgen.estimating.intervals import Interval, mean_interval
from batchgen.estimating.observed import Observed
from batchgen.money.prices import ModelPrice, Price

_MILLION = 1_000_000
_SLOPE_NEEDS_ROWS = 20
_SLOPE_NEEDS_GAIN = 0.7
"""A line through the answers' lengths by input length is used only if it leaves at most this share of their variance,
with each row predicted from the others. A weaker relation may be chance."""


class Answers(Struct, frozen=True):
    """The predicted length of an answer in tokens: `base + slope × input tokens`. The sum over all rows may be `low` to
    `high` times the predicted one."""

    base: float
    slope: float = 0.0
    low: float = 1.0
    high: float = 1.0

    def tokens(self, input_tokens: float) -> float:
        """Return the length predicted for one row."""
        return self.base + self.slope * input_tokens


class Bill(Struct, frozen=True):
    """Output tokens and cost of all rows. `more_tokens` and `more_cost` are the mean difference of a sampled row from
    its prediction. The cost is a float, as it is an estimate."""

    output_tokens: Interval
    cost: Interval | None
    more_tokens: float
    more_cost: float


class Sampled(Struct, frozen=True):
    """A row that was counted and has finished."""

    row: CountedRow
    observed: Observed

    @property
    def once(self) -> bool:
        """Whether each of its votes took one attempt."""
        return self.observed.attempts == self.row.asked.votes


def output_price(tier: Price, thinks: bool) -> Decimal:
    """Return the price of a million output tokens."""
    return tier.thinking_output if thinks else tier.output


def fits(price: ModelPrice | None, length: int) -> bool:
    """Whether a request of so many input tokens is taken by the model: a longer one is refused and not billed."""
    return price is None or price.max_input is None or length <= price.max_input


def input_cost(histogram: Histogram, price: ModelPrice) -> Decimal:
    """Return what the input of all rows that fit costs, exactly; each row at its own tier."""
    total = sum(
        (
            histogram.tokens[place] * (tier := price.tier(length)).input + histogram.spoken[place] * _more_spoken(tier)
            for place, length in histogram.places()
            if fits(price, length)
        ),
        Decimal(0),
    )
    return total / _MILLION


def _more_spoken(tier: Price) -> Decimal:
    """Return what a million tokens of recordings cost more than as many of text."""
    return Decimal(0) if tier.audio_input is None else tier.audio_input - tier.input


def bounded_answers(histogram: Histogram, price: ModelPrice | None, thinks: bool) -> tuple[int | None, Decimal | None]:
    """Return the most output tokens of all rows that fit, and what they would cost; None if nothing bounds them."""
    tokens = 0
    cost = Decimal(0)
    for place, length in histogram.places():
        if not fits(price, length):
            continue
        if histogram.unbounded[place]:
            return None, None
        tokens += histogram.answers[place]
        if price is not None:
            cost += histogram.answers[place] * output_price(price.tier(length), thinks) / _MILLION
    return tokens, None if price is None else cost


def predicted_answers(
    histogram: Histogram, price: ModelPrice | None, thinks: bool, answers: Answers
) -> tuple[int, float, float]:
    """Return rows that fit, their predicted output tokens, and what these cost (0 without a price)."""
    rows = 0
    total = cost = 0.0
    for place, length in histogram.places():
        if not fits(price, length):
            continue
        tokens = answers.base * histogram.rows[place] + answers.slope * histogram.tokens[place]
        rows += histogram.rows[place]
        total += tokens
        if price is not None:
            cost += tokens * float(output_price(price.tier(length), thinks)) / _MILLION
    return rows, total, cost


def fit_answers(sample: Sequence[Sampled]) -> Answers:
    """Return how long answers are: on average, or by input length where that earns its place."""
    lengths = [float(item.observed.output_tokens) for item in sample]
    mean = math.fsum(lengths) / len(lengths)
    flat = Answers(mean)
    inputs = [float(item.row.all_tokens) for item in sample]
    centre = math.fsum(inputs) / len(inputs)
    spread = math.fsum((x - centre) ** 2 for x in inputs)
    if len(sample) < _SLOPE_NEEDS_ROWS or spread == 0:
        return flat
    slope = math.fsum((x - centre) * (y - mean) for x, y in zip(inputs, lengths, strict=True)) / spread
    line = Answers(mean - slope * centre, slope)
    if slope <= 0 or any(_at_its_bound(item) for item in sample):
        return flat  # answers cut at max_tokens do not grow any more
    size = len(sample)
    left = without = 0.0
    for x, y in zip(inputs, lengths, strict=True):
        leverage = 1 / size + (x - centre) ** 2 / spread
        if leverage > 0.5:
            return flat  # a single row decides the line
        left += ((y - line.base - slope * x) / (1 - leverage)) ** 2
        without += ((y - mean) * size / (size - 1)) ** 2
    return line if left <= _SLOPE_NEEDS_GAIN * without else flat


def calibration_of(sample: Sequence[Sampled]) -> float:
    """Return reported input tokens over counted ones: 1 where the count is the provider's own."""
    told = [item for item in sample if item.once and item.observed.input_tokens is not None]
    counted = sum(item.row.all_tokens for item in told)
    if not counted:
        return 1.0
    return sum(item.observed.input_tokens or 0 for item in told) / counted


def sampled_bill(
    census: Census,
    prices: Mapping[Asked, ModelPrice | None],
    sample: Sequence[Sampled],
    apart: Sequence[Sampled],
    *,
    answers: Answers,
    calibration: float,
) -> Bill:
    """Return output tokens and cost of all rows, from those of `sample`, drawn at random from all but those `apart`,
    which were chosen for their size and count with what they cost."""
    rows = 0
    tokens = cost = 0.0
    priced = all(price is not None for price in prices.values()) and all(
        item.observed.cost is not None or not item.observed.output_tokens for item in (*sample, *apart)
    )

    def more_tokens(item: Sampled) -> float:
        return item.observed.output_tokens - answers.tokens(item.row.all_tokens)

    def more_cost(item: Sampled) -> float:
        predicted = predicted_cost(item.row, prices[item.row.asked], answers, calibration)
        return float(item.observed.cost or 0) - predicted

    for asked, histogram in census.groups.items():
        price = prices[asked]
        fitting, answer_tokens, answer_cost = predicted_answers(histogram, price, asked.thinks, answers)
        rows += fitting
        tokens += answer_tokens
        cost += answer_cost
        if price is not None:
            cost += float(input_cost(histogram, price)) * calibration
    rest = max(rows - len(apart), len(sample))
    tokens += math.fsum(map(more_tokens, apart))
    each = mean_interval(list(map(more_tokens, sample)), rest)
    if not priced:
        return Bill(_added(tokens, rest, each), None, each.expected, 0.0)
    cost += math.fsum(map(more_cost, apart))
    each_cost = mean_interval(list(map(more_cost, sample)), rest)
    return Bill(_added(tokens, rest, each), _added(cost, rest, each_cost), each.expected, each_cost.expected)


def predicted_cost(row: CountedRow, price: ModelPrice | None, answers: Answers, calibration: float) -> float:
    """Return what one row is expected to cost; 0 if it does not fit or has no price."""
    if price is None or not fits(price, row.tokens):
        return 0.0
    tier = price.tier(row.tokens)
    output = answers.tokens(row.all_tokens) * float(output_price(tier, row.asked.thinks))
    put_in = row.all_tokens * float(tier.input) + row.spoken * row.asked.votes * float(_more_spoken(tier))
    return (calibration * put_in + output) / _MILLION


def _added(total: float, rows: int, mean: Interval) -> Interval:
    return Interval(
        max(0.0, total + rows * mean.low), max(0.0, total + rows * mean.expected), max(0.0, total + rows * mean.high)
    )


def _at_its_bound(item: Sampled) -> bool:
    return item.row.answer is not None and item.observed.output_tokens >= item.row.answer * item.row.asked.votes
