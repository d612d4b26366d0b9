"""Calls that the server holds open for an hour, in an hour that passes at once.

The clients' own connections lead to a server in the same event loop. While that holds all calls that it expects, the
loop's clock is put forward to the next timer whenever no byte has come.
"""

import asyncio
import json
import selectors
import time

import anyio
import pytest

from batchgen.api import arun
from batchgen.engine import online
from batchgen.engine import run as run_module
from batchgen.job.settings import Job
from batchgen.secret import Secrets
from batchgen.transport import open_transport
from batchgen.values import Failure, FailureKind, Request, Response
from tests.inputs import write_csv

HOUR_S = 3600.0
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Blue"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21},
}
CHUNK = {**ANSWER, "object": "chat.completion.chunk"}
CHUNK["choices"] = [{"index": 0, "delta": {"role": "assistant", "content": "Blue"}, "finish_reason": "stop"}]


@pytest.fixture
def hours(monkeypatch):
    """Return a function that runs a coroutine function in an event loop whose hours pass at once."""
    real, skipped_s = time.monotonic, [0.0]
    Holding.held = 0

    class Selector(selectors.DefaultSelector):
        def select(self, timeout=None):
            if timeout is None or Holding.held < Holding.expected:
                return super().select(timeout)
            ready = super().select(0)
            if not ready:
                skipped_s[0] += timeout + 0.001
            return ready

    monkeypatch.setattr(time, "monotonic", lambda: real() + skipped_s[0])

    def run(main):
        factory = {"loop_factory": lambda: asyncio.SelectorEventLoop(Selector())}
        return anyio.run(main, backend_options=factory)

    return run


class Holding:
    """A server that holds each request for `hold_s`: `head` at first, `beat` every half minute until then, `tail`.
    So many requests are `cut`: their connections are dropped then, later ones answered at once; the first `quick` are
    too. `expected` calls are held at a time."""

    held = expected = 0

    def __init__(self, hold_s, head=b"", beat=b"", tail=b"", *, expected, cut=0, quick=0):
        Holding.expected = expected
        self._quick = quick
        self._hold_s, self._head, self._beat, self._tail, self._cut = hold_s, head, beat, tail, cut
        self.requests = 0
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *error):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            await self._hold(reader, writer)
        finally:
            writer.transport.abort()

    async def _hold(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        self.requests += 1
        cut = self.requests <= self._cut
        clock = asyncio.get_running_loop().time
        held = self.requests > self._quick and (cut or not self._cut)
        end_s = clock() + self._hold_s * held
        Holding.held += held
        writer.write(self._head)
        while (left_s := end_s - clock()) > 0:
            await asyncio.sleep(min(left_s, 30.0))
            writer.write(self._beat)
        Holding.held -= held
        if not cut:
            writer.write(self._tail)
            await writer.drain()
            writer.close()
            await writer.wait_closed()


def whole(body, kind=b"application/json"):
    return b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        kind,
        len(body),
        body,
    )


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(kind):
    return b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % kind


BODY = json.dumps(ANSWER).encode()
EVENTS = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(CHUNK).encode()
WAYS = {
    "silence": (b"", b"", whole(BODY)),
    "interim replies": (b"", b"HTTP/1.1 102 Processing\r\n\r\n", whole(BODY)),
    "blank lines": (chunked(b"application/json"), chunk(b"\n"), chunk(BODY) + b"0\r\n\r\n"),
}
STREAMED = {
    "silence": (b"", b"", whole(EVENTS, b"text/event-stream")),
    "comments": (chunked(b"text/event-stream"), chunk(b": keep-alive\n\n"), chunk(EVENTS) + b"0\r\n\r\n"),
}
ALL = [(name, False) for name in WAYS] + [(name, True) for name in STREAMED]


@pytest.mark.parametrize("kind", ["fast", "httpx"])
@pytest.mark.parametrize(("way", "streamed"), ALL)
def test_a_connection_is_held_for_an_hour(hours, kind, way, streamed):
    """By both clients, whatever comes over it until then; it ends at the given time, and not before."""

    async def main(timeout_s):
        async with Holding(HOUR_S, *(STREAMED if streamed else WAYS)[way], expected=1) as url:
            transport = open_transport(kind, base_url=url, secrets=Secrets(()), concurrency=2)
            async with transport:
                began_s = anyio.current_time()
                request = Request(f"{url}/v1/chat/completions", b"{}", {}, streamed=streamed)
                outcome = await transport.send(request, timeout_s=timeout_s)
                return outcome, anyio.current_time() - began_s

    outcome, took_s = hours(lambda: main(HOUR_S + 30))
    assert isinstance(outcome, Response), outcome
    assert HOUR_S <= took_s < HOUR_S + 5
    if way != "comments":  # whose bytes are no silence
        outcome, took_s = hours(lambda: main(1800.0))
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.maybe_billed) == (FailureKind.TIMEOUT, True)
        assert 1800 <= took_s < 1830


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return a job of three rows in a lane at an address."""
    for name, pause_s in (("LOOK_EVERY_S", 20.0), ("STATE_EVERY_S", 60.0)):  # there are hours of them
        monkeypatch.setattr(online if hasattr(online, name) else run_module, name, pause_s)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")

    def make(url, lane, rows=3, **model):
        provider = "dashscope" if lane == "batch-chat" else "openai"
        price = {"input": 2.0, "output": 8.0, "currency": "USD", "service_tiers": {"flex": 0.5}}
        table = {
            "name": "held",
            "input": {"path": str(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(rows)])), "dedupe": False},
            "prompt": {"user": "{{ text }}"},
            "model": {"provider": provider, "name": "m", "base_url": url, "lane": lane, **model},
            "output": {"path": str(tmp_path / "out")},
            "pricing": {"models": {"m": price}},
        }
        return Job.from_dict({**table, "model": {**table["model"], "parameters": {"max_tokens": 30}}})

    return make


LANES = [("batch-chat", HOUR_S), ("flex", 890.0)]


@pytest.mark.parametrize(("lane", "hold_s"), LANES)
@pytest.mark.parametrize(
    ("way", "streamed"),
    [pytest.param(*one, marks=() if one == ("silence", False) else pytest.mark.slow) for one in ALL],
)
def test_a_run_whose_calls_are_held(hours, job, lane, hold_s, way, streamed):
    """No row fails, none is asked twice, and nothing counts as possibly billed."""

    async def main():
        server = Holding(hold_s, *(STREAMED if streamed else WAYS)[way], expected=3)
        async with server as url:
            began_s = anyio.current_time()
            done = await arun(job(url, lane, stream=streamed))
            return done, server.requests, anyio.current_time() - began_s

    done, requests, took_s = hours(main)
    assert (done.state, done.succeeded, done.attempts, requests) == ("complete", 3, 3, 3), done.error
    assert done.possibly_billed.requests == 0
    assert took_s >= hold_s


@pytest.mark.parametrize(("lane", "hold_s"), LANES)
def test_a_call_is_held_long_after_quick_answers(hours, job, lane, hold_s):
    """A queue that was short at first says nothing of how long it may be later."""

    async def main():
        server = Holding(hold_s, *WAYS["silence"], expected=3, quick=300)
        async with server as url:
            return await arun(job(url, lane, 303)), server.requests

    done, requests = hours(main)
    assert (done.state, done.succeeded, done.attempts, requests) == ("complete", 303, 303, 303), done.error
    assert done.possibly_billed.requests == 0


@pytest.mark.parametrize(("lane", "hold_s"), [("batch-chat", 3000.0), ("flex", 600.0)])
def test_a_drop_after_a_long_hold_may_be_billed(hours, job, lane, hold_s):
    """Each of the calls; then the rows are asked again, and have their answers."""

    async def main():
        async with Holding(hold_s, *WAYS["silence"], expected=3, cut=3) as url:
            return await arun(job(url, lane))

    done = hours(main)
    assert (done.state, done.succeeded) == ("complete", 3), done.error
    assert done.possibly_billed.requests == 3
    assert done.attempts == 6
