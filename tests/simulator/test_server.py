"""The socket: every fault really happens, connections are kept, what is counted is exact."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from batchgen.simulator import Settings, Simulator, expected_answer, request_digest, start_in_thread
from tests.simulator.conftest import COMPATIBLE, HEADERS, NATIVE, OPENAI, chat_body, raw_request


@contextmanager
def connected(simulator):
    """A raw connection."""
    host, port = simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        yield connection


def read_all(connection):
    """Return what comes until the other side ends the connection; a reset raises."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def read_reply(connection):
    """Return head and body of one reply with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    assert len(body) == length
    return head, body


def content(body):
    """Return the text of a native answer."""
    return json.loads(body)["output"]["choices"][0]["message"]["content"]


def test_a_connection_is_kept_and_pipelining_keeps_the_order(simulator):
    """Twenty requests written at once are answered in order on one connection, waits included."""
    simulator.change(latency_ms=5, latency_sigma=1)
    with connected(simulator) as connection:
        connection.sendall(b"".join(raw_request(chat_body(f"row {i}")) for i in range(20)))
        received = b""
        while received.count(b"HTTP/1.1 200") < 20 or not received.endswith(b"}"):
            received += connection.recv(65536)
        places = [received.index(expected_answer(f"row {i}").encode()) for i in range(20)]
    assert places == sorted(places)
    assert simulator.stats()["connections_opened"] == 1


def test_connection_close_is_obeyed(simulator):
    """The reply says it, and the socket is closed after it."""
    with connected(simulator) as connection:
        connection.sendall(raw_request(chat_body(), NATIVE, "Connection: close"))
        received = read_all(connection)
    assert b"connection: close\r\n" in received
    assert content(received.partition(b"\r\n\r\n")[2]) == expected_answer("hello")


def test_bytes_that_are_no_request_get_a_400(simulator):
    """And the connection is closed."""
    with connected(simulator) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_a_client_waiting_for_100_continue_gets_it(simulator):
    """The interim reply comes before the body is sent."""
    body = chat_body()
    head, _, _ = raw_request(body, NATIVE, "Expect: 100-continue").partition(b"\r\n\r\n")
    with connected(simulator) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert content(read_reply(connection)[1]) == expected_answer("hello")


def test_ten_megabytes(simulator):
    """A prompt of 10 MB is read whole and counted right."""
    reply = httpx.post(simulator.url + NATIVE, content=chat_body("x" * 10_000_000), headers=HEADERS, timeout=20)
    assert reply.json()["usage"]["input_tokens"] == 2_500_000 + 8


@pytest.mark.parametrize("uv", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_faults_of_the_socket(stream, uv, monkeypatch):
    """RST before the reply, RST in the body, a body that is too short: on uvloop and on asyncio's own loop."""
    if not uv:
        monkeypatch.setattr("batchgen.simulator.server.loop_factory", lambda: None)
    asked = raw_request(chat_body(incremental_output=True), NATIVE, *(["X-DashScope-SSE: enable"] if stream else []))
    with start_in_thread() as simulator:

        def met(**rates):
            simulator.change(**(dict.fromkeys(("reset", "reset_body", "truncate"), 0.0) | rates))
            received = b""
            with connected(simulator) as connection:
                connection.sendall(asked)
                while data := connection.recv(65536):
                    received += data
                    seen.append(data)
            return received

        seen = []
        with pytest.raises(ConnectionResetError):
            met(reset=1)
        assert seen == []
        with pytest.raises(ConnectionResetError):
            met(reset_body=1)
        assert b"".join(seen).startswith(b"HTTP/1.1 200 OK\r\n")
        short = met(truncate=1)
        head, _, body = short.partition(b"\r\n\r\n")
        if stream:
            assert b"chunked" in head
            assert b'"finish_reason":"stop"' not in body
            assert not body.endswith(b"0\r\n\r\n")
        else:
            assert len(body) < int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        stats = simulator.stats()
    assert stats["faults"] == {"total": 3, "reset": 1, "reset_body": 1, "truncate": 1}
    assert (stats["served"], stats["billed_lost"]["requests"]) == (0, 3)
    assert stats["in_flight"] == 0


def test_a_hang_sends_nothing_and_ends(simulator):
    """No byte comes; a client that gives up is abandoned, one that waits sees the end."""
    simulator.change(hang=1.0, hang_s=0.2)
    with connected(simulator) as connection:
        connection.sendall(raw_request(chat_body()))
        assert read_all(connection) == b""
    simulator.change(hang_s=900.0)
    with connected(simulator) as connection:
        connection.sendall(raw_request(chat_body()))
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    stats = until(simulator, lambda told: told["abandoned"] == 1)
    assert (stats["billed_lost"]["requests"], stats["in_flight"]) == (2, 0)


def test_a_slow_reply_drips(simulator):
    """The body comes byte by byte, and is whole in the end."""
    simulator.change(slow=1.0, drip_s=0.002)
    with connected(simulator) as connection:
        connection.sendall(raw_request(chat_body(max_tokens=1)))
        pieces = [connection.recv(65536) for _ in range(12)]
        assert max(map(len, pieces[2:])) < 20
        connection.sendall(raw_request(chat_body("next"), NATIVE, "Connection: close"))
        rest = b"".join(pieces) + read_all(connection)
    assert rest.count(b'"finish_reason":"length"') == 1
    assert simulator.stats()["served"] == 2


def test_a_stream_comes_over_time(simulator):
    """With `tokens_per_s` frames come one by one, and the next request on the connection waits for the last."""
    simulator.change(tokens_per_s=200.0)
    begun = time.monotonic()
    with connected(simulator) as connection:
        asked = raw_request(chat_body(incremental_output=True), NATIVE, "X-DashScope-SSE: enable")
        connection.sendall(asked + raw_request(chat_body(), NATIVE, "Connection: close"))
        first = connection.recv(65536)
        received = first + read_all(connection)
    assert first.count(b"event:result") == 1
    assert received.index(b"0\r\n\r\n") < received.rindex(b"HTTP/1.1 200")
    assert time.monotonic() - begun > 0.05


def until(simulator, holds):
    """Return the statistics once they hold; the test's timeout bounds the wait."""
    while not holds(told := simulator.stats()):
        time.sleep(0.005)
    return told


@pytest.mark.anyio
async def test_counts_are_exact_under_concurrency():
    """Faults, retries and 20 connections: what clients saw is what the simulator counted and billed."""
    settings = Settings(seed=4, error_500=0.1, reset=0.05, truncate=0.05, malformed=0.05, latency_ms=2, latency_sigma=1)
    answers = {}
    tokens = sent = 0

    async def ask(client, number):
        nonlocal tokens, sent
        while number not in answers:
            sent += 1
            try:
                reply = await client.post(NATIVE, content=chat_body(f"row {number}"))
                body = reply.json()
            except (httpx.TransportError, ValueError):
                continue
            if reply.status_code == 200:
                assert content(reply.content) == expected_answer(f"row {number}", seed=4)
                answers[number] = body["usage"]["total_tokens"]
                tokens += body["usage"]["total_tokens"]

    async with Simulator(settings) as simulator:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(base_url=simulator.url, headers=HEADERS, limits=limits, timeout=30) as client:
            await asyncio.gather(*(ask(client, number) for number in range(120)))
            told = (await client.get("/stats", params={"prompts": 1})).json()
            assert told == simulator.stats(prompts=True) | {"connections": told["connections"]}
    assert told["requests"] == sent > 130
    assert told["served"] == told["prompts_answered"] == 120
    assert told["prompts_answered_again"] == told["requests_after_answer"] == 0
    billed = told["billed_delivered"]
    assert billed["input_tokens"] + billed["output_tokens"] == tokens
    lost = sum(told["faults"].get(name, 0) for name in ("reset", "truncate", "malformed"))
    assert told["billed_lost"]["requests"] == lost > 0
    assert set(told["prompts"]) == {request_digest(chat_body(f"row {number}")) for number in range(120)}
    assert 1 < told["peak_in_flight"] <= told["peak_connections"] <= 20


@pytest.mark.anyio
async def test_limits_hold_on_the_wire():
    """An in-flight cap refuses what is above it, tells how long to wait, and refuses nobody afterwards."""
    async with (
        Simulator(Settings(max_in_flight=5, latency_ms=100, retry_after="seconds")) as simulator,
        httpx.AsyncClient(base_url=simulator.url, headers=HEADERS) as client,
    ):
        posts = (client.post(COMPATIBLE, content=chat_body(f"row {i}", wire="chat")) for i in range(20))
        replies = await asyncio.gather(*posts)
        statuses = [reply.status_code for reply in replies]
        assert (statuses.count(200), statuses.count(429)) == (5, 15)
        assert all(reply.headers["retry-after"] == "1" for reply in replies if reply.status_code == 429)
        assert (await client.post(OPENAI, content=chat_body(wire="chat"))).status_code == 200
        assert simulator.stats()["refused"] == {"total": 15, "concurrency": 15}
        assert simulator.stats()["peak_in_flight"] == 5


def test_a_thread_ends_with_its_connections(simulator):
    """close() drops what is waiting, keeps the last statistics, and may be called twice."""
    simulator.change(latency_ms=60_000)
    with connected(simulator) as connection:
        connection.sendall(raw_request(chat_body()))
        until(simulator, lambda told: told["in_flight"] == 1)
        simulator.close()
        assert read_all(connection) == b""
    assert simulator.stats()["requests"] == 1
    simulator.close()


def test_a_taken_port_is_an_error(simulator):
    """OSError, in the thread that asked."""
    with pytest.raises(OSError, match="address"):
        start_in_thread(port=int(simulator.url.rpartition(":")[2]))


def test_reset_stats_by_request(simulator):
    """POST /reset-stats counts from zero again."""
    httpx.post(simulator.url + NATIVE, content=chat_body(), headers=HEADERS)
    assert httpx.get(simulator.url + "/stats").json()["served"] == 1
    assert httpx.post(simulator.url + "/reset-stats").status_code == 200
    assert httpx.get(simulator.url + "/stats").json()["served"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_until_a_signal(number):
    """The blocking form tells its address, serves, and returns the statistics at SIGINT and SIGTERM."""
    script = (
        "from batchgen.simulator import Settings, serve\n"
        "told = serve(Settings(), on_ready=lambda url: print(url, flush=True))\n"
        "print(told['served'])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.post(url + NATIVE, content=chat_body(), headers=HEADERS).status_code == 200
        process.send_signal(number)
        assert process.stdout.readline() == "1\n"
        assert process.wait() == 0
