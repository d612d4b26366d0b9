"""Whole runs over the Messages API of the simulated provider."""

import json
from decimal import Decimal

import pytest

import batchgen
from batchgen.job.settings import Job
from batchgen.simulator import Settings, expected_answer, start_in_thread
from tests.inputs import write_csv

ROWS = 8
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture
def server(monkeypatch):
    """A simulated provider, and a key for it."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test-0123456789")
    with start_in_thread(Settings(api_key="sk-ant-test-0123456789", headers=True)) as handle:
        yield handle


@pytest.fixture
def job(tmp_path, server):
    """Return a job of a few rows, with other tables over it."""
    path = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])

    def make(**tables):
        model = {"provider": "anthropic", "name": "claude-haiku-5-5", "base_url": server.url}
        model |= {"parameters": {"max_tokens": 400}} | tables.pop("model", {})
        table = {
            "name": "claude",
            "input": {"path": str(path)},
            "prompt": {"system": "You help.", "user": "{{ text }}"},
            "model": model,
            "output": {"path": str(tmp_path / "out")},
            **tables,
        }
        return Job.from_dict(table)

    return make


def expected(row):
    """Return what the simulator answers to a row."""
    return expected_answer([{"role": "system", "content": "You help."}, {"role": "user", "content": f"row {row}"}])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("faults", [{}, {"error_503": 0.3, "reset": 0.1, "stream_error": 0.1, "truncate": 0.1}])
def test_a_run(job, server, tmp_path, stream, faults):
    """Each row once, whatever happens on the way; the cost is that of the simulator's books."""
    server.change(**faults)
    done = batchgen.run(job(model={"stream": stream}, limits={"budget": 1.0}))
    assert (done.state, done.succeeded) == ("complete", ROWS)
    table = batchgen.read_results(tmp_path / "out").to_pylist()
    assert [row["completion"] for row in table] == [expected(n) for n in range(ROWS)]
    assert {row["finish_reason"] for row in table} == {"stop"}
    billed = server.stats()["billed_delivered"]
    if not faults:
        cost = billed["input_tokens"] * Decimal("0.1") + billed["output_tokens"] * Decimal("0.5")
        assert done.cost == cost / 1_000_000


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-3-haiku-20240307"])
def test_structured_answers(job, tmp_path, model):
    """By a schema where the model can be held to one, else by a forced call of a tool."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    made = {"name": model, "parameters": {"max_tokens": 400}}
    done = batchgen.run(job(model=made, response={"schema": str(path)}))
    assert (done.state, done.succeeded) == ("complete", ROWS)
    for row in batchgen.read_results(tmp_path / "out").to_pylist():
        assert set(row["parsed"]) == {"name", "age"}
        assert 0 <= row["parsed"]["age"] <= 99


def test_a_wrong_key_stops_the_run(job, server):
    """It is in `x-api-key`, and nothing is lost."""
    server.change(api_key="another")
    done = batchgen.run(job())
    assert (done.state, done.pending) == ("stopped", ROWS)
    assert "authentication_error" in str(done.error)


def test_limits_are_kept_by_what_the_headers_say(job, server):
    """A 429 costs no attempt."""
    server.change(rpm=600, burst_s=0.2)
    done = batchgen.run(job(retry={"max_attempts": 1}))
    assert (done.state, done.succeeded) == ("complete", ROWS)
