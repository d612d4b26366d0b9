"""Prices and exact costs. The prices are data: the shipped `prices.toml`, a user's price file, and those in the job.

Rules, with their source (provider-neutral unless a price says otherwise):

- The input length of a request decides its tier, and all its tokens, input and output, are charged at that tier; the
  upper bound belongs to the lower tier (https://help.aliyun.com/zh/model-studio/model-pricing).
- Thinking tokens are output tokens; some models charge all output of a request that thought at a higher price (same).
- Cached input costs 20 % of input, input written to a cache on request 125 %, unless a price is stated. A hit of the
  explicit cache would be 10 %, but `usage` does not tell the two apart, so the higher figure is charged
  (https://www.alibabacloud.com/help/en/model-studio/context-cache).
- File batches cost half of input and output, with no cache discount
  (https://docs.qwencloud.com/developer-guides/text-generation/batch).
"""

from __future__ import annotations

import copy
import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from batchgen.money.price_file import REGIONS, ModelEntry, RegionEntry, TierEntry, parse_prices, read_price_file
from batchgen.values import SMALLEST_AMOUNT, Cost, Usage

INTERNATIONAL, BEIJING = REGIONS
STALE_AFTER = dt.timedelta(days=183)
OUTPUT_SLACK = 10
"""Tokens by which an answer may exceed `max_completion_tokens`
(https://docs.qwencloud.com/api-reference/chat/dashscope)."""

_CACHED = Decimal("0.20")
_CACHE_WRITE = Decimal("1.25")
_BATCH = Decimal("0.5")
_LONG_CACHE = Decimal(2)
"""The price of input that is written to a cache for an hour, as a factor of the input's
(https://platform.claude.com/docs/en/about-claude/pricing)."""

_NONE, _ONE = Decimal(0), Decimal(1)
_OTHER_PRICES = ("flex", "batch", "priority", "fast", "performance", "turbo", "premium")
"""Classes of service with a price of their own; all other words mean the ordinary one."""

_MILLIONTH = Decimal("1e-6")  # multiplying is exact, and quicker than dividing
_SNAPSHOT = re.compile(r"-(latest|\d{4}-\d{2}-\d{2}|\d{4})$")


class Price(Struct, frozen=True, gc=False):
    """Prices per million tokens for requests of up to `up_to` input tokens (None: of any length). `audio_input` is that
    of recordings, None where it is not known."""

    up_to: int | None
    input: Decimal
    output: Decimal
    thinking_output: Decimal
    cached_input: Decimal
    cache_write: Decimal
    audio_input: Decimal | None = None

    def times(self, factor: Decimal) -> Price:
        """Return the prices times a factor, to six places, so that a cost has twelve at most."""
        each = (self.input, self.output, self.thinking_output, self.cached_input, self.cache_write, self.audio_input)
        return Price(self.up_to, *((price * factor).quantize(_MILLIONTH) for price in each if price is not None))


class ModelPrice(Struct, frozen=True):
    """What one model costs in one region, and the limits that bound the cost of one request.

    `tiers` are in ascending order of `up_to`. `price_date` is the day on which the price was read at `price_source`;
    None for a job's own price. `batch_factor` is the price of a batch as a share of the ordinary one; None if the
    model has no batches; `batch_cache`: the prices of the cache hold inside of them, too. `extra_thinking` and the
    limits are those of `prices.toml`; None where not known.
    """

    model: str
    region: str
    currency: str
    tiers: tuple[Price, ...]
    price_date: dt.date | None
    price_source: str
    batch_factor: Decimal | None = None
    note: str | None = None
    max_input: int | None = None
    max_output: int | None = None
    max_thinking: int | None = None
    max_media_tokens: int | None = None
    audio_tokens_per_second: int | None = None
    extra_thinking: str | None = None
    service_tiers: Mapping[str, Decimal] = {}
    lanes: Mapping[str, Decimal] = {}
    batch_cache: bool = False

    def tier(self, input_tokens: int) -> Price:
        """Return the tier of a request with this many input tokens; the last tier beyond the last bound."""
        for price in self.tiers:
            if price.up_to is None or input_tokens <= price.up_to:
                return price
        return self.tiers[-1]

    def service_factor(self, asked: str | None, answered: str | None) -> Decimal | None:
        """Return the price factor of the class of service that answered; None if its price is not known.

        `asked` is the class that the job asks for, for which these prices may be meant.
        """
        if answered is None:
            return _ONE
        factor = self.service_tiers.get(answered.lower())
        if factor is not None:
            return factor
        return None if answered.lower() in _OTHER_PRICES and answered != asked else _ONE

    def worst_factor(self, asked: object) -> Decimal:
        """Return the most that the class of service which answers can cost, as a factor; never less than the ordinary.

        A class that is asked for may be answered by the ordinary one. Where none is, or `auto`, the account's own
        settings decide: it may be any (https://platform.openai.com/docs/api-reference/chat/create).
        """
        if isinstance(asked, str) and asked.lower() not in ("", "auto"):
            return max(_ONE, self.service_tiers.get(asked.lower(), _ONE))
        return max(_ONE, *self.service_tiers.values()) if self.service_tiers else _ONE

    def cost(self, usage: Usage, *, thinking: bool | None = None, factor: Decimal = _ONE) -> Cost | None:
        """Return what the provider charges for one request; None if it did not report input and output tokens, or
        reports recordings whose price is not known.

        `thinking`: whether the model thought; None means that `reasoning_tokens` > 0 tells. `factor` is that of
        `service_factor`. The cost has at most twelve decimal places, so that it fits decimal128(20, 12). More cached
        tokens than input tokens count as all of the input.
        """
        input_tokens, output_tokens = usage.input_tokens, usage.output_tokens
        if input_tokens is None or output_tokens is None:
            return None
        price = self.tiers[0] if len(self.tiers) == 1 else self.tier(input_tokens)
        if thinking is None:
            thinking = bool(usage.reasoning_tokens)
        if usage.cached_tokens or usage.cache_write_tokens:
            cached = min(usage.cached_tokens or 0, input_tokens)
            written = min(usage.cache_write_tokens or 0, input_tokens - cached)
            input_cost = (
                (input_tokens - cached - written) * price.input
                + cached * price.cached_input
                + written * price.cache_write
            )
            if usage.long_cache_tokens:
                long = min(usage.long_cache_tokens, written)
                input_cost += long * max(_NONE, _LONG_CACHE * price.input - price.cache_write)
        else:
            input_cost = input_tokens * price.input
        if usage.audio_tokens:
            if price.audio_input is None:
                return None
            input_cost += usage.audio_tokens * (price.audio_input - price.input)
        output_cost = output_tokens * (price.thinking_output if thinking else price.output)
        if factor is not _ONE:
            factor *= _MILLIONTH
            return Cost(
                (input_cost * factor).quantize(SMALLEST_AMOUNT), (output_cost * factor).quantize(SMALLEST_AMOUNT)
            )
        return Cost(input_cost * _MILLIONTH, output_cost * _MILLIONTH)

    def worst_case(self, input_tokens: int, max_tokens: int | None) -> Decimal | None:
        """Return the most that one request can cost if it has at most these tokens; None if nothing bounds them.

        `max_tokens` bounds all its output, thinking included (see `output_bound`); None stands for `max_output`. The
        bound is that of the most expensive tier for inputs of that length or less, with the input at the price of a
        cache write and the output at that of thinking where these are higher.
        """
        if max_tokens is None:
            max_tokens = self.max_output
        if max_tokens is None:
            return None
        worst = Decimal(0)
        below = -1  # the upper bound of the tier before
        last = len(self.tiers) - 1
        for number, price in enumerate(self.tiers):
            if input_tokens <= below:
                break
            most = input_tokens if number == last or price.up_to is None else min(input_tokens, price.up_to)
            cost = most * max(price.input, price.cached_input, price.cache_write) + max_tokens * max(
                price.output, price.thinking_output
            )
            worst = max(worst, cost)
            below = most
        return worst * _MILLIONTH

    def output_bound(self, parameters: Mapping[str, Any]) -> int | None:
        """Return the most output tokens, thinking included, of a request with these parameters; None if unbounded.

        It is `answer_bound` and the few tokens by which an answer may exceed its limit, which a budget has to cover.
        """
        bound = answer_bound(self, parameters)
        return None if bound is None else bound + _choices(parameters) * OUTPUT_SLACK

    def batch(self, factor: Decimal | None = None) -> ModelPrice | None:
        """Return the price inside a batch: `batch_factor` of input and output, mostly without a cache discount."""
        factor = factor or self.batch_factor
        if self.free or factor is None:
            return self if self.free else None
        tiers = self.tiers
        if not self.batch_cache:
            tiers = tuple(structs.replace(tier, cached_input=tier.input, cache_write=tier.input) for tier in tiers)
        return structs.replace(
            self, batch_factor=None, service_tiers={}, tiers=tuple(tier.times(factor) for tier in tiers)
        )

    def in_lane(self, lane: str) -> ModelPrice | None:
        """Return the price in a lane (`model.lane`), None where none is known; prices of its own come first.

        Flex keeps the cache discount; Batch Chat has the price of a batch.
        """
        if lane in ("batch", "batch-chat"):
            return self.batch(self.lanes.get(lane))
        factor = _ONE if lane == "live" else self.service_tiers.get(lane)
        return None if factor is None else self._times(factor)

    def _times(self, factor: Decimal) -> ModelPrice:
        return structs.replace(self, service_tiers={}, tiers=tuple(tier.times(factor) for tier in self.tiers))

    def billed_in(self, lane: str) -> ModelPrice | None:
        """Return the price that replies are billed at in a lane, where they do not name it as their class of service.

        Those of flex and of batches do: in these lanes rows may also be answered by ordinary calls.
        """
        return self.in_lane(lane) if lane == "batch-chat" else self

    def describe(self) -> str:
        """Return the price as one line: tiers, currency, date and source."""
        tiers = []
        for price in self.tiers:
            text = f"{price.input.normalize():f} in, {price.output.normalize():f} out"
            if price.thinking_output != price.output:
                text += f" ({price.thinking_output.normalize():f} when thinking)"
            tiers.append(text if price.up_to is None else f"{text} up to {price.up_to:,} input tokens")
        read = f"{self.price_date}, " if self.price_date else ""
        return f"{self.currency} per million tokens: {'; '.join(tiers)} ({read}{self.price_source})"

    def is_stale(self, today: dt.date) -> bool:
        """Whether the price was read more than six months (183 days) before `today`."""
        return self.price_date is not None and today - self.price_date > STALE_AFTER

    @property
    def free(self) -> bool:
        """Whether every request is free."""
        return not any(tier.input or tier.output or tier.thinking_output or tier.cache_write for tier in self.tiers)


class ModelLimits(Struct, frozen=True):
    """The limits of a request to a model, in tokens, as in `prices.toml`; None where not known."""

    max_input: int | None = None
    max_output: int | None = None
    max_thinking: int | None = None
    extra_thinking: str | None = None


def answer_bound(limits: ModelPrice | ModelLimits, parameters: Mapping[str, Any]) -> int | None:
    """Return the most output tokens that a request's parameters and the model's limits allow; None if unbounded.

    `max_completion_tokens` limits answer and thinking; `max_tokens` only the answer where `extra_thinking` is set, so
    that `thinking_budget` or the model's `max_thinking` comes on top
    (https://www.alibabacloud.com/help/en/model-studio/api-compatibility-upgrade-notice). `n` answers cost n times.
    """
    bound = parameters.get("max_completion_tokens")
    if bound is None:
        bound = parameters.get("max_tokens")
        bound = limits.max_output if bound is None else bound
        if _thinks_beyond(limits, parameters):
            thinking = parameters.get("thinking_budget")
            thinking = limits.max_thinking if thinking is None else thinking
            bound = bound + thinking if isinstance(bound, int) and isinstance(thinking, int) else None
    choices = _choices(parameters)
    return choices * bound if isinstance(bound, int) and choices else None


def _choices(parameters: Mapping[str, Any]) -> int:
    """Return the number of answers that a request is charged for; 0 if the parameters do not hold a number."""
    counts = [parameters.get(name) or 1 for name in ("n", "best_of")]
    return max(counts) if all(isinstance(count, int) for count in counts) else 0


def _thinks_beyond(limits: ModelPrice | ModelLimits, parameters: Mapping[str, Any]) -> bool:
    if limits.extra_thinking in (None, "always"):
        return limits.extra_thinking is not None
    return bool(parameters.get("enable_thinking", limits.extra_thinking == "on"))


class PriceTable:
    """All known prices, by model and region. Iterating yields every `ModelPrice`, in the order of name and region.

    `free`: every model costs nothing, which the currency of the sums says too.
    """

    def __init__(self, models: Mapping[str, ModelEntry], *, free: bool = False) -> None:
        self._free = free
        self._limits = {
            name: ModelLimits(entry.max_input, entry.max_output, entry.max_thinking, entry.extra_thinking)
            for name, entry in models.items()
        }
        self._prices: dict[tuple[str, str], ModelPrice] = {}
        for name, entry in models.items():
            priced = models[entry.prices_of] if entry.prices_of else entry
            for region in REGIONS:
                price: RegionEntry | None = getattr(entry, region) or getattr(priced, region)
                if price is not None:
                    self._prices[name, region] = _model_price(name, region, entry, price)

    def __iter__(self) -> Iterator[ModelPrice]:
        return iter(sorted(self._prices.values(), key=lambda price: (price.model, price.region)))

    def find(self, model: str, region: str) -> ModelPrice | None:
        """Return the price of exactly this name, or None.

        Snapshots (`qwen-plus-2025-07-28`, `-latest`) have a price only if they are listed: some cost another price than
        their base name. `suggestion` returns the warning for the user.
        """
        if self._free:
            return ModelPrice(model, region, "USD", (Price(None, *[Decimal(0)] * 6),), None, "pricing.free of the job")
        return self._prices.get((model, region))

    def changed(self, change: Callable[[ModelPrice], ModelPrice]) -> PriceTable:
        """Return the table with every price changed."""
        other = copy.copy(self)
        other._prices = {key: change(price) for key, price in self._prices.items()}
        return other

    def limits(self, model: str) -> ModelLimits | None:
        """Return the limits of a model, which may have no price; None for a model that is not listed."""
        return self._limits.get(model)

    def suggestion(self, model: str, region: str) -> str:
        """Return a sentence for a model that `find` does not know, with the nearest names and what to do."""
        other = [name for name in REGIONS if name != region and (model, name) in self._prices]
        names = [name for name, listed in self._prices if listed == region]
        base = _SNAPSHOT.sub("", model)
        near = [base] if base != model and base in names else difflib.get_close_matches(model, names, n=3)
        hint = "."
        if other:
            hint = f"; it has one in {other[0]} (pricing.region)."
        elif near:
            hint = f"; did you mean {' or '.join(near)}?"
        return (
            f"No price is known for {model} in the region {region}{hint} Its cost stays empty; give its price under "
            f'[pricing.models."{model}"] (input, output, currency), or set pricing.free = true for your own server.'
        )


def load_prices(extra: Path | None = None, own: Mapping[str, Any] | None = None) -> PriceTable:
    """Return the shipped prices, with those of the file `extra` merged into them, and a job's `[pricing.models]` into
    these.

    A model's keys and whole regions replace the earlier ones. Raises JobError naming file, model and key.
    """
    with resources.as_file(resources.files("batchgen.money") / "prices.toml") as path:
        table = read_price_file(path)
    if extra is not None:
        table = read_price_file(extra, below=table)
    if own:
        table = parse_prices({"models": own}, "pricing", below=table, source="the job file")
    return PriceTable(table.models)


def _model_price(name: str, region: str, model: ModelEntry, price: RegionEntry) -> ModelPrice:
    assert price.tiers is not None
    lanes = {str(name): factor for name, factor in (model.lanes or {}).items()}
    return ModelPrice(
        model=name,
        region=region,
        currency=str(price.currency),
        tiers=tuple(_price(tier) for tier in price.tiers),
        price_date=price.date,
        price_source=str(price.source),
        batch_factor=_BATCH if price.batch else None,
        batch_cache=price.batch_cache,
        note="; ".join(note for note in (model.note, price.note) if note) or None,
        max_input=model.max_input,
        max_output=model.max_output,
        max_thinking=model.max_thinking,
        max_media_tokens=model.max_media_tokens,
        audio_tokens_per_second=model.audio_tokens_per_second,
        extra_thinking=model.extra_thinking,
        service_tiers={**(model.service_tiers or {}), **{k: f for k, f in lanes.items() if k == "flex"}},
        lanes=lanes,
    )


def _price(tier: TierEntry) -> Price:
    return Price(
        tier.up_to,
        tier.input,
        tier.output,
        tier.output if tier.thinking_output is None else tier.thinking_output,
        tier.input * _CACHED if tier.cached_input is None else tier.cached_input,
        tier.input * _CACHE_WRITE if tier.cache_write is None else tier.cache_write,
        tier.audio_input,
    )
