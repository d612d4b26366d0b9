"""What a job with several endpoints will cost: from the cheapest to the dearest, and at each of them."""

from decimal import Decimal

import pytest

import batchgen
from batchgen.estimating.endpoints import mixed
from batchgen.estimating.show import estimate_text
from batchgen.estimating.values import Span
from batchgen.job.settings import Job
from tests.inputs import write_csv

PRICES = {
    "m": {"input": 2.0, "output": 8.0, "currency": "USD"},
    "n": {"input": 6.0, "output": 24.0, "currency": "USD"},
}


def job_of(tmp_path, *endpoints):
    """Return a job with these endpoints."""
    path = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(20)])
    return Job.from_dict(
        {
            "name": "several",
            "input": {"path": str(path)},
            "prompt": {"user": "{{ text }}"},
            "output": {"path": str(tmp_path / "out")},
            "pricing": {"models": PRICES},
            "model": {
                "provider": "openai",
                "name": "m",
                "base_url": "https://a.example/v1",
                "parameters": {"max_tokens": 100},
                "endpoints": list(endpoints),
            },
        }
    )


def test_the_cost_goes_from_the_cheapest_to_the_dearest(tmp_path):
    """In any order of the endpoints; each is shown by itself, at its own price."""
    dear = {"base_url": "https://b.example/v1", "name": "n"}
    for endpoints in ([{}, dear], [dear, {}]):
        estimate = batchgen.estimate(job_of(tmp_path, *endpoints))
        cheap, other = sorted(estimate.endpoints, key=lambda one: one.cost.high)
        assert (cheap.endpoint, cheap.model, other.endpoint, other.model) == ("a.example", "m", "b.example", "n")
        assert other.cost.high == 3 * cheap.cost.high
        assert (estimate.cost.low, estimate.cost.high) == (cheap.cost.low, other.cost.high)
        text = estimate_text(estimate)
        assert "a.example" in text
        assert "b.example" in text
    assert batchgen.estimate(job_of(tmp_path)).endpoints == []


def test_a_model_without_a_price_leaves_the_cost_unknown(tmp_path):
    """Also if it is one of two endpoints only."""
    estimate = batchgen.estimate(job_of(tmp_path, {}, {"base_url": "https://b.example/v1", "name": "nobody-knows"}))
    assert estimate.cost is None
    assert estimate.endpoints[0].cost is not None


@pytest.mark.parametrize(("weights", "expected"), [([1, 1], 4), ([3, 1], 3), ([1, 0], 2)])
def test_what_is_expected_follows_the_weights(weights, expected):
    """A spare has no part in it."""
    spans = [Span(Decimal(1), Decimal(2), Decimal(3)), Span(Decimal(5), Decimal(6), Decimal(7))]
    assert mixed(spans, weights) == Span(Decimal(1), Decimal(expected), Decimal(7))
