"""Several endpoints in the lanes of ordinary calls: who is asked, what a full lane changes, and what the books say."""

from decimal import Decimal

import pytest

import batchgen
from batchgen.engine.reporter import Reporter
from batchgen.errors import JobError
from batchgen.job.endpoint import endpoint_of
from batchgen.job.requests import request_parts
from batchgen.job.settings import Job
from batchgen.report.costs import read_costs
from batchgen.report.read import read_report
from batchgen.simulator import Settings, start_in_thread
from tests.inputs import write_csv

ROWS = 40
PRICE = {"input": 2.0, "cached_input": 0.4, "output": 8.0, "currency": "USD", "service_tiers": {"flex": 0.5}}
DEAR = PRICE | {"input": 20.0, "cached_input": 4.0, "output": 80.0}


@pytest.fixture
def both(monkeypatch):
    """Two simulated providers, and a key for both."""
    for name in ("OPENAI_API_KEY", "DASHSCOPE_API_KEY"):
        monkeypatch.setenv(name, "sk-test-0123456789abcdef")
    with start_in_thread(Settings(latency_ms=5)) as one, start_in_thread(Settings(latency_ms=5)) as two:
        yield one, two


@pytest.fixture
def job(tmp_path, both):
    """Return a job with the two as its endpoints; `own` are further keys of each, `model` and other tables over it."""
    path = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])

    def make(lane, provider="openai", own=({}, {}), **tables):
        tail = "/v1" if provider == "openai" else ""
        endpoints = [{"base_url": server.url + tail, **more} for server, more in zip(both, own, strict=True)]
        model = {"provider": provider, "name": "m", "lane": lane, "parameters": {"max_tokens": 30}}
        table = {
            "name": "lanes",
            "input": {"path": str(path), "dedupe": False},
            "prompt": {"user": "{{ text }}"},
            "model": {**model, "endpoints": endpoints, **tables.pop("model", {})},
            "limits": {"concurrency": 4},
            "output": {"path": str(tmp_path / "out")},
            "pricing": {"models": {"m": PRICE, "n": DEAR}},
            **tables,
        }
        return Job.from_dict(table)

    return make


def at(billed, price, factor):
    """Return what tokens in the simulator's books cost."""
    tokens = (
        Decimal(str(price["input"])) * billed["input_tokens"]
        + Decimal(str(price["output"])) * (billed["output_tokens"])
    )
    return tokens * Decimal(factor) / 1_000_000


def summed(report, name):
    """Return the sums of a report's lines by endpoint."""
    sums = {}
    for line in report.lines:
        sums[line.endpoint] = sums.get(line.endpoint, 0) + getattr(line, name)
    return sums


def cost_of(server, price=PRICE):
    """Return what a server has charged, by lane."""
    factors = {"live": "1", "flex": "0.5", "batch-chat": "0.5"}
    return {lane: at(billed, price, factors[lane]) for lane, billed in server.stats()["billed_lanes"].items()}


@pytest.mark.parametrize(("lane", "provider"), [("flex", "openai"), ("batch-chat", "dashscope")])
def test_both_are_asked_in_the_lane_of_the_job(job, both, lane, provider, tmp_path):
    """At its price, in the results and in the books of each server."""
    for server in both:
        server.change(batch_chat=lane == "batch-chat")
    done = batchgen.run(job(lane, provider))
    assert (done.state, done.succeeded) == ("complete", ROWS)
    for server, figures in zip(both, done.endpoints, strict=True):
        assert list(server.stats()["billed_lanes"]) == [lane]
        assert figures["cost"] == cost_of(server)[lane] > 0
    assert {line.lane for line in read_costs([tmp_path / "out"]).lines} == {lane}


def test_only_the_endpoint_whose_lane_is_full_is_asked_live(job, both):
    """The other goes on at half the price, and is preferred while the first has the ordinary one."""
    both[0].change(flex_full=1.0)
    said = []

    class Notes(Reporter):
        def note(self, text):
            said.append(text)

    done = batchgen.run(job("flex", model={"lane_fallback": "live"}), reporter=Notes())
    assert (done.state, done.succeeded, done.failed) == ("complete", ROWS, 0)
    assert "flex" not in both[0].stats()["billed_lanes"]
    assert list(both[1].stats()["billed_lanes"]) == ["flex"]
    assert done.cost == sum(sum(cost_of(server).values()) for server in both)
    told = [text for text in said if "lane is full" in text]
    assert len(told) == 1
    assert done.endpoints[0]["endpoint"] in told[0]


def test_an_endpoint_of_ordinary_calls_has_no_lane_that_could_be_full(job):
    """An overload there is a refusal as any other, which its pace has to know of."""
    made = job("flex", own=({}, {"lane": "live"}), model={"lane_fallback": "live"})
    sites = request_parts(made, endpoint_of(made)).sites
    assert [site.live_provider() is not None for site in sites] == [True, False]


@pytest.mark.parametrize("cheap", [0, 1])
def test_the_cheaper_lane_is_asked_first(job, both, cheap):
    """The price of an endpoint is that of its lane."""
    own = [{"lane": "live"}, {"lane": "live"}]
    own[cheap] = {"lane": "flex"}
    done = batchgen.run(job("live", own=own, limits={"concurrency": 1}))
    assert done.succeeded == ROWS
    assert done.endpoints[cheap]["rows"] == ROWS


def test_a_budget_holds_for_the_dearest_way_a_row_can_go(job, both):
    """Whichever endpoint's lane is full, a run never costs more than its budget."""
    both[1].change(flex_full=1.0)
    own = ({}, {"name": "n"})
    done = batchgen.run(job("flex", own=own, model={"lane_fallback": "live"}, limits={"budget": 0.01}))
    charged = sum(cost_of(both[0]).values()) + sum(cost_of(both[1], DEAR).values())
    assert done.cost == charged <= Decimal("0.01")


def test_the_fallback_is_allowed_where_any_endpoint_has_such_a_lane(job):
    """Also beside one whose calls may take longer; not where none has."""
    own = ({"lane": "flex"}, {"lane": "batch-chat", "provider": "dashscope"})
    made = job("live", own=own, model={"lane_fallback": "live"})
    assert made.limits.timeout_s == 3600
    with pytest.raises(JobError, match="lane_fallback"):
        job("live", model={"lane_fallback": "live"})


@pytest.mark.parametrize("lane", ["live", "flex"])
def test_prices_of_later_count_each_row_as_it_was_asked(job, both, tmp_path, lane):
    """By the model and the lane of its endpoint, in `cost` and in `report`."""
    own = ({"lane": lane, "concurrency": 1}, {"name": "n", "lane": "live", "concurrency": 1})
    done = batchgen.run(job("flex", own=own, limits={"concurrency": 2}))
    by_name = {one["endpoint"]: one["cost"] for one in done.endpoints}
    assert all(by_name.values())
    changed = {"pricing.factor": Decimal("0.5")}
    anew = read_costs([tmp_path / "out"], by=["endpoint", "lane", "model"], changed=changed)
    told = {line.endpoint: (line.lane, line.model, line.cost) for line in anew.lines}
    first, second = by_name
    assert told == {first: (lane, "m", by_name[first] / 2), second: ("live", "n", by_name[second] / 2)}
    report = read_report(tmp_path / "out", changed=changed)
    assert summed(report, "cost") == {name: cost / 2 for name, cost in by_name.items()}
    assert report.totals.cost == done.cost / 2


def test_a_price_file_of_later_is_read_for_each_model(job, tmp_path):
    """That of the endpoint which answered."""
    own = ({"concurrency": 1}, {"name": "n", "concurrency": 1})
    done = batchgen.run(job("live", own=own, limits={"concurrency": 2}))
    prices = tmp_path / "later.toml"
    flat = 'currency = "USD"\ninput = {}\noutput = 0.0\nsource = "a bill"\ndate = 2026-11-01\n'
    prices.write_text(f"[models.m]\n{flat.format(1.0)}[models.n]\n{flat.format(3.0)}")
    report = read_report(tmp_path / "out", prices=prices)
    costs, tokens = summed(report, "cost"), summed(report, "input_tokens")
    for one, price in zip(done.endpoints, (1, 3), strict=True):
        assert costs[one["endpoint"]] == Decimal(price) * tokens[one["endpoint"]] / 1_000_000


def test_the_lane_may_change_between_two_sessions_of_several_endpoints(job, both, tmp_path):
    """Each row once, at the price of the lane it was asked in."""
    batchgen.run(job("live"), only=set(range(12)))
    done = batchgen.run(job("flex"))
    assert (done.state, done.succeeded) == ("complete", ROWS)
    assert sum(server.stats()["served"] for server in both) == ROWS
    assert done.cost == sum(sum(cost_of(server).values()) for server in both)
    assert {line.lane for line in read_costs([tmp_path / "out"]).lines} == {"live", "flex"}


def test_a_provider_need_not_be_named_where_every_endpoint_names_its_own(job, both):
    """It is the first one's; one that names none, or none that there is, is said by its number."""
    table = job("live").to_dict()
    del table["model"]["provider"]
    for server, one, provider in zip(both, table["model"]["endpoints"], ("dashscope", "openai"), strict=True):
        one |= {"provider": provider, "base_url": server.url + ("/v1" if provider == "openai" else "")}
    made = Job.from_dict(table)
    done = batchgen.run(made)
    assert (done.state, done.succeeded) == ("complete", ROWS)
    assert Job.from_toml(made.to_toml()) == made
    keys = {line.endpoint: line.key for line in read_costs([made.output.path], by=["endpoint", "key"]).lines}
    assert [keys[one["endpoint"]] for one in done.endpoints] == ["DASHSCOPE_API_KEY", "OPENAI_API_KEY"]
    del table["model"]["endpoints"][1]["provider"]
    with pytest.raises(JobError, match=r"model.provider is missing.*number 2"):
        Job.from_dict(table)
    table["model"]["endpoints"][1]["provider"] = "opnai"
    with pytest.raises(JobError, match=r"opnai.*Did you mean 'openai'"):
        Job.from_dict(table)
