"""Reads price files: TOML in the format described at the top of `prices.toml`. Errors name file, model and key."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from batchgen.errors import JobError
from batchgen.nearest import nearest

DECIMAL_PLACES = 4
"""The most decimal places of a price per million tokens. 20 %, 125 % and 50 % of it then fit twelve places per
token."""

_HIGHEST = 10_000
_DEAREST_TIER = 100
_PRICE_KEYS = ("input", "output", "thinking_output", "cached_input", "cache_write", "audio_input")
_UNKNOWN_KEY = re.compile(r"unknown field `(.*)`")

Tokens = Annotated[int, Meta(gt=0)]
Lane = Literal["flex", "batch-chat", "batch"]
"""The lanes of `model.lane` that have a price of their own."""

_T = TypeVar("_T", bound=Struct)


class TierEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price per million tokens, for inputs of up to `up_to` tokens (None: of any length)."""

    input: Decimal
    output: Decimal
    up_to: Tokens | None = None
    thinking_output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    audio_input: Decimal | None = None


class RegionEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[models.NAME.REGION]`, or `[models.NAME]` for all regions: a price, or tiers of them."""

    input: Decimal | None = None
    output: Decimal | None = None
    thinking_output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    audio_input: Decimal | None = None
    tiers: list[TierEntry] | None = None
    batch: bool | None = None
    batch_cache: bool = False
    currency: str | None = None
    source: str | None = None
    date: dt.date | None = None
    note: str | None = None


class ModelEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[models.NAME]`."""

    service_tiers: dict[str, Decimal] | None = None
    lanes: dict[Lane, Decimal] | None = None
    max_input: Tokens | None = None
    max_output: Tokens | None = None
    max_thinking: Tokens | None = None
    max_media_tokens: Tokens | None = None
    audio_tokens_per_second: Tokens | None = None
    extra_thinking: Literal["on", "off", "always"] | None = None
    prices_of: str | None = None
    note: str | None = None
    international: RegionEntry | None = None
    beijing: RegionEntry | None = None


class PriceSource(Struct, frozen=True, forbid_unknown_fields=True):
    """`[sources.NAME]`. `batch`: whether models have batches whose prices from there do not say it."""

    url: str
    date: dt.date
    batch: bool = True


class RegionDefaults(Struct, frozen=True, forbid_unknown_fields=True):
    """`[regions.NAME]`."""

    currency: str
    source: str


class PriceFile(Struct, frozen=True):
    """A price file that was read and checked, with what a price leaves out filled in from its region and source."""

    models: Mapping[str, ModelEntry]
    sources: Mapping[str, PriceSource]
    regions: Mapping[str, RegionDefaults]


REGIONS = ("international", "beijing")
_REGION_KEYS = frozenset(RegionEntry.__struct_fields__) - {"note"}


def read_price_file(path: Path, *, below: PriceFile | None = None) -> PriceFile:
    """Return the models of a price file merged into those of `below`: a model's keys and whole regions replace theirs.

    Raises JobError naming file, model and key for anything that the format does not allow.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except OSError as error:
        raise JobError(f"The price file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobError(f"The price file {path} is not valid TOML: {error}.") from error
    return parse_prices(raw, str(path), below=below)


def parse_prices(
    raw: Mapping[str, Any], path: str, *, below: PriceFile | None = None, source: str | None = None
) -> PriceFile:
    """Return the models of a decoded price file merged into those of `below`. Errors name the file as `path`.

    `source` is the source of prices that name none; they need no date then. Raises JobError as `read_price_file`.
    """
    for key in raw:
        if key not in ("models", "sources", "regions"):
            hint = f'; write [models."{key}"]' if isinstance(raw[key], dict) else ""
            raise JobError(f"{path}: unknown key `{key}`; a price file has [models], [sources] and [regions]{hint}.")
    raw = {**raw, "models": _spread(raw.get("models", {}))}
    sources = dict(below.sources if below else {}) | _entries(path, raw, "sources", PriceSource)
    own_regions = _entries(path, raw, "regions", RegionDefaults)
    for name in own_regions:
        if name not in REGIONS:
            raise JobError(f"{path}, regions.{name}: unknown region; there are {' and '.join(REGIONS)}.")
    regions = dict(below.regions if below else {}) | own_regions
    models = dict(below.models) if below else {}
    for name, entry in _entries(path, raw, "models", ModelEntry).items():
        for key, factors in (("service_tiers", entry.service_tiers), ("lanes", entry.lanes)):
            for word, factor in (factors or {}).items():
                if not 0 < factor <= _DEAREST_TIER:
                    raise JobError(f"{path}, model {name}, {key}.{word}: {factor} is no factor of a price.")
        own: dict[str, RegionEntry | None] = {}
        for region in REGIONS:
            price: RegionEntry | None = getattr(entry, region)
            if price is not None:
                price = _with_defaults(price, regions.get(region), own_source=region in own_regions)
                price = _checked(f"{path}, model {name}.{region}", price, sources, source)
            own[region] = price
        stated = {key for key in ModelEntry.__struct_fields__ if getattr(entry, key) is not None}
        if entry.prices_of is not None:
            stated.update(REGIONS)  # `prices_of` replaces the prices of `below`
        over = msgspec.structs.replace(entry, **own)
        if name in models:
            models[name] = msgspec.structs.replace(models[name], **{key: getattr(over, key) for key in stated})
        else:
            models[name] = over
    for name, entry in models.items():
        if entry.prices_of is not None and (entry.prices_of not in models or models[entry.prices_of].prices_of):
            raise JobError(f"{path}, model {name}, prices_of: `{entry.prices_of}` is not a model with its own prices.")
    return PriceFile(models, sources, regions)


def _spread(models: Any) -> Any:
    """Return `[models]` with the prices given for a model without a region copied to each region."""
    if not isinstance(models, dict):
        return models
    spread = dict(models)
    for name, entry in models.items():
        if isinstance(entry, dict) and {"input", "output", "tiers"} & entry.keys() and not {*REGIONS} & entry.keys():
            price = {key: value for key, value in entry.items() if key in _REGION_KEYS}
            rest = {key: value for key, value in entry.items() if key not in _REGION_KEYS}
            spread[name] = {**rest, **dict.fromkeys(REGIONS, price)}
    return spread


def _entries(path: str, raw: Mapping[str, Any], section: str, type_: type[_T]) -> dict[str, _T]:
    table = raw.get(section, {})
    if not isinstance(table, dict):
        raise JobError(f"{path}: `{section}` must be a table.")
    word = section.removesuffix("s")
    entries = {}
    for name, value in table.items():
        try:
            entries[name] = msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            raise JobError(f"{path}, {word} {name}: {_explained(str(error), name, value)}") from error
    return entries


def _explained(message: str, name: str, value: Any) -> str:
    unknown = _UNKNOWN_KEY.search(message)
    if unknown is None:
        return message + "."
    key = unknown[1]
    if isinstance(value, dict) and isinstance(value.get(key), dict) and key[:1].isdigit():
        return f'unknown key `{key}`; quote names with a dot: [models."{name}.{key}"].'
    known = {
        f
        for entry in (TierEntry, RegionEntry, ModelEntry, PriceSource, RegionDefaults)
        for f in entry.__struct_fields__
    }
    if isinstance(value, dict) and isinstance(value.get(key), dict) and key not in known:
        return f"unknown region `{key}`; there are {' and '.join(REGIONS)}."
    near = nearest(key, known)
    return message + (f"; did you mean `{near}`?" if near else ".")


def _with_defaults(entry: RegionEntry, region: RegionDefaults | None, *, own_source: bool) -> RegionEntry:
    """Fill in the region's currency, and its source if the same file names one: every price states its source."""
    if region is None:
        return entry
    source = entry.source or (region.source if own_source else None)
    return msgspec.structs.replace(entry, currency=entry.currency or region.currency, source=source)


def _checked(where: str, entry: RegionEntry, sources: Mapping[str, PriceSource], source: str | None) -> RegionEntry:
    """Return the entry with its prices as `tiers` and with the date and address of its source."""
    if entry.tiers is not None:
        clash = [key for key in _PRICE_KEYS if getattr(entry, key) is not None]
        if clash:
            raise JobError(f"{where}, {clash[0]}: with `tiers`, prices stand in the tiers.")
        tiers = entry.tiers
    elif entry.input is None or entry.output is None:
        missing = "input" if entry.input is None else "output"
        raise JobError(f"{where}, {missing}: missing; give `input` and `output`, or `tiers`.")
    else:
        tiers = [TierEntry(**{key: getattr(entry, key) for key in _PRICE_KEYS})]
    _check_tiers(where, tiers)
    if entry.source is None and source is None:
        raise JobError(f"{where}, source: missing; say where the price is from (and its `date`).")
    named = sources.get(entry.source or "")
    date = entry.date or (named.date if named else None)
    if date is None and source is None:
        raise JobError(
            f'{where}, source: there is no [sources."{entry.source}"]; add it, or a `date` beside the source.'
        )
    if entry.currency is None:
        raise JobError(f'{where}, currency: missing; add it, for example currency = "USD".')
    batch = entry.batch if entry.batch is not None else named is None or named.batch
    told = named.url if named else entry.source or source
    return msgspec.structs.replace(entry, tiers=tiers, source=told, date=date, batch=batch)


def _check_tiers(where: str, tiers: list[TierEntry]) -> None:
    if not tiers:
        raise JobError(f"{where}, tiers: empty.")
    below = 0
    for number, tier in enumerate(tiers, 1):
        at = f"{where}, tier {number}" if len(tiers) > 1 else where
        for key in _PRICE_KEYS:
            price: Decimal | None = getattr(tier, key)
            if price is None:
                continue
            if not price.is_finite() or not 0 <= price <= _HIGHEST:
                raise JobError(f"{at}, {key}: {price} is not a price per million tokens (0 to {_HIGHEST}).")
            if price != round(price, DECIMAL_PLACES):
                raise JobError(f"{at}, {key}: {price} has more than {DECIMAL_PLACES} decimal places.")
        if tier.up_to is None and number < len(tiers):
            raise JobError(f"{at}, up_to: missing; only the last tier may have no upper bound.")
        if tier.up_to is not None:
            if tier.up_to <= below:
                raise JobError(f"{at}, up_to: {tier.up_to} is not above the tier before it.")
            below = tier.up_to
