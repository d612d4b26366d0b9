"""Golden requests: the official SDKs and batchgen are pointed at one recorder; what they send must agree.

Where a page calls by curl, its body is compared as it stands; where it calls by SDK, the SDK really calls.
"""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from batchgen.providers import ModelSettings, open_provider
from batchgen.values import Prompt

from .calls import CHAT, CHAT_CALLS, CURL, CURL_CHAT, NATIVE, NATIVE_CALLS


class Recorder(ThreadingHTTPServer):
    """Keeps the last request; answers with a finished reply in either format, plain or as a stream."""

    last: tuple[str, dict[str, str], Any]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.last = (self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        message = {"role": "assistant", "content": "ok"}
        reply = {
            "request_id": "r",
            "output": {"choices": [{"finish_reason": "stop", "message": message}]},
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        streamed = self.headers.get("accept") == "text/event-stream" or body.get("stream")
        if "messages" in body:
            reply = {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop", "delta" if streamed else "message": message}],
            }
        data = json.dumps(reply).encode()
        if streamed:
            data = (
                b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:" + data + b"\n\n"
                if "output" in reply
                else b"data: " + data + b"\n\ndata: [DONE]\n\n"
            )
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streamed else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def recorder():
    """One recorder for the file."""
    server = Recorder(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ours(provider, base_url, model, parameters, prompt, *, stream):
    settings = ModelSettings(name=model, base_url=base_url, parameters=parameters)
    return open_provider(provider, settings).build_request(prompt, stream=stream)


def assert_same(request, recorder, expected):
    """Path, body and the headers that steer the server agree with what the SDK sent last."""
    path, headers, _ = recorder.last
    assert request.url == recorder.url + path
    assert json.loads(request.body) == expected
    mine = {name.lower(): value for name, value in request.headers.items()}
    assert mine["content-type"] == headers["content-type"].partition(";")[0] == "application/json"
    assert mine.get("x-dashscope-sse") == headers.get("x-dashscope-sse")
    assert mine.get("x-accel-buffering") == headers.get("x-accel-buffering")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("call", NATIVE_CALLS, ids=lambda c: c.page)
def test_native_calls_agree_with_the_official_sdk(call, recorder, monkeypatch):
    """`dashscope.Generation.call` and we send the same."""
    dashscope = pytest.importorskip("dashscope")
    monkeypatch.setattr(dashscope, "base_http_api_url", recorder.url + "/api/v1")
    answer = dashscope.Generation.call(call.model, api_key="sk-test", **call.sdk)
    if call.stream:
        list(answer)
    path, headers, sent = recorder.last
    assert path == NATIVE
    expected = {
        "model": sent["model"],
        "input": sent["input"],
        "parameters": {**sent.get("parameters", {}), **call.differs},
    }
    request = ours("dashscope", recorder.url, call.model, call.parameters, call.prompt, stream=call.stream)
    assert_same(request, recorder, expected)
    assert (headers.get("accept") == "text/event-stream") == (request.headers["Accept"] == "text/event-stream")


def test_the_asynchronous_native_call_agrees(recorder, monkeypatch):
    """`AioGeneration`, page S2's way to many calls at once, sends the same body."""
    dashscope = pytest.importorskip("dashscope")
    generation = pytest.importorskip("dashscope.aigc.generation").AioGeneration
    sessions = pytest.importorskip("dashscope.api_entities.aio_session")
    monkeypatch.setattr(dashscope, "base_http_api_url", recorder.url + "/api/v1")

    async def ask():
        await generation.call("qwen-plus", api_key="sk-test", prompt="What can you do?")
        await sessions.close_shared_aio_session()  # it would be reported as unclosed when the process ends

    asyncio.run(ask())
    path, _, sent = recorder.last
    request = ours("dashscope", recorder.url, "qwen-plus", {}, Prompt(text="What can you do?"), stream=False)
    assert request.url == recorder.url + path
    assert json.loads(request.body)["input"] == sent["input"]


@pytest.mark.parametrize("call", CHAT_CALLS, ids=lambda c: c.page)
def test_chat_calls_agree_with_the_official_sdk(call, recorder):
    """`client.chat.completions.create` and we send the same; stream options too."""
    openai = pytest.importorskip("openai")
    with openai.OpenAI(api_key="sk-test", base_url=recorder.url + "/compatible-mode/v1", max_retries=0) as client:
        answer = client.chat.completions.create(model=call.model, **call.sdk)
        if call.stream:
            list(answer)
    path, _, sent = recorder.last
    assert path == CHAT
    request = ours(
        "openai", recorder.url + "/compatible-mode/v1", call.model, call.parameters, call.prompt, stream=call.stream
    )
    assert_same(request, recorder, {**sent, **call.differs})


@pytest.mark.parametrize(
    ("page", "body", "prompt", "parameters", "stream", "differs"), CURL, ids=[entry[0] for entry in CURL]
)
def test_native_bodies_of_the_pages(page, body, prompt, parameters, stream, differs):
    """A page's curl call is sent from a job as it stands, but for what we always send."""
    request = ours("dashscope", "https://dashscope-intl.aliyuncs.com", body["model"], parameters, prompt, stream=stream)
    assert request.url == "https://dashscope-intl.aliyuncs.com" + NATIVE
    assert json.loads(request.body) == {**body, "parameters": {**body["parameters"], **differs}}
    assert ("X-DashScope-SSE" in request.headers) is stream


@pytest.mark.parametrize(
    ("page", "body", "prompt", "parameters", "stream", "differs"), CURL_CHAT, ids=[entry[0] for entry in CURL_CHAT]
)
def test_chat_bodies_of_the_pages(page, body, prompt, parameters, stream, differs):
    """The same for the compatible mode."""
    request = ours(
        "openai", "https://dashscope.aliyuncs.com/compatible-mode/v1", body["model"], parameters, prompt, stream=stream
    )
    assert request.url == "https://dashscope.aliyuncs.com" + CHAT
    assert json.loads(request.body) == {**body, **differs}
