"""An estimate as sections: what `estimate` prints, and what its page shows. No decisions here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from batchgen.estimating.values import Estimate, LaneCost, Offer, Span
from batchgen.text.figures import duration, money, plain, quantity
from batchgen.text.sections import Block, Document, Fact, Facts, Note, Section, Table, sections_text

Draw = Callable[[str, Span[Any] | None, Any], str | None]
"""Draws a range by its name; the last argument is the end of a scale that others share, None for one of its own."""

_METHODS = {"pilot": "pilot", "earlier run": "earlier run of this job"}


def estimate_text(estimate: Estimate) -> str:
    """Return the estimate for a terminal."""
    return sections_text(estimate_document(estimate))


def estimate_document(estimate: Estimate, draw: Draw | None = None) -> Document:
    """Return what the job will take, what that rests on, and the comparison with other models.

    `draw` draws the ranges, for a page.
    """
    rows = quantity(estimate.rows, "row")
    title = f"{plain(estimate.job)}: {rows} of {plain(estimate.input, 300)} with {plain(estimate.model)}"
    head: list[Block] = [
        Facts(_identity(estimate)),
        _figures(estimate, draw),
        *(Note(note) for note in estimate.notes),
    ]
    if estimate.endpoints:
        head.insert(2, _endpoints(estimate, draw))
    if estimate.lanes:
        head.insert(2, _lanes(estimate, draw))
    sections = [Section("", head)]
    if estimate.compare:
        compared: list[Block] = [
            _compared(estimate, draw),
            *(Note(f"{one.model}: {one.note}") for one in _noted(estimate)),
        ]
        sections.append(Section("Other models and regions", compared))
    return Document(title, ["estimate"], sections)


def _identity(estimate: Estimate) -> list[Fact]:
    currency = estimate.currency or ""
    facts = [
        Fact("price", estimate.price or "unknown"),
        Fact("currency", currency or "none: no price is known"),
        Fact("input tokens", f"{estimate.input_tokens:,}", _counted(estimate)),
        Fact("answers", _answers(estimate)),
    ]
    if estimate.rows_too_long:
        facts.append(
            Fact(
                "too long",
                quantity(estimate.rows_too_long, "row does", "rows do") + " not fit the model",
                _named(estimate),
            )
        )
    if estimate.asked_live:
        _, expected, most = _amounts(estimate.asked_live_cost, currency)
        cost = expected if estimate.confidence is not None else f"at most {most}"
        text = f"{quantity(estimate.asked_live, 'row is', 'rows are')} longer than a line of a batch may be"
        facts.append(Fact("long rows", text, f"asked live in the lane batch, at the full price: {cost}, included"))
    if estimate.unaskable:
        first = "; ".join(f"row {row}: {plain(reason, 300)}" for row, reason in estimate.unaskable_examples.items())
        rows = quantity(estimate.unaskable, "row")
        facts.append(Fact("no prompt", f"{rows} cannot be rendered and will fail, at no cost", first))
    if estimate.paid is not None:
        cost = "" if estimate.paid.cost is None else f" for {money(estimate.paid.cost, currency)}"
        facts.append(Fact("finished", f"{quantity(estimate.paid.rows, 'row')} already{cost}", "a run keeps them"))
    if estimate.reused:
        saved = "" if not estimate.saved else f", which saves about {money(estimate.saved, currency)}"
        asked = f"{estimate.rows - estimate.reused:,} would be asked: the figures are theirs"
        facts.append(
            Fact("reused", f"{quantity(estimate.reused, 'row takes', 'rows take')} an earlier answer{saved}", asked)
        )
    return facts


def _counted(estimate: Estimate) -> str:
    if estimate.input_method == "exact":
        return f"counted exactly, {estimate.input_rule}"
    low, high = estimate.input_band
    if (low, high) == (1.0, 1.0):
        return f"by rule, {estimate.input_rule}, corrected by what the provider reported"
    return f"by rule, {estimate.input_rule}: between {low:.2f} and {high:.2f} times that"


def _answers(estimate: Estimate) -> str:
    if estimate.output_method == "max_tokens":
        return "length unknown, at most the longest the job allows; --pilot 100 sends 100 random rows to see"
    article = "a" if estimate.output_method == "pilot" else "an"
    return f"lengths of {quantity(estimate.sampled, 'row')} of {article} {_METHODS[estimate.output_method]}"


def _assumption(estimate: Estimate) -> str:
    """Say what low, expected and high rest on."""
    if estimate.confidence is None:
        return (
            "Low is the input alone, high the longest answers allowed; what to expect between them is unknown without "
            "a pilot or an earlier run."
        )
    return (
        f"Low to high holds in {estimate.confidence:.0%} of such estimates, each figure by itself, if the rest is like "
        "the sample."
    )


def _named(estimate: Estimate) -> str:
    more = ", ..." if estimate.rows_too_long > len(estimate.too_long_ids) else ""
    return ", ".join(plain(row_id, 60) for row_id in estimate.too_long_ids) + more


def _figures(estimate: Estimate, draw: Draw | None) -> Table:
    tokens, currency = estimate.output_tokens, estimate.currency or ""
    spans: list[Span[Any] | None] = [tokens, estimate.cost]
    rows = [
        ["output tokens", *(_number(value) for value in (tokens.low, tokens.expected, tokens.high))],
        ["cost", *_amounts(estimate.cost, currency)],
    ]
    if estimate.batch_cost is not None and not any(lane.lane == "batch" for lane in estimate.lanes):
        rows.append(["in file batches", *_amounts(estimate.batch_cost, currency)])
        spans.append(estimate.batch_cost)
    if estimate.cost is not None and estimate.rows > estimate.reused:
        rows.append(
            ["per 1,000 rows", *_amounts(estimate.cost, currency, Decimal(1000) / (estimate.rows - estimate.reused))]
        )
        spans.append(estimate.cost)
    time = estimate.duration_s
    values = (None, None, None) if time is None else (time.low, time.expected, time.high)
    rows.append(["duration", *("unknown" if value is None else duration(value) for value in values)])
    drawings = (
        [] if draw is None else [draw(row[0], span, None) for row, span in zip(rows, [*spans, time], strict=True)]
    )
    head = ["", "low", "expected", "high"]
    return Table("What it takes", head, rows, note=_assumption(estimate), drawings=drawings)


def _lanes(estimate: Estimate, draw: Draw | None) -> Table:
    currency = estimate.currency or ""
    rows = [
        [lane.lane, "; ".join(filter(None, (*_marks(lane), lane.note))), *_amounts(lane.cost, currency)]
        for lane in estimate.lanes
    ]
    drawings = _drawn(draw, [(lane.lane, lane.cost) for lane in estimate.lanes])
    head = ["", "", "low", "expected", "high"]
    return Table("The same rows in each lane (model.lane)", head, rows, words=2, drawings=drawings)


def _endpoints(estimate: Estimate, draw: Draw | None) -> Table:
    currency = estimate.currency or ""
    rows = [[plain(one.endpoint, 120), plain(one.model), *_amounts(one.cost, currency)] for one in estimate.endpoints]
    drawings = _drawn(draw, [(one.endpoint, one.cost) for one in estimate.endpoints])
    note = "Rows go to the cheapest endpoint that may be asked at the moment (model.endpoints)."
    head = ["", "model", "low", "expected", "high"]
    return Table("All rows at one of the endpoints", head, rows, words=2, note=note, drawings=drawings)


def _drawn(draw: Draw | None, costs: list[tuple[str, Span[Decimal] | None]]) -> list[str | None]:
    """Return the costs drawn on one scale."""
    if draw is None:
        return []
    top = max((span.high for _, span in costs if span is not None and span.high is not None), default=None)
    return [draw(name, span, top) for name, span in costs]


def _marks(lane: LaneCost) -> Iterator[str]:
    if lane.cheapest_in_time:
        yield "cheapest by the deadline"
    elif lane.cheapest:
        yield "cheapest"
    if lane.in_time is False:
        yield "too late for the deadline"


def _compared(estimate: Estimate, draw: Draw | None) -> Table:
    """Return the models by their highest cost, those in the estimate's currency first."""
    own = estimate.currency

    def place(offer: Offer) -> tuple[bool, str, Decimal]:
        most = offer.cost.high if offer.cost is not None else None
        return offer.currency != own, offer.currency or "~", Decimal("Infinity") if most is None else most

    offers = sorted(estimate.compare, key=place)
    rows = [
        [
            plain(offer.model),
            offer.region or "no price",
            f"{offer.input_tokens:,}" if offer.input_method == "exact" else f"about {offer.input_tokens:,}",
            *_amounts(offer.cost, offer.currency or ""),
            _one(offer.batch_cost, offer.currency or ""),
            f"{offer.rows_too_long:,}",
        ]
        for offer in offers
    ]
    if estimate.confidence is not None:
        note = f"Answers are taken to be as long as those of {plain(estimate.model)}."
    else:
        note = "Low is the input alone, high the longest answers that the job and each model allow; none is expected."
    note += " Input is counted with each model's own tokenizer, by rule where it says about."
    others = sorted({offer.currency for offer in offers if offer.currency not in (None, own)})
    if own is not None and others:
        note += (
            f" Prices in {', '.join(map(str, others))} cannot be compared with {own}: pricing.currency and "
            "pricing.rate put all in one currency."
        )
    head = ["model", "region", "input tokens", "low", "expected", "high", "in file batches", "too long"]
    costs = [(offer.model, offer.cost if offer.currency == own else None) for offer in offers]
    return Table("The same rows elsewhere", head, rows, words=2, note=note, drawings=_drawn(draw, costs))


def _noted(estimate: Estimate) -> list[Offer]:
    seen: dict[tuple[str, str | None], Offer] = {}
    for offer in estimate.compare:
        if offer.note:
            seen.setdefault((offer.model, offer.note), offer)
    return list(seen.values())


def _amounts(span: Span[Decimal] | None, currency: str, share: Decimal = Decimal(1)) -> list[str]:
    values = (None, None, None) if span is None else (span.low, span.expected, span.high)
    return ["unknown" if value is None else money(value * share, currency) for value in values]


def _one(span: Span[Decimal] | None, currency: str) -> str:
    """Return what is expected, else the range."""
    if span is None:
        return "-"
    if span.expected is not None:
        return money(span.expected, currency)
    low, _, high = _amounts(span, currency)
    return f"{low} to {high}"


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
