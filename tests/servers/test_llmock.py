"""llmock breaks its answers on purpose and judges how the client took it: no error, no warning (`--strict`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import results_of
from tests.inputs import write_csv
from tests.servers.server import Server

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

LLMOCK = str(Path(sys.executable).with_name("llmock"))
ROWS = 200


@pytest.fixture
def llmock(tmp_path):
    """Start llmock with options; all are ended with the test."""
    started = []

    def start(*options):
        server = Server([LLMOCK, "serve", "--port", "{port}", *options], tmp_path / "llmock.log", ready="/health")
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()


@pytest.fixture
def table(tmp_path):
    """Rows that differ, so that llmock tells one call from another by its body."""
    return write_csv(tmp_path / "in.csv", [f"Question {n}: why?" for n in range(ROWS)])


def report(server):
    """Return llmock's verdict; fail with its own words unless it passes strictly."""
    told = subprocess.run(
        [LLMOCK, "report", "--url", server.url, "--strict"], capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return httpx.get(server.url + "/_llmock/verdict", trust_env=False).json()


def run(command, job, table, server, *options):
    """Run the job and return its exit code and summary."""
    path = job(table, server.url + "/v1", provider="openai", model="gpt-4o-mini")
    return command.summary(path, *options, timeout=150)


@pytest.mark.parametrize("stream", [False, True])
def test_http_errors(command, job, table, llmock, tmp_path, stream):
    """A fifth of the requests meet a 429, 500, 502 or 503 at random: every row is answered once, no wait cut short."""
    rates = ("429=0.05", "500=0.05", "502=0.05", "503=0.05")
    server = llmock(*(word for rate in rates for word in ("--error-rate", rate)))
    code, summary = run(command, job, table, server, "--set", f"model.stream={str(stream).lower()}")
    assert (code, summary["succeeded"], summary["failed"]) == (0, ROWS, 0)
    verdict = report(server)
    assert verdict["calls"] == ROWS
    assert verdict["attempts"] == summary["attempts"] > ROWS
    assert sum(row["attempts"] for row in results_of(tmp_path / "out")[0]) == verdict["attempts"]


def test_broken_streams(command, job, llmock, tmp_path):
    """A fifth of the streams are cut, end too early or stall: none is taken for an answer, none is waited for long.

    The answers echo the question, so that they are longer than the place of any cut: with a short answer the cut may
    come after the finish reason, and llmock blames a client that rightly takes the answer.
    """
    kinds = ("disconnect=0.08", "truncate=0.08", "stall=0.02")
    faults = (word for kind in kinds for word in ("--stream-fault", kind))
    server = llmock(*faults, "--stream-stall-seconds", "60", "--response-style", "echo")
    texts = [f"Question {n}: why is it that this answer has so many words?" for n in range(ROWS)]
    settings = ("model.stream=true", "limits.timeout_s=2", "retry.max_attempts=9")
    options = [word for setting in settings for word in ("--set", setting)]
    code, summary = run(command, job, write_csv(tmp_path / "in.csv", texts), server, *options)
    assert (code, summary["succeeded"], summary["failed"]) == (0, ROWS, 0)
    assert report(server)["calls"] == ROWS
    for row, text in zip(results_of(tmp_path / "out")[0], texts, strict=True):
        assert row["completion"].endswith(text)


def test_broken_chunks(command, job, llmock, tmp_path):
    """A chunk that is no JSON spoils its stream: the row is asked again, and no text goes missing.

    Without llmock's verdict: it knows a retry only after a stream that the client left, and here the whole stream is
    read before it is judged.
    """
    server = llmock("--stream-fault", "malformed=0.1", "--response-style", "echo")
    texts = [f"Question {n}: why is it that this answer has so many words?" for n in range(ROWS)]
    code, summary = run(command, job, write_csv(tmp_path / "in.csv", texts), server, "--set", "model.stream=true")
    assert (code, summary["succeeded"]) == (0, ROWS)
    assert summary["attempts"] > ROWS
    for row, text in zip(results_of(tmp_path / "out")[0], texts, strict=True):
        assert row["completion"].endswith(text)


def test_quotas(command, job, table, llmock):
    """Requests per minute that a bucket grants, a Retry-After that says the true wait, limits in the headers."""
    server = llmock("--rpm", "180")
    code, summary = run(command, job, table, server)
    assert (code, summary["succeeded"]) == (0, ROWS)
    assert report(server)["calls"] == ROWS
    assert summary["wall_s"] < 90  # 200 rows at 3 a second are 67 s; the bucket's first 180 may come at once


def test_an_outage(command, job, table, llmock):
    """Nine 503s in a row: everybody waits, one request at a time probes, and no row uses up its attempts."""
    server = llmock()
    outage = {"behaviors": [{"type": "fail", "status": 503, "times": 9, "retry_after": 1}]}
    httpx.post(server.url + "/_llmock/scenario", json=outage, trust_env=False).raise_for_status()
    code, summary = run(command, job, table, server)
    assert (code, summary["succeeded"], summary["attempts"]) == (0, ROWS, ROWS + 9)
    assert report(server)["calls"] == ROWS


def test_a_prompt_too_long_fails_alone(command, job, llmock, tmp_path):
    """The 400 is never sent again, and the other rows are answered."""
    server = llmock("--context-window", "200")
    texts = [f"Question {n}" for n in range(ROWS)]
    texts[7] += " why" * 2000
    code, summary = run(command, job, write_csv(tmp_path / "in.csv", texts), server)
    assert (code, summary["succeeded"], summary["failed"]) == (1, ROWS - 1, 1)
    assert report(server)["attempts"] == ROWS
    row = results_of(tmp_path / "out")[0][7]
    assert (row["error_kind"], row["http_status"]) == ("too_long", 400)
    assert row["error_code"] == "context_length_exceeded"
