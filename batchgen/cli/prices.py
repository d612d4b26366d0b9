"""`batchgen prices`: the price list as text and as JSON."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.money.price_file import REGIONS
from batchgen.money.prices import ModelPrice, Price, PriceTable, load_prices
from batchgen.text.figures import quantity
from batchgen.text.table import table


class Listed(Struct, frozen=True):
    """One line of the list. `stale`: the price was read more than six months ago."""

    price: ModelPrice
    stale: bool


def select_prices(
    prices: PriceTable, today: dt.date, *, model: str | None = None, region: str | None = None
) -> list[Listed]:
    """Return the prices of a model (or of a pattern such as `qwen3*`) and a region; all prices if these are None.

    Raises `UsageError` with the nearest names when a model has no price.
    """
    chosen = [
        Listed(price, price.is_stale(today))
        for price in prices
        if (model is None or fnmatchcase(price.model, model)) and region in (None, price.region)
    ]
    if model is not None and not chosen:
        raise UsageError(prices.suggestion(model, region or REGIONS[0]))
    return chosen


def prices_text(listed: Sequence[Listed]) -> str:
    """Return a table for each region and currency, then remarks, sources and the prices that are too old."""
    sections = []
    remarks = {note: number for number, note in enumerate(_notes(listed), 1)}
    for region, currency in sorted({(one.price.region, one.price.currency) for one in listed}, reverse=True):
        rows = [
            row
            for one in listed
            if (one.price.region, one.price.currency) == (region, currency)
            for row in _rows(one, remarks)
        ]
        head = ["model", "up to", "input", "output", "thinking", "cached", "batch", "read on", ""]
        sections.append([f"{region}, {currency} per million tokens", *table([head, *rows])])
    if remarks:
        sections.append(["Notes", *(f"  [{number}] {note}" for note, number in remarks.items())])
    sections.append(_sources(listed))
    stale = sorted({one.price.model for one in listed if one.stale})
    if stale:
        sections.append(
            [
                f"More than six months old, to be read again before they are relied on: {', '.join(stale)}.",
                "A file of your own with newer figures goes in with --prices FILE or pricing.file.",
            ]
        )
    return "\n\n".join("\n".join(section) for section in sections)


def prices_json(listed: Sequence[Listed]) -> bytes:
    """Return the list as JSON; money as decimal strings, per million tokens."""
    return msgspec.json.encode([{**msgspec.structs.asdict(one.price), "stale": one.stale} for one in listed])


def _rows(one: Listed, remarks: dict[str, int]) -> list[list[str]]:
    price = one.price
    rows = []
    for number, tier in enumerate(price.tiers):
        first = number == 0
        words = ["old"] if one.stale and first else []
        if price.note and first:
            words.append(f"[{remarks[price.note]}]")
        rows.append(
            [
                price.model if first else "",
                f"{tier.up_to:,}" if tier.up_to is not None else "",
                *_figures(tier),
                ("-" if price.batch_factor is None else f"{price.batch_factor:.0%}") if first else "",
                str(price.price_date) if first else "",
                " ".join(words),
            ]
        )
    return rows


def _figures(tier: Price) -> list[str]:
    thinking = _plain(tier.thinking_output) if tier.thinking_output != tier.output else ""
    return [_plain(tier.input), _plain(tier.output), thinking, _plain(tier.cached_input)]


def _plain(price: Decimal) -> str:
    return f"{price.normalize():f}"


def _notes(listed: Sequence[Listed]) -> list[str]:
    return list(dict.fromkeys(one.price.note for one in listed if one.price.note))


def _sources(listed: Sequence[Listed]) -> list[str]:
    found: dict[tuple[str, dt.date | None], int] = {}
    for one in listed:
        key = (one.price.price_source, one.price.price_date)
        found[key] = found.get(key, 0) + 1
    lines = sorted(found.items(), key=lambda pair: (-pair[1], pair[0][0]))
    return ["Sources", *(f"  {source} ({date}): {quantity(number, 'price')}" for (source, date), number in lines)]


def show_prices(file: str | None, *, model: str | None, region: str | None, as_json: bool) -> None:
    """Print the list on stdout. Raises `JobError` for what is wrong in `file`, `UsageError` for an unknown model."""
    prices = load_prices(Path(file) if file else None)
    listed = select_prices(prices, dt.datetime.now(dt.UTC).date(), model=model, region=region)
    click.echo(prices_json(listed) if as_json else prices_text(listed))
