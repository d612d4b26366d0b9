"""The price table as it is shown and checked."""

import datetime as dt
import json

import pytest

from batchgen.cli.prices import prices_json, prices_text, select_prices
from batchgen.errors import UsageError
from batchgen.money.prices import load_prices

TODAY = dt.date(2026, 11, 20)

FILE = """
[sources.list]
url = "a list"
date = 2026-11-01

[models.tiered.international]
currency = "USD"
source = "list"
batch = false
note = "as far as known"
tiers = [
  { input = 0.5, output = 2, thinking_output = 8, up_to = 128_000 },
  { input = 1, output = 4, cached_input = 0.25 },
]

[models.yuan.beijing]
currency = "CNY"
source = "list"
date = 2026-05-20
input = 1.25
output = 3
"""


@pytest.fixture
def table(tmp_path):
    """The shipped prices under a file of two models."""
    path = tmp_path / "prices.toml"
    path.write_text(FILE, encoding="utf-8")
    return load_prices(path)


def test_a_price_in_full(table):
    """Tiers below each other, what costs extra in its column, remarks and sources below."""
    text = prices_text(select_prices(table, TODAY, model="tiered"))
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["international,", "USD", "per", "million", "tokens"]
    assert lines[1] == ["model", "up", "to", "input", "output", "thinking", "cached", "batch", "read", "on"]
    assert lines[2] == ["tiered", "128,000", "0.5", "2", "8", "0.1", "-", "2026-11-01", "[1]"]
    assert lines[3] == ["1", "4", "0.25"]
    assert "  [1] as far as known" in text
    assert "  a list (2026-11-01): 1 price" in text
    assert "six months" not in text


def test_a_price_is_old_after_six_months(table):
    """183 days are fine, 184 are remarked on, in the line and below."""
    fresh, old = (
        prices_text(select_prices(table, day, model="yuan")) for day in (dt.date(2026, 11, 19), dt.date(2026, 11, 20))
    )
    assert "old" not in fresh
    assert "More than six months old, to be read again before they are relied on: yuan." in old
    assert old.splitlines()[2].endswith("old")


def test_regions_and_patterns(table):
    """A region or a pattern narrows the list; money of two regions is never in one table."""
    everything = select_prices(table, TODAY)
    assert {one.price.region for one in everything} == {"international", "beijing"}
    assert len(everything) == len(list(table))
    text = prices_text(everything)
    assert "international, USD per million tokens" in text
    assert "beijing, CNY per million tokens" in text
    only = select_prices(table, TODAY, region="beijing", model="qwen*")
    assert only
    assert all(one.price.region == "beijing" and one.price.model.startswith("qwen") for one in only)


def test_an_unknown_model(table):
    """The nearest names are told."""
    with pytest.raises(UsageError, match="qwen-plus"):
        select_prices(table, TODAY, model="qwen-pluss")


def test_json(table):
    """Each price as an object, money as text."""
    (found,) = json.loads(prices_json(select_prices(table, TODAY, model="tiered")))
    assert found["tiers"][0]["thinking_output"] == "8"
    assert found["batch_factor"] is None
    assert found["stale"] is False
