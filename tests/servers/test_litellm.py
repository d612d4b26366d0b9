"""LiteLLM's proxy with mock models: its limits are waited out, its refusals stop the run."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import results_of
from tests.inputs import write_csv
from tests.servers.litellm_keys import KEYS
from tests.servers.server import Server

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the price map that came with the package, none from the network
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_TELEMETRY": "False",
    "NO_PROXY": "*",
}
UNLIMITED, LIMITED = KEYS
ROWS = 200


def start(command, directory, extra=""):
    """Return LiteLLM's proxy over the mock models, not started yet; `extra` is added to its configuration."""
    config = directory / "litellm.yaml"
    config.write_text((HERE / "litellm.yaml").read_text() + extra)
    shutil.copy(HERE / "litellm_keys.py", directory)
    return Server(
        [command, "--config", str(config), "--host", "127.0.0.1", "--port", "{port}", "--telemetry", "False"],
        directory / "litellm.log",
        ready="/health/liveliness",
        env={**OFFLINE, "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(24)}"},
        start_s=120,
    )


@pytest.fixture(scope="module")
def proxy(litellm, tmp_path_factory):
    """A proxy that knows `KEYS`."""
    custom = "general_settings:\n  custom_auth: litellm_keys.check\n"
    with start(litellm, tmp_path_factory.mktemp("litellm"), custom) as server:
        yield server


@pytest.fixture
def table(tmp_path):
    """As many rows as the issue asks for."""
    return write_csv(tmp_path / "in.csv", [f"Question {n}: why?" for n in range(ROWS)])


def test_limits_are_waited_out(command, job, table, proxy, tmp_path):
    """Limits by wall-clock minutes and by a key's own minute: 200 of 200 rows, plain and streamed, in sensible time.

    The plain and the streamed run share a model of 160 requests a minute. Each takes the 160 that the headers name for
    its own, so together they run into refusals, which name no wait. The third run's key has 150 a minute, which
    its headers do not say; the refusal asks for a wait of 60 s. All three go on at the same time.
    """
    cases = {"plain": ("mock-limited", UNLIMITED), "stream": ("mock-limited", UNLIMITED), "key": ("mock", LIMITED)}
    running = {}
    for name, (model, key) in cases.items():
        path = job(table, proxy.url + "/v1", provider="openai", model=model, name=f"{name}.toml")
        stream = f"model.stream={str(name == 'stream').lower()}"
        options = ("--output", name, "--set", stream, "--json", "--no-progress")
        running[name] = command.start("run", path, *options, env={"OPENAI_API_KEY": key})
    summaries = {}
    for name, process in running.items():
        out, err = process.communicate(timeout=300)
        summary = summaries[name] = json.loads(out)
        print(name, summary)
        assert (process.returncode, summary["succeeded"], summary["failed"]) == (0, ROWS, 0), err
        rows, _ = results_of(tmp_path / name)
        assert [row["completion"] for row in rows] == ["A mock answer."] * ROWS
        assert all(row["input_tokens"] and row["output_tokens"] and row["finish_reason"] == "stop" for row in rows)
    assert summaries["plain"]["refused"] + summaries["stream"]["refused"] > 0
    assert summaries["key"]["refused"] > 0
    assert max(summary["wall_s"] for summary in summaries.values()) < 240  # 400 rows at 160 a minute


def test_the_limit_is_one_without_retry_after(proxy):
    """What the run above relies on: a model's 429 names no wait, and the limit is enforced by the minute."""
    asked = {"model": "mock-limited", "messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client(base_url=proxy.url, headers={"Authorization": f"Bearer {UNLIMITED}"}, trust_env=False) as client:
        for _ in range(2 * 160 + 2):  # two minutes' worth: one of them may turn meanwhile
            answer = client.post("/v1/chat/completions", json=asked)
            if answer.status_code == 429:
                break
    assert answer.status_code == 429
    assert "retry-after" not in answer.headers
    assert "RPM limit=160" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_refusals_for_good_stop_the_run(command, job, table, proxy, stream):
    """A wrong key and an unknown model: exit 3 with the proxy's own words, no row is failed."""
    option = ("--set", f"model.stream={str(stream).lower()}")
    for model, key, words in (
        ("mock", "sk-wrong-0123456789abcdef", "this key is not known"),
        ("no-such-model", UNLIMITED, "Invalid model name passed in model=no-such-model"),
    ):
        path = job(table, proxy.url + "/v1", provider="openai", model=model)
        code, summary = command.summary(path, "--fresh", *option, env={"OPENAI_API_KEY": key})
        assert (code, summary["state"], summary["failed"], summary["pending"]) == (3, "stopped", 0, ROWS)
        assert words in summary["error"]["message"]
        assert summary["attempts"] <= 64


def test_a_key_that_only_a_database_could_know_stops_the_run(command, job, table, litellm, tmp_path):
    """Without a database the proxy answers 400 "No connected db." to every key but its master's."""
    with start(litellm, tmp_path) as server:
        path = job(table, server.url + "/v1", provider="openai", model="mock")
        code, summary = command.summary(path, env={"OPENAI_API_KEY": "sk-wrong-0123456789abcdef"})
        assert (code, summary["failed"], summary["pending"]) == (3, 0, ROWS)
        assert "No connected db" in summary["error"]["message"]
