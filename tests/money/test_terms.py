"""Discount factor and another currency: one rule for every price of a job."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import JobError
from batchgen.job.requests import price_table
from batchgen.job.settings import parse_job
from batchgen.money.prices import load_prices
from batchgen.money.terms import PriceTerms, price_terms, terms_of_settings
from batchgen.values import Usage

DAY = dt.date(2026, 11, 27)
JOB = {
    "name": "x",
    "input": {"path": "rows.csv"},
    "prompt": {"user": "{{ a }}"},
    "model": {"provider": "openai", "name": "house"},
    "output": {"path": "out"},
}
HOUSE = {"house": {"input": 1, "output": 2, "currency": "USD"}}


def table(**pricing):
    """Return the prices of a job."""
    return price_table(parse_job({**JOB, "pricing": {"models": HOUSE, **pricing}}, "job.toml"))


def test_a_discount_and_a_rate():
    """Every price of every tier, the source says how; a price in the wanted currency is left in it."""
    price = table(factor=0.85, currency="EUR", rate={"USD": 0.9, "date": DAY}).find("house", "international")
    assert (price.currency, price.tiers[0].input, price.tiers[0].output) == ("EUR", Decimal("0.765"), Decimal("1.53"))
    assert price.price_source == "the job file; times 0.85; 1 USD = 0.9 EUR on 2026-11-27"
    assert table(currency="USD", rate={"CNY": 0.14, "date": DAY}).find("house", "beijing").tiers[0].input == 1
    yuan = table(currency="USD", rate={"CNY": 0.14, "date": DAY}).find("qwen-plus", "beijing")
    assert yuan.currency == "USD", "models of two regions can be compared"


@given(
    st.decimals("0.0001", "100", places=4),
    st.decimals("0.000001", "1000", places=8),
    st.integers(0, 2_000_000),
    st.integers(0, 200_000),
)
def test_costs_stay_exact(factor, rate, tokens_in, tokens_out):
    """Twelve decimal places hold every cost, whatever the terms, and a file batch's too."""
    terms = PriceTerms(factor, "EUR", {"USD": rate}, DAY)
    price = terms.applied(load_prices().find("qwen-plus", "international"))
    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=tokens_in // 3)
    for one in (price, price.batch()):
        cost = one.cost(usage)
        assert cost.input + cost.output == (cost.input + cost.output).quantize(Decimal("1e-12"))


@pytest.mark.parametrize(
    ("pricing", "said"),
    [
        ({"factor": 0}, "pricing.factor"),
        ({"factor": -1}, "pricing.factor"),
        ({"currency": "euro"}, "'euro' is not the code of a currency"),
        ({"currency": "EUR", "rate": {"USD": 0.9}}, "pricing.rate.date is missing"),
        ({"rate": {"USD": 0.9, "date": DAY}}, "pricing.currency is missing"),
        ({"currency": "EUR", "rate": {"USD": "much", "date": DAY}}, "pricing.rate.USD: 'much' is not a number"),
        ({"currency": "EUR", "rate": {"USD": 0.9, "date": "soon"}}, "pricing.rate.date: 'soon' is not a day"),
        ({"currency": "EUR", "rate": {"dollar": 0.9, "date": DAY}}, "pricing.rate.dollar"),
        ({"currency": "EUR", "rate": {"USD": float("inf"), "date": DAY}}, "pricing.rate.USD"),
    ],
)
def test_what_cannot_be_meant(pricing, said):
    """The key is named, and what was expected."""
    with pytest.raises(JobError, match=said):
        parse_job({**JOB, "pricing": pricing}, "job.toml")


def test_a_currency_without_its_rate():
    """The sentence says what to write."""
    terms = price_terms(None, "EUR", {})
    price = terms.applied(table().find("house", "international"))
    assert "what one USD is" in terms.missing_rate(price)


def test_terms_are_found_again_in_a_run():
    """What run.json keeps of the job says the same."""
    kept = {
        "pricing.factor": "0.85",
        "pricing.currency": "EUR",
        "pricing.rate.USD": 0.9,
        "pricing.rate.date": "2026-11-27",
    }
    assert terms_of_settings(kept) == PriceTerms(Decimal("0.85"), "EUR", {"USD": Decimal("0.9")}, DAY)
    assert not terms_of_settings({"model.name": "x"})
