"""Published rows priced anew: `batchgen report DIR --prices FILE`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchgen.errors import JobError
from batchgen.money.job_prices import JobPrices
from batchgen.money.prices import ModelPrice, PriceTable, load_prices
from batchgen.money.terms import terms_of_settings
from batchgen.providers import VENDORS
from batchgen.providers.lane import LIVE
from batchgen.providers.vendors import region_of
from batchgen.report.lanes import LanesOfRun
from batchgen.storage.run_state import RunState
from batchgen.values import SMALLEST_AMOUNT, Usage


def prices_of_run(
    file: Path | None, settings: Mapping[str, Any], lane: str | None = None, *, also: Collection[str] = ()
) -> JobPrices:
    """Return prices for a finished run, by the shipped list with `file` over it, in the run's region and on its terms.

    `settings` are the run's (`run.json`), with what is to be different now; `lane` is another than theirs; `also` are
    names that endpoints have for the model. Raises `JobError`.
    """
    provider = VENDORS.get(str(settings.get("model.provider")))
    base_url = settings.get("model.base_url") or (provider.base_url if provider is not None else "")
    region = settings.get("pricing.region") or region_of(str(base_url))
    asked = str(settings.get("model.name") or "")
    jobs_own = file is None or str(file) == str(settings.get("pricing.file"))  # a file given now is over the job's own
    table = load_prices(file, _models_of_settings(settings, {asked, *also}) if jobs_own else None)
    if settings.get("pricing.free") and file is None:
        table = PriceTable({}, free=True)
    terms = terms_of_settings(settings)
    lane = lane or str(settings.get("model.lane") or LIVE)
    table = table.changed(terms.applied) if terms else table
    found = JobPrices(table.changed(lambda price: price.in_lane(lane) or price), region, asked)
    price = found(asked) if asked else None
    if price is not None and (missing := terms.missing_rate(price)):
        raise JobError(missing)
    return found


def _models_of_settings(settings: Mapping[str, Any], asked: Collection[str]) -> dict[str, Any]:
    """Return `[pricing.models]` of a run for the models asked, and for those that they take their prices of."""
    names = {*asked, *(str(settings.get(f"pricing.models.{name}.prices_of") or name) for name in asked)} - {""}
    found: dict[str, Any] = {}
    for name in names:  # a name may have dots, so that keys are found by names and not the other way
        prefix = f"pricing.models.{name}."
        for key in (key for key in settings if key.startswith(prefix)):
            *tables, last = key.removeprefix(prefix).split(".")
            entry = found.setdefault(name, {})
            for table in tables:
                entry = entry.setdefault(table, {})
            entry[last] = settings[key]
    return found


def with_changes(settings: Mapping[str, Any], changed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a run's settings with other `[pricing]` keys; another currency or rate takes the place of all rates."""
    changed = changed or {}
    other = any(key.startswith(("pricing.currency", "pricing.rate.")) for key in changed)
    kept = {key: value for key, value in settings.items() if not (other and key.startswith("pricing.rate."))}
    return {**kept, **changed}


class RunPrices:
    """What the rows of a run were asked for, and at which prices, by the endpoint that answered and by the lane.

    `file` and `changed` are as for `prices_of_run` and `with_changes`; a region in `changed` is that of all endpoints.
    Rows whose endpoint is unknown or "" are those of a job with one. Raises `JobError`.
    """

    def __init__(
        self, file: Path | None, state: RunState, lanes: LanesOfRun, changed: Mapping[str, Any] | None
    ) -> None:
        settings = with_changes(state.settings, changed)
        self.asked = str(settings.get("model.name") or "")
        self.sites = {one.endpoint: one for one in state.summary.endpoints}
        self._regions = {} if "pricing.region" in (changed or {}) else {n: one.region for n, one in self.sites.items()}
        also = {one.model for one in self.sites.values()}
        self._prices = {
            (lane, region): prices_of_run(
                file, {**settings, "pricing.region": region} if region else settings, lane, also=also
            )
            for lane in lanes.names
            for region in {"", *self._regions.values()}
        }

    def model(self, endpoint: str) -> str:
        """Return the model that rows were asked for at an endpoint; empty where each row named its own."""
        site = self.sites.get(endpoint)
        return site.model or self.asked if site is not None and self.asked else self.asked

    def at(self, endpoint: str, lane: str) -> JobPrices:
        """Return the prices at an endpoint in a lane."""
        return self._prices[lane, self._regions.get(endpoint, "")]

    def all(self) -> Collection[JobPrices]:
        """Return the prices of all endpoints and lanes."""
        return self._prices.values()


class NewPrices:
    """Prices rows by the model that was asked, in the region where it was; where rows named theirs, by what answered.

    `state` is the run's, `changed` are keys of `[pricing]`.

    A row is priced by the sums of its tokens, all its attempts together. Prices in
    another currency than the first one found count as unknown.
    """

    def __init__(self, file: Path | None, state: RunState, changed: Mapping[str, Any] | None) -> None:
        self._lanes = LanesOfRun(state)
        self._prices = RunPrices(file, state, self._lanes, changed)
        self._used: dict[tuple[str, str], ModelPrice] = {}

    @property
    def currency(self) -> str | None:
        """The currency of the new costs."""
        return next((found.currency for found in self._prices.all() if found.currency), None)

    @property
    def dates(self) -> list[str]:
        """The days of the prices that were used."""
        return sorted({str(price.price_date) for price in self._used.values()})

    @property
    def sources(self) -> list[str]:
        """Where the prices that were used are from."""
        return sorted({price.price_source for price in self._used.values()})

    def priced(self, batch: pa.Table) -> pa.Table:
        """Return the rows with their new costs; null where the model has no price or no tokens were reported."""
        tokens = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
        used = (Usage(*row) for row in zip(*(batch[name].to_pylist() for name in tokens), strict=True))
        sites = batch["endpoint"] if self._prices.sites else pa.nulls(batch.num_rows, pa.string())
        lanes = self._lanes.of(batch["finished_at"], sites).to_pylist()
        words = (batch["model"].to_pylist(), batch["status"].to_pylist(), sites.to_pylist())
        rows = zip(*words, lanes, used, strict=True)
        costs = [self._cost(*row) for row in rows]
        place = batch.schema.get_field_index("cost")
        return batch.set_column(place, batch.schema.field(place), pa.array(costs, batch.schema.field(place).type))

    def _cost(self, answered: str | None, status: str, endpoint: str | None, lane: str, usage: Usage) -> Decimal | None:
        name = self._prices.model(endpoint or "") or answered or ""
        price = self._prices.at(endpoint or "", lane)(name)
        if price is None:
            return None
        self._used[name, price.region] = price
        if usage.input_tokens is None and status == "failed":
            return Decimal(0)
        cost = price.cost(usage)
        return None if cost is None else (cost.input + cost.output).quantize(SMALLEST_AMOUNT)
