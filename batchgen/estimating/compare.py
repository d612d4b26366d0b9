"""`estimate --compare`: what the same rows would cost with other models, in other regions and in file batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from batchgen.estimating.cost import Answers, bounded_answers, input_cost, predicted_answers
from batchgen.estimating.count import Census, Ruler, thinks
from batchgen.estimating.histogram import Histogram
from batchgen.estimating.intervals import Interval
from batchgen.estimating.values import Offer, Span
from batchgen.money.price_file import REGIONS
from batchgen.money.prices import ModelPrice, PriceTable, answer_bound
from batchgen.values import SMALLEST_AMOUNT


class Comparison:
    """The models of one `--compare`. Models that have the same tokenizer are counted together."""

    def __init__(self, models: Sequence[str], table: PriceTable, ruler: Ruler, region: str) -> None:
        self._table = table
        self._ruler = ruler
        self._regions = (region, *(name for name in REGIONS if name != region))
        self._models = list(dict.fromkeys(models))
        self._counted_as: dict[str, str] = {}  # counter → the model whose histogram has its counts
        self.edges: dict[str, list[int]] = {}
        for model in self._models:
            counted = self._counted_as.setdefault(ruler.counter(model).name, model)
            self.edges.setdefault(counted, []).extend(ruler.edges(model, [table.find(model, r) for r in REGIONS]))

    def offers(
        self,
        census: Census,
        parameters: Mapping[str, Any],
        answers: Answers | None,
    ) -> list[Offer]:
        """Return an offer for each model and each region in which it has a price; one without costs if it has none.

        `answers` are lengths predicted for the job's own model; None means that they are bounded by the parameters and
        by the limits of each model.
        """
        return [offer for model in self._models for offer in self._of(model, census, parameters, answers)]

    def _of(
        self,
        model: str,
        census: Census,
        parameters: Mapping[str, Any],
        answers: Answers | None,
    ) -> list[Offer]:
        counter = self._ruler.counter(model)
        counted = Interval(counter.band[0] * census.sampling[0], 1.0, counter.band[1] * census.sampling[1])
        histogram = census.others[self._counted_as[counter.name]]
        longest = self._ruler.max_input(model)
        too_long = sum(histogram.rows[p] for p, length in histogram.places() if longest and length > longest)
        tokens = sum(histogram.tokens[p] for p, length in histogram.places() if not longest or length <= longest)
        found = [price for region in self._regions if (price := self._table.find(model, region)) is not None]
        if not found:
            note = self._table.suggestion(model, self._regions[0])
            return [
                Offer(
                    model=model,
                    region=None,
                    input_tokens=tokens,
                    input_method=counter.method,
                    rows_too_long=too_long,
                    note=note,
                )
            ]
        offers = []
        for price in found:
            thinking = thinks(price, parameters)
            bound = answer_bound(price, parameters)
            bounded = _bounded(histogram, None if bound is None else bound * self._ruler.votes)
            batch = price.batch()
            offers.append(
                Offer(
                    model=model,
                    region=price.region,
                    input_tokens=tokens,
                    input_method=counter.method,
                    cost=offered_cost(bounded, price, thinking, counted, answers),
                    batch_cost=offered_cost(bounded, batch, thinking, counted, answers) if batch is not None else None,
                    currency=price.currency,
                    price_date=price.price_date,
                    rows_too_long=too_long,
                    note=price.note,
                )
            )
        return offers


def offered_cost(
    histogram: Histogram,
    price: ModelPrice,
    thinking: bool,
    counted: Interval,
    answers: Answers | None,
) -> Span[Decimal]:
    """Return what the rows of a histogram cost at a price; `counted`: the true input tokens as shares of the count.

    Where answers are only bounded (`answers` None), nothing is expected: low is the input, high the longest answers.
    """
    put_in = input_cost(histogram, price)
    least = money(put_in * _exact(counted.low))
    if answers is None:
        most = bounded_answers(histogram, price, thinking)[1]
        highest = None if most is None else money(put_in * _exact(counted.high) + most)
        return Span(least, least if least == highest else None, highest)
    expected = Decimal(predicted_answers(histogram, price, thinking, answers)[2])
    low, high = expected * _exact(answers.low), expected * _exact(answers.high)
    return Span(
        money(put_in * _exact(counted.low) + low),
        money(put_in * _exact(counted.expected) + expected),
        money(put_in * _exact(counted.high) + high),
    )


def money(amount: Decimal) -> Decimal:
    """Return an amount with at most twelve decimal places, without trailing zeros and exponent."""
    return Decimal(f"{amount.quantize(SMALLEST_AMOUNT).normalize():f}")


def _exact(factor: float) -> Decimal:
    return Decimal(str(factor))


def _bounded(histogram: Histogram, bound: int | None) -> Histogram:
    """Return the histogram with all answers bounded by `bound` tokens; unchanged if that is None."""
    if bound is None:
        return histogram
    other = Histogram(histogram.edges)
    other.rows, other.tokens = histogram.rows, histogram.tokens
    other.answers = [rows * bound for rows in histogram.rows]
    return other
