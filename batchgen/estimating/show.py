"""What `estimate` prints: aligned plain text for people."""

from __future__ import annotations

from decimal import Decimal

from batchgen.estimating.values import Estimate, Offer, Span
from batchgen.text.figures import duration, money
from batchgen.text.table import table

_METHODS = {"pilot": "pilot", "earlier run": "earlier run of this job"}


def estimate_text(estimate: Estimate) -> str:
    """Return the estimate in a few lines with its notes, then the comparison of models with its notes."""
    currency = estimate.currency or ""
    lines = [
        f"{estimate.job}: {estimate.rows:,} rows of {estimate.input} with {estimate.model}",
        f"input tokens   {estimate.input_tokens:,}, {_counted(estimate)}",
        f"answers        {_answers(estimate)}",
    ]
    if estimate.rows_too_long:
        lines.append(f"too long       {estimate.rows_too_long:,} rows do not fit the model: {_named(estimate)}")
    if estimate.unaskable:
        lines.append(f"no prompt      {estimate.unaskable:,} rows cannot be rendered and will fail, at no cost:")
        lines += [f"               row {row}: {reason}" for row, reason in estimate.unaskable_examples.items()]
    if estimate.paid is not None:
        cost = "" if estimate.paid.cost is None else f" for {money(estimate.paid.cost, currency)}"
        lines.append(f"finished       {estimate.paid.rows:,} rows already{cost}; a run keeps them")
    lines += ["", *table(_summary_rows(estimate)), ""]
    if estimate.price is not None:
        lines.append(f"price          {estimate.price}")
    if estimate.confidence is not None:
        lines.append(
            f"low to high    holds in {estimate.confidence:.0%} of such estimates, each figure by itself, "
            "if the rest is like the sample"
        )
    elif estimate.cost is not None:
        lines.append("low to high    no answers known: low is the input alone, expected and high the longest answers")
    lines += [f"note           {note}" for note in estimate.notes]
    if estimate.compare:
        lines += ["", *table(_compared(estimate.compare), words=2)]
        if estimate.confidence is not None:
            lines.append(f"Answers are taken to be as long as those of {estimate.model}.")
        lines += [f"note           {offer.model}: {offer.note}" for offer in _with_notes(estimate.compare)]
    return "\n".join(lines)


def _counted(estimate: Estimate) -> str:
    if estimate.input_method == "exact":
        return f"counted exactly ({estimate.input_rule})"
    low, high = estimate.input_band
    if (low, high) == (1.0, 1.0):
        return f"by rule ({estimate.input_rule}), corrected by what the provider reported"
    return f"by rule ({estimate.input_rule}): between {low:.2f} and {high:.2f} times that"


def _answers(estimate: Estimate) -> str:
    if estimate.output_method == "max_tokens":
        return "length not known, at most the longest the job allows (--pilot 100 sends 100 random rows to see)"
    return (
        f"lengths of {estimate.sampled:,} rows of {'a' if estimate.output_method == 'pilot' else 'an'} "
        + _METHODS[estimate.output_method]
    )


def _named(estimate: Estimate) -> str:
    more = ", ..." if estimate.rows_too_long > len(estimate.too_long_ids) else ""
    return ", ".join(estimate.too_long_ids) + more


def _summary_rows(estimate: Estimate) -> list[list[str]]:
    tokens, currency = estimate.output_tokens, estimate.currency or ""
    rows = [
        ["", "low", "expected", "high"],
        ["output tokens", *(_number(value) for value in (tokens.low, tokens.expected, tokens.high))],
        ["cost", *_amounts(estimate.cost, currency)],
    ]
    if estimate.batch_cost is not None:
        rows.append(["in file batches", *_amounts(estimate.batch_cost, currency)])
    if estimate.cost is not None and estimate.rows:
        rows.append(["per 1,000 rows", *_amounts(estimate.cost, currency, Decimal(1000) / estimate.rows)])
    time = estimate.duration_s
    values = (None, None, None) if time is None else (time.low, time.expected, time.high)
    rows.append(["duration", *("unknown" if value is None else duration(value) for value in values)])
    return rows


def _compared(offers: list[Offer]) -> list[list[str]]:
    rows = [["model", "region", "input tokens", "low", "expected", "high", "in file batches", "too long"]]
    for offer in offers:
        count = f"{offer.input_tokens:,}" if offer.input_method == "exact" else f"about {offer.input_tokens:,}"
        batch = None if offer.batch_cost is None else offer.batch_cost.expected
        rows.append(
            [
                offer.model,
                offer.region or "no price",
                count,
                *_amounts(offer.cost, offer.currency or ""),
                "-" if batch is None else money(batch, offer.currency or ""),
                f"{offer.rows_too_long:,}",
            ]
        )
    return rows


def _with_notes(offers: list[Offer]) -> list[Offer]:
    seen: dict[tuple[str, str | None], Offer] = {}
    for offer in offers:
        if offer.note:
            seen.setdefault((offer.model, offer.note), offer)
    return list(seen.values())


def _amounts(span: Span[Decimal] | None, currency: str, share: Decimal = Decimal(1)) -> list[str]:
    values = (None, None, None) if span is None else (span.low, span.expected, span.high)
    return ["unknown" if value is None else money(value * share, currency) for value in values]


def _number(value: int | None) -> str:
    return "unbounded" if value is None else f"{value:,}"
