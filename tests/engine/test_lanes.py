"""Lanes: the same requests at another price, from a run's first row to its books."""

import json
from decimal import Decimal

import pytest

import batchgen
from batchgen.errors import JobError
from batchgen.job.check import check_job
from batchgen.job.settings import Job
from batchgen.pace.observations import PaceObservations
from batchgen.report.costs import read_costs
from batchgen.simulated import simulated_endpoint
from batchgen.simulator import Settings, start_in_thread
from tests.inputs import write_csv

ROWS = 12
PRICE = {"input": 2.0, "cached_input": 0.4, "output": 8.0, "currency": "USD"}


@pytest.fixture
def server(monkeypatch):
    """A simulated provider, and a key for it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-test-0123456789abcdef")
    with start_in_thread(Settings()) as handle:
        yield handle


@pytest.fixture
def job(tmp_path, server):
    """Return a job of twelve rows in a lane; `model` and other tables over it."""
    path = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])

    def make(lane, provider="openai", **tables):
        price = tables.pop("price", PRICE | {"service_tiers": {"flex": 0.5}})
        model = {"provider": provider, "name": "m", "base_url": server.url + ("/v1" if provider == "openai" else "")}
        table = {
            "name": "lanes",
            "input": {"path": str(path), "dedupe": False},
            "prompt": {"user": "{{ text }}"},
            "model": {**model, "lane": lane, "parameters": {"max_tokens": 30}, **tables.pop("model", {})},
            "output": {"path": str(tmp_path / "out")},
            "pricing": {"models": {"m": price}},
            **tables,
        }
        return Job.from_dict(table)

    return make


def at(price, factor, billed):
    """Return what tokens in the simulator's books cost."""
    tokens = (
        Decimal(str(price["input"])) * billed["input_tokens"] + Decimal(str(price["output"])) * billed["output_tokens"]
    )
    return tokens * Decimal(factor) / 1_000_000


@pytest.mark.parametrize(("lane", "provider"), [("flex", "openai"), ("batch-chat", "dashscope")])
def test_a_lane_is_billed_at_its_price(job, server, lane, provider, tmp_path):
    """Half, in the results and in the simulator's books; `cost` names the lane."""
    server.change(batch_chat=lane == "batch-chat")
    done = batchgen.run(job(lane, provider))
    assert (done.state, done.succeeded) == ("complete", ROWS)
    books = server.stats()["billed_lanes"]
    assert list(books) == [lane]
    assert done.cost == at(PRICE, "0.5", books[lane])
    assert {line.lane for line in read_costs([tmp_path / "out"]).lines} == {lane}
    assert list(read_costs([tmp_path / "out"]).totals().values()) == [done.cost]


@pytest.mark.parametrize(("lane", "provider"), [("flex", "openai"), ("batch-chat", "dashscope")])
def test_a_simulated_run_has_the_price_of_its_lane(job, lane, provider):
    """`--simulate` shows what the lane would cost."""
    made = job(lane, provider)
    with simulated_endpoint(made) as endpoint:
        done = batchgen.run(made, endpoint=endpoint)
    assert done.succeeded == ROWS
    used = {"input_tokens": done.input_tokens, "output_tokens": done.output_tokens}
    assert done.cost == at(PRICE, "0.5", used)


def test_an_own_price_of_a_lane(job, server):
    """A price file says what a lane costs, for both lanes alike."""
    price = PRICE | {"lanes": {"flex": 0.25, "batch-chat": 0.125}}
    flex = batchgen.run(job("flex", price=price))
    assert flex.cost == at(PRICE, "0.25", server.stats()["billed_lanes"]["flex"])
    server.change(batch_chat=True)
    held = batchgen.run(job("batch-chat", "dashscope", price=price), fresh=True)
    assert held.cost == at(PRICE, "0.125", server.stats()["billed_lanes"]["batch-chat"])


def test_a_lane_without_a_price_leaves_the_cost_empty(job, server):
    """The ordinary price is not what is paid, as `check` says; rows that are asked live have it."""
    own = job("flex", price=PRICE)
    assert "costs stay empty" in " ".join(check_job(own).notes)
    done = batchgen.run(own)
    assert (done.succeeded, done.cost) == (ROWS, None)
    server.change(flex_full=1.0)
    live = batchgen.run(job("flex", price=PRICE, model={"lane_fallback": "live"}), fresh=True)
    assert live.cost == at(PRICE, "1", server.stats()["billed_lanes"]["live"])


def test_a_full_lane_is_waited_out(job, server):
    """A refusal costs no attempt and nothing: rows are asked again until there is room."""
    server.change(flex_full=0.3)
    done = batchgen.run(job("flex", retry={"max_attempts": 1}))
    assert (done.state, done.succeeded) == ("complete", ROWS)
    assert done.refused > 0
    assert done.possibly_billed.requests == 0
    assert list(server.stats()["billed_lanes"]) == ["flex"]


def test_a_full_lane_ends_live_if_the_job_says_so(job, server):
    """At the full price, within the budget; the answers say which class of service they had."""
    server.change(flex_full=1.0)
    done = batchgen.run(job("flex", model={"lane_fallback": "live"}, limits={"budget": 1.0}))
    assert (done.state, done.succeeded) == ("complete", ROWS)
    books = server.stats()["billed_lanes"]
    assert list(books) == ["live"]
    assert done.cost == at(PRICE, "1", books["live"])
    assert 0 < done.refused <= ROWS


def test_a_budget_holds_for_rows_that_end_live(job, server):
    """What is reserved is the ordinary price: a run never costs more than its budget, whatever the lane refuses."""
    server.change(flex_full=1.0)
    done = batchgen.run(job("flex", model={"lane_fallback": "live"}, limits={"budget": 0.001}))
    assert done.state == "stopped"
    assert at(PRICE, "1", server.stats()["billed_lanes"]["live"]) <= Decimal("0.001")


def test_a_run_may_change_its_lane(job, server, tmp_path):
    """Stopped while live, gone on in Batch Chat, ended live again: each row once, at the price of its lane."""
    server.change(fatal_after=4)
    first = batchgen.run(job("live", "dashscope", limits={"concurrency": 1}))
    assert first.state == "stopped"
    server.change(fatal_after=None, batch_chat=True)
    server.change(fatal_after=4)
    second = batchgen.run(job("batch-chat", "dashscope", limits={"concurrency": 1}))
    assert second.state == "stopped"
    server.change(fatal_after=None, batch_chat=False)
    last = batchgen.run(job("live", "dashscope"))
    assert (last.state, last.succeeded) == ("complete", ROWS)
    stats = server.stats()
    assert stats["served"] == ROWS
    books = stats["billed_lanes"]
    assert last.cost == at(PRICE, "1", books["live"]) + at(PRICE, "0.5", books["batch-chat"])
    told = {line.lane: line for line in read_costs([tmp_path / "out"], by=["lane"]).lines}
    assert {lane: line.tokens for lane, line in told.items()} == {
        lane: billed["input_tokens"] + billed["output_tokens"] for lane, billed in books.items()
    }
    assert told["batch-chat"].cost == at(PRICE, "0.5", books["batch-chat"])


def test_answers_are_reused_across_lanes(job, server):
    """`--update` in another lane asks nothing again: the request is the same."""
    path = job("live").input.path
    batchgen.run(job("live", "dashscope", input={"path": path, "limit": 4}))
    server.change(batch_chat=True)
    done = batchgen.run(job("batch-chat", "dashscope", input={"path": path, "limit": 8}), update=True)
    assert (done.reused, server.stats()["served"]) == (4, 8)
    server.change(batch_chat=False)
    assert batchgen.run(job("live", "dashscope"), update=True).reused == 8
    assert server.stats()["served"] == ROWS


def test_a_drop_may_be_billed(job, server):
    """A connection lost while Batch Chat holds a request counts as possibly billed, and the row is asked again."""
    server.change(batch_chat=True, reset=0.3)
    done = batchgen.run(job("batch-chat", "dashscope"))
    stats = server.stats()
    assert (done.state, done.succeeded) == ("complete", ROWS)
    assert done.possibly_billed.requests == stats["billed_lost"]["requests"] > 0
    assert done.possibly_billed.cost >= at(PRICE, "0.5", stats["billed_lost"])


@pytest.mark.parametrize(
    ("lane", "provider", "base_url", "words"),
    [
        ("batch", "deepseek", None, "no lane batch"),
        ("flex", "groq", None, "no lane flex"),
        ("flex", "dashscope", "https://dashscope.aliyuncs.com", "no lane flex"),
        ("batch-chat", "openai", None, "no lane batch-chat"),
        ("batch-chat", "dashscope", None, "in Beijing alone"),
        ("batch-chat", "dashscope", "https://dashscope-intl.aliyuncs.com", "in Beijing alone"),
        ("batch-chat", "openai", "https://dashscope-us.aliyuncs.com/compatible-mode/v1", "in Beijing alone"),
        ("batch-chat", "dashscope", "https://ws1.cn-beijing.maas.aliyuncs.com", "in Beijing alone"),
    ],
)
def test_a_lane_that_is_not_there(job, lane, provider, base_url, words):
    """It is refused before anything is sent, with the reason."""
    model = {"provider": provider, "base_url": base_url}
    with pytest.raises(JobError, match=words):
        job(lane, "openai", model={key: value for key, value in model.items() if value} | {"base_url": base_url})


def test_a_lane_has_its_own_patience(job):
    """A held call may take an hour and no answer come before it; what the job says itself stays."""
    limits = job("batch-chat", "dashscope").limits
    assert (limits.timeout_s, limits.stalled_s) == (3600, 3600)
    assert job("flex").limits.timeout_s == 900
    assert job("live").limits.timeout_s == 300
    assert job("flex", limits={"timeout_s": 60}).limits.timeout_s == 60


def test_the_fallback_needs_a_lane_that_refuses(job):
    """Batch Chat holds requests and refuses none; the ordinary calls have nothing to fall back on."""
    for lane, provider in (("live", "openai"), ("batch-chat", "dashscope")):
        with pytest.raises(JobError, match="lane_fallback"):
            job(lane, provider, model={"lane_fallback": "live"})


def test_a_contradiction_is_named(job):
    """A class of service in the parameters and another lane."""
    with pytest.raises(JobError, match="service_tier"):
        batchgen.run(job("flex", model={"parameters": {"service_tier": "priority"}}))


def test_an_estimate_prices_every_lane(job, tmp_path):
    """And names the cheapest, with the share of cached input from which the ordinary calls are cheaper."""
    made = batchgen.estimate(job("live", "dashscope"))
    lanes = {one.lane: one for one in made.lanes}
    assert list(lanes) == ["live", "batch-chat", "batch"]
    assert lanes["batch-chat"].cheapest
    assert lanes["batch-chat"].cost.high * 2 == lanes["live"].cost.high == made.cost.high
    assert "62.5% of the input is cached" in lanes["batch-chat"].note
    other = batchgen.estimate(job("batch-chat", "dashscope"))
    assert {one.lane: one.cost for one in other.lanes} == {one.lane: one.cost for one in made.lanes}
    assert other.cost == lanes["batch-chat"].cost
    assert [one["lane"] for one in json.loads(made.to_json())["lanes"]] == list(lanes)
    flex = {one.lane: one for one in batchgen.estimate(job("live")).lanes}
    assert flex["flex"].cost.high * 2 == flex["live"].cost.high


def test_no_deadline_is_learnt_where_requests_are_held():
    """A short queue at first tells nothing of a long one later: only the job's own time-out ends a call."""
    for held, deadline_s in ((False, 120), (True, 3600)):
        seen = PaceObservations(3600, held=held)
        for _ in range(300):
            seen.answered(2.0)
        assert seen.deadline_s == deadline_s
