"""What runs cost, to be laid beside a vendor's bill: `batchgen cost DIR...`.

Rows are summed by day, model, key, workspace, lane and direction (input, cached input, output, thinking). Where a row's
stored cost is not what today's prices give for its tokens (prices have changed, attempts of several sizes), the stored
cost is divided in proportion, so that the sums are always those of the results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.files.compute import pc
from batchgen.money.prices import ModelPrice, Price
from batchgen.providers import VENDORS
from batchgen.report.accumulate import part_batches
from batchgen.report.lanes import LanesOfRun
from batchgen.report.new_prices import RunPrices, with_changes
from batchgen.results.committed import Committed
from batchgen.storage.run_state import EndpointShown, RunState, read_state
from batchgen.text.figures import quantity
from batchgen.values import SMALLEST_AMOUNT

INPUT, CACHED, OUTPUT, THINKING, UNDIVIDED = "input", "cached input", "output", "thinking", "undivided"
DIRECTIONS = (INPUT, CACHED, OUTPUT, THINKING, UNDIVIDED)
GROUPS = ("day", "model", "endpoint", "key", "workspace", "lane", "direction")
_MILLION = 1_000_000
_NOTHING = Decimal(0)


class CostLine(Struct, frozen=True):
    """Tokens and money of one group. What it is not grouped by is empty; `cost` is None where no price was known.

    `simulated`: the built-in simulator answered, and nothing was charged.
    """

    day: str
    model: str
    endpoint: str
    key: str
    workspace: str
    lane: str
    direction: str
    tokens: int
    cost: Decimal | None
    currency: str
    simulated: bool


class Costs(Struct, frozen=True):
    """Lines, sorted; `notes` say what is in none of them."""

    lines: Sequence[CostLine]
    notes: Sequence[str]

    def totals(self) -> dict[tuple[str, bool], Decimal]:
        """Return the sums by currency and by whether they were simulated."""
        sums: dict[tuple[str, bool], Decimal] = {}
        for line in self.lines:
            if line.cost is not None:
                key = (line.currency, line.simulated)
                sums[key] = sums.get(key, _NOTHING) + line.cost
        return sums


def read_costs(
    directories: Sequence[Path | str],
    *,
    by: Sequence[str] = GROUPS,
    prices: Path | None = None,
    changed: Mapping[str, Any] | None = None,
    zone: str = "UTC",
) -> Costs:
    """Return what the runs of these output directories cost.

    `by`: some of `GROUPS`. `prices` (a file over the shipped prices) or `changed` (job keys of `[pricing]`) price every
    row anew. `zone`: where days begin, as a name of the time zone database or `+08:00`. Raises `OutputError` for what
    is no run, `UsageError` for an unknown group or zone.
    """
    unknown = [name for name in by if name not in GROUPS]
    if unknown:
        raise UsageError(f"--by {unknown[0]}: known are {', '.join(GROUPS)}.")
    _check_zone(zone)
    sums: dict[tuple[Any, ...], tuple[int, Decimal | None]] = {}
    notes: list[str] = []
    for directory in directories:
        state, _ = read_state(Path(directory))
        lines = _Run(Path(directory), state, prices, changed, zone)
        for line in lines:
            key = (*(getattr(line, name) if name in by else "" for name in GROUPS), line.currency, line.simulated)
            tokens, cost = sums.get(key, (0, None))
            both = [one for one in (cost, line.cost) if one is not None]
            sums[key] = (tokens + line.tokens, sum(both, _NOTHING) if both else None)
        notes += lines.notes()
    names = (*GROUPS, "currency", "simulated")
    found = [
        CostLine(**dict(zip(names, key, strict=True)), tokens=tokens, cost=cost) for key, (tokens, cost) in sums.items()
    ]
    found.sort(key=lambda one: (one.simulated, one.currency, *map(str, msgspec.structs.astuple(one)[:6]), _place(one)))
    return Costs([one for one in found if one.tokens or one.cost], notes)


def _place(line: CostLine) -> int:
    return DIRECTIONS.index(line.direction) if line.direction in DIRECTIONS else 0


def _check_zone(zone: str) -> None:
    try:
        pc.cast(pa.array([0], pa.timestamp("us", "UTC")), pa.timestamp("us", zone)).cast(pa.date32())
    except (pa.ArrowException, ValueError):
        raise UsageError(f"--zone {zone}: not a time zone; write +08:00, or a name such as Asia/Shanghai.") from None


class _Run:
    """One run's lines, in no order."""

    def __init__(
        self, path: Path, state: RunState, prices: Path | None, changed: Mapping[str, Any] | None, zone: str
    ) -> None:
        self._path, self._state, self._zone = path, state, zone
        self._anew = prices is not None or bool(changed)
        settings = with_changes(state.settings, changed)
        own = state.settings.get("pricing.file")
        if prices is None and own and Path(str(own)).is_file():
            prices = Path(str(own))
        self._provider = str(settings.get("model.provider"))
        provider = VENDORS.get(self._provider)
        self._key = str(settings.get("model.api_key_env") or (provider.api_key_env if provider is not None else ""))
        self._workspace = str(settings.get("model.workspace") or "")
        self._lanes = LanesOfRun(state)
        self._prices = RunPrices(prices, state, self._lanes, changed)
        self._sites = self._prices.sites
        self._rows = 0

    def __iter__(self) -> Iterator[CostLine]:
        committed = Committed(self._path)
        for batch in part_batches(committed.parts):
            self._rows += batch.num_rows
            for group in self._groups(batch):
                yield from self._lines(group)

    def notes(self) -> Iterator[str]:
        """Yield what is charged, or may be, and in no line."""
        told = self._state.summary
        if (left := told.succeeded + told.failed - self._rows) > 0:
            which = quantity(left, "finished row that cannot be read is", "finished rows that cannot be read are")
            yield f"{self._path}: {which} left out."
        if told.possibly_billed.requests:
            lost = told.possibly_billed
            yield (
                f"{self._path}: {quantity(lost.requests, 'request')} got no answer and may be billed, at most "
                f"{lost.cost} {told.currency or ''}; they are left out."
            )

    def _groups(self, batch: pa.Table) -> list[dict[str, Any]]:
        """Return the rows of a batch summed by all that decides their price."""
        days = batch["finished_at"].cast(pa.timestamp("us", self._zone)).cast(pa.date32())
        told = pc.and_(pc.is_valid(batch["input_tokens"]), pc.is_valid(batch["output_tokens"]))
        tokens = {name: pc.fill_null(batch[name], 0) for name in ("input_tokens", "output_tokens")}
        cached = pc.min_element_wise(pc.fill_null(batch["cached_tokens"], 0), tokens["input_tokens"])
        thinking = pc.min_element_wise(pc.fill_null(batch["reasoning_tokens"], 0), tokens["output_tokens"])
        site = batch["endpoint"] if self._sites else pa.nulls(batch.num_rows, pa.string())
        site = pc.fill_null(site.cast(pa.string()), "")
        model = self._models(batch, site)
        tier = pa.array([0] * batch.num_rows)
        for bound in self._bounds(pc.unique(model).to_pylist()):
            tier = pc.add(tier, pc.cast(pc.greater(tokens["input_tokens"], bound), pa.int64()))
        asked = pc.or_(pc.greater(batch["attempts"], 0), pc.not_equal(pc.fill_null(batch["cost"], 0), 0))
        table = pa.table(
            {
                "day": days.cast(pa.string()),
                "model": model,
                "endpoint": site,
                "lane": self._lanes.of(batch["finished_at"], site),
                "tier": tier,
                "thought": pc.greater(thinking, 0),
                "told": told,
                "free": pc.and_(pc.invert(told), pc.equal(batch["status"], "failed")),
                "priced": pc.is_valid(batch["cost"]),
                "longest": tokens["input_tokens"],
                **tokens,
                "cached": cached,
                "thinking": thinking,
                "cost": batch["cost"],
            }
        ).filter(asked)  # a reused answer may have tokens, but none that were billed
        keys = ["day", "model", "endpoint", "lane", "tier", "thought", "told", "free", "priced"]
        summed = ["input_tokens", "output_tokens", "cached", "thinking", "cost"]
        grouped = table.group_by(keys).aggregate([("longest", "max"), *((name, "sum") for name in summed)])
        found: list[dict[str, Any]] = grouped.to_pylist()
        return found

    def _models(self, batch: pa.Table, site: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """Return the model that each row was asked for; where rows named theirs, the one that answered."""
        if not self._prices.asked:
            return pc.fill_null(batch["model"], "")
        model = pa.array([self._prices.asked] * batch.num_rows)
        for name in self._sites:
            if (own := self._prices.model(name)) != self._prices.asked:
                model = pc.if_else(pc.equal(site, name), own, model)
        return model

    def _bounds(self, models: Sequence[str]) -> list[int]:
        found = (prices(model) for prices in self._prices.all() for model in models)
        prices = [price for price in found if price is not None]
        return sorted({tier.up_to for price in prices for tier in price.tiers if tier.up_to is not None})

    def _lines(self, group: Mapping[str, Any]) -> Iterator[CostLine]:
        model = group["model"]
        site = self._sites.get(group["endpoint"])
        prices = self._prices.at(group["endpoint"], group["lane"])
        price = prices(model) if model else None
        tokens = {
            INPUT: group["input_tokens_sum"] - group["cached_sum"],
            CACHED: group["cached_sum"],
            OUTPUT: group["output_tokens_sum"] - group["thinking_sum"],
            THINKING: group["thinking_sum"],
        }
        stored = group["cost_sum"] if group["priced"] else None
        currency = (prices.currency if self._anew else self._state.summary.currency) or ""
        costs = self._costs(group, price, tokens, stored)
        for direction in DIRECTIONS:
            if direction in costs or tokens.get(direction):
                yield CostLine(
                    str(group["day"] or "unknown"),
                    model or "unknown",
                    group["endpoint"],
                    self._key if site is None else self._key_of(site),
                    self._workspace,
                    group["lane"],
                    direction,
                    tokens.get(direction, 0),
                    costs.get(direction),
                    currency,
                    self._state.simulated,
                )

    def _key_of(self, site: EndpointShown) -> str:
        """Return the variable of an endpoint's key: its own, its own provider's, or the job's."""
        other = VENDORS.get(site.provider) if site.provider != self._provider else None
        return site.api_key_env or (self._key if other is None else other.api_key_env)

    def _costs(
        self, group: Mapping[str, Any], price: ModelPrice | None, tokens: Mapping[str, int], stored: Decimal | None
    ) -> dict[str, Decimal]:
        """Return the cost by direction: anew at today's prices, or the stored one divided by them."""
        computed: dict[str, Decimal] = {}
        if price is not None and group["told"]:
            computed = _at(price.tier(group["longest_max"]), tokens, thought=group["thought"])
        if self._anew:
            return computed
        if stored is None:
            return {}
        whole = sum(computed.values(), _NOTHING)
        if not whole:
            return computed if computed and not stored else {UNDIVIDED: stored}
        if whole == stored:
            return computed
        divided = {name: (cost * stored / whole).quantize(SMALLEST_AMOUNT) for name, cost in computed.items()}
        largest = max(divided, key=lambda name: divided[name])
        divided[largest] += stored - sum(divided.values(), _NOTHING)
        return divided


def _at(tier: Price, tokens: Mapping[str, int], *, thought: bool) -> dict[str, Decimal]:
    output = tier.thinking_output if thought else tier.output
    each = {INPUT: tier.input, CACHED: tier.cached_input, OUTPUT: output, THINKING: output}
    return {name: number * each[name] / _MILLION for name, number in tokens.items() if number}
