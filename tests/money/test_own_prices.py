"""Prices in the job itself: `[pricing.models]` in the form of a price file, and `pricing.free`."""

from decimal import Decimal

import pytest

from batchgen.errors import JobError
from batchgen.job.requests import price_table
from batchgen.job.settings import parse_job
from batchgen.money.job_prices import JobPrices
from batchgen.money.worst_case import WorstCase
from batchgen.values import Cost, Prompt, Request, Usage

JOB = {
    "name": "x",
    "input": {"path": "rows.csv"},
    "prompt": {"user": "{{ a }}"},
    "model": {"provider": "openai", "name": "house"},
    "output": {"path": "out"},
}


def prices(**pricing):
    return price_table(parse_job({**JOB, "pricing": pricing}, "job.toml"))


def test_one_price_for_all_regions():
    """Prices at the model itself hold in every region and need neither source nor date."""
    table = prices(models={"house": {"input": 0.1, "output": 0.4, "currency": "EUR"}})
    for region in ("international", "beijing"):
        price = table.find("house", region)
        assert (price.currency, price.price_source, price.price_date) == ("EUR", "the job file", None)
        assert price.cost(Usage(input_tokens=1_000_000, output_tokens=1_000_000)) == Cost(
            Decimal("0.1"), Decimal("0.4")
        )


def test_a_shipped_price_is_replaced_in_its_region_only():
    """The job's own price of one region leaves the other one."""
    shipped = prices().find("qwen-plus", "beijing")
    table = prices(models={"qwen-plus": {"international": {"input": 7, "output": 9}}})
    assert table.find("qwen-plus", "international").tiers[0].input == 7
    assert table.find("qwen-plus", "beijing") == shipped


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"inptu": 1, "output": 1}, "did you mean `input`"),
        ({"input": 1}, "output: missing"),
        ({"europe": {"input": 1, "output": 1}}, "there are international and beijing"),
        ({"input": -1, "output": 1, "currency": "USD"}, "is not a price"),
    ],
)
def test_a_mistake_names_model_and_key(model, said):
    """Level and valid values are in the sentence."""
    with pytest.raises(JobError, match=said) as caught:
        prices(models={"house": model})
    assert "pricing, model house" in str(caught.value)


def test_a_free_server_costs_nothing_and_needs_no_bound():
    """Without max_tokens, with images and whatever model answers, the worst case is 0."""
    table = prices(free=True)
    of = JobPrices(table, "international", "house")
    assert of("anything").cost(Usage(input_tokens=10**9, output_tokens=10**9)) == Cost(Decimal(0), Decimal(0))
    image = {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}
    prompt = Prompt(messages=[{"role": "user", "content": [image]}])
    assert WorstCase(of, "house", {})(Request("", b"x" * 1000, {}), prompt) == 0


def test_free_and_prices_exclude_each_other():
    """One of them is a mistake."""
    with pytest.raises(JobError, match=r"pricing\.free"):
        prices(free=True, file="prices.toml")
