"""Shared by the tests of batches: a simulated vendor in a thread, jobs for it, and its books beside ours."""

from decimal import Decimal

import pytest

import batchgen
from batchgen.engine.batches import build
from batchgen.job.settings import Job
from batchgen.simulator import Settings, start_in_thread
from tests.inputs import write_csv

PRICE = {"input": 2.0, "cached_input": 0.4, "output": 8.0, "currency": "USD", "lanes": {"batch": 0.5}}


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path):
    """Keys for every provider, a state directory of the test's own, and no minute's wait for lists that lag."""
    for name in ("OPENAI_API_KEY", "DASHSCOPE_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-test-0123456789abcdef")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(build, "LOOK_AGAIN_S", 0.2)


@pytest.fixture
def server(tmp_path):
    """A simulated vendor whose batches take half a second, at 7,200 virtual seconds in one."""
    with start_in_thread(Settings(batch_speed=7200, batch_sigma=0), directory=tmp_path / "vendor") as handle:
        yield handle


@pytest.fixture
def job(tmp_path, server):
    """Return a job of so many rows in the lane of batches; other tables go over it."""

    def make(rows=12, provider="openai", lane="batch", texts=None, name="out", **tables):
        texts = texts or [f"row {n}" for n in range(rows)]
        path = write_csv(tmp_path / f"in-{len(texts)}.csv", texts)
        base = {"openai": "/v1", "dashscope": "", "anthropic": ""}[provider]
        model = {"provider": provider, "name": "m", "base_url": server.url + base, "lane": lane}
        table = {
            "name": "batches",
            "input": {"path": str(path), "dedupe": False, **tables.pop("input", {})},
            "prompt": {"user": "{{ text }}"},
            "model": {**model, "parameters": {"max_tokens": 30}, **tables.pop("model", {})},
            "output": {"path": str(tmp_path / name)},
            "batch": {"poll_s": 0.02, **tables.pop("batch", {})},
            "pricing": {"models": {"m": PRICE}},
            **tables,
        }
        return Job.from_dict(table)

    return make


def price_of(billed, factor="0.5"):
    """Return what tokens in the vendor's books cost."""
    tokens = Decimal("2") * billed["input_tokens"] + Decimal("8") * billed["output_tokens"]
    return tokens * Decimal(factor) / 1_000_000


def books_agree(server, done):
    """Assert that what the vendor billed for what it delivered is what the run says that it cost, to the token, and
    that nothing was bought twice; what it billed and lost is no more than what the run says is possibly billed."""
    stats = server.stats()
    lanes = stats["billed_lanes"]
    lost = stats["billed_lost"]
    delivered = stats["billed_delivered"]
    assert (done.input_tokens or 0, done.output_tokens or 0) == (delivered["input_tokens"], delivered["output_tokens"])
    if "live" not in lanes:
        assert (done.cost or 0) == price_of(delivered)
    assert done.possibly_billed.requests >= lost["requests"]
    assert done.possibly_billed.cost >= price_of(lost)


def answers(path):
    """Return a run's answers by row."""
    rows = batchgen.read_results(path).to_pylist()
    return {row["row_id"]: row["completion"] for row in rows}
