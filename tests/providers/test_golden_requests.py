"""Golden requests: the official SDKs and batchgen are pointed at one recorder; what they send must agree.

Each entry is a sample call of a page (S0: DashScope, open-source Qwen, English, 2024; S1: Model Studio, Chinese, 2024;
S2: text generation, English, 2025; S3: a gateway in the native format). Where the page calls by curl, its body is
compared as it stands; where it calls by SDK, the SDK really calls. `differs` says what we do otherwise on purpose.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from batchgen.providers import ModelSettings, open_provider
from batchgen.values import Prompt, Request

NATIVE, CHAT = "/api/v1/services/aigc/text-generation/generation", "/compatible-mode/v1/chat/completions"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
WHO, WHO_ZH = {"role": "user", "content": "Who are you?"}, {"role": "user", "content": "你是谁?"}
TURNS = [
    SYSTEM,
    {"role": "user", "content": "你好"},
    {"role": "assistant", "content": "你好啊。"},
    {"role": "user", "content": "你会什么?"},
]
TOOL = {"type": "function", "function": {"name": "get_current_weather", "description": "Weather of a place",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}}}  # fmt: skip
TOOL_TURNS = [WHO, {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function":
              {"name": "get_current_weather", "arguments": "{}"}}]}, {"role": "tool", "content": "12", "tool_call_id": "c1"}]  # fmt: skip


class Call(NamedTuple):
    """A sample call: for the SDK the keyword arguments, for us prompt, parameters and streaming."""

    page: str
    sdk: dict[str, Any]
    prompt: Prompt
    parameters: dict[str, Any] = {}
    stream: bool = False
    model: str = "qwen-plus"
    differs: dict[str, Any] = {}
    """Fields of our `parameters` (or top level) that the SDK does not send, with our value; None: we leave it out."""


def says(*messages: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return {"messages": list(messages), **arguments}


SAMPLED = {"seed": 1234, "temperature": 0.8, "top_p": 0.8, "top_k": 50}
NATIVE_CALLS = [
    Call("S0 single round", says(WHO, seed=77, result_format="message"), Prompt([WHO]), {"seed": 77}, model="qwen1.5-72b-chat"),
    Call("S0 single round, Java: topP", says(WHO, top_p=0.8, result_format="message"), Prompt([WHO]), {"top_p": 0.8}, model="qwen-72b-chat"),
    Call("S0 multi-round", says(SYSTEM, WHO, {"role": "assistant", "content": "Qwen"}, WHO, result_format="message"),
         Prompt([SYSTEM, WHO, {"role": "assistant", "content": "Qwen"}, WHO]), model="qwen1.5-72b-chat"),
    Call("S0 multi-round, Java: prompt after messages", {"messages": [SYSTEM], "prompt": "Who?", "result_format": "message"},
         Prompt([SYSTEM], text="Who?"), model="qwen-72b-chat"),
    Call("S0 streaming", says(WHO, seed=7, result_format="message", stream=True, output_in_full=True), Prompt([WHO]),
         {"seed": 7, "output_in_full": True}, True, "qwen1.5-72b-chat", {"incremental_output": True}),  # ours by default; the page's is full text
    Call("S0 streaming, Java: incrementalOutput", says(WHO, top_p=0.8, result_format="message", stream=True, incremental_output=True),
         Prompt([WHO]), {"top_p": 0.8}, True, "qwen1.5-72b-chat"),
    Call("S0 parameters: history", {"prompt": "And now?", "history": [{"user": "Hi", "bot": "Hello"}], "result_format": "text"},
         Prompt(text="And now?", history=[{"user": "Hi", "bot": "Hello"}]), {"result_format": "text"}),
    Call("S0 parameters: all", says(WHO, result_format="text", seed=65535, max_tokens=1500, top_p=0.8, top_k=50, repetition_penalty=1.1,
         temperature=0.85, stop=[[37763, 367]]), Prompt([WHO]), {"result_format": "text", "seed": 65535, "max_tokens": 1500, "top_p": 0.8,
         "top_k": 50, "repetition_penalty": 1.1, "temperature": 0.85, "stop": [[37763, 367]]}),
    Call("S1 single round", says(SYSTEM, WHO_ZH, result_format="message", **SAMPLED), Prompt([SYSTEM, WHO_ZH]), SAMPLED, model="qwen2-72b-instruct"),
    Call("S1 multi-round", says(*TURNS, result_format="message"), Prompt(TURNS), model="qwen2-72b-instruct"),
    Call("S1 streaming", says(SYSTEM, WHO_ZH, result_format="message", stream=True, incremental_output=True), Prompt([SYSTEM, WHO_ZH]),
         stream=True, model="qwen2-72b-instruct"),
    Call("S1 parameters: cumulative stream", says(WHO, result_format="message", stream=True, incremental_output=False), Prompt([WHO]),
         {"incremental_output": False}, True, differs={"incremental_output": False}),  # the SDK asks for increments and joins them itself
    Call("S1 parameters: stop strings", says(WHO, result_format="message", stop=["你好", "天气"]), Prompt([WHO]), {"stop": ["你好", "天气"]}),
    Call("S1 parameters: stop token ids", says(WHO, result_format="message", stop=[108386, 104307]), Prompt([WHO]), {"stop": [108386, 104307]}),
    Call("S1 parameters: search on", says(WHO, result_format="message", enable_search=True), Prompt([WHO]), {"enable_search": True}),
    Call("S1 parameters: search off", says(WHO, result_format="message", enable_search=False), Prompt([WHO]), {"enable_search": False},
         differs={"enable_search": False}),  # the SDK drops a false one for qwen*; we send what the job says
    Call("S1 parameters: presence_penalty", says(WHO, result_format="message", presence_penalty=1.0), Prompt([WHO]), {"presence_penalty": 1.0}),
    Call("S1 function call", says(*TOOL_TURNS, result_format="message", tools=[TOOL]), Prompt(TOOL_TURNS), {"tools": [TOOL]}),
    Call("S1 function call, older tool role", says(WHO, {"role": "tool", "content": "12", "name": "get_current_weather"}, result_format="message",
         tools=[TOOL]), Prompt([WHO, {"role": "tool", "content": "12", "name": "get_current_weather"}]), {"tools": [TOOL]}),
    Call("S2 get started", says(SYSTEM, WHO, result_format="message"), Prompt([SYSTEM, WHO])),
    Call("S2 thinking", says(WHO, result_format="message", enable_thinking=True, thinking_budget=50, stream=True, incremental_output=True),
         Prompt([WHO]), {"enable_thinking": True, "thinking_budget": 50}, True),
    Call("S2 asynchronous: prompt", {"prompt": "What can you do?"}, Prompt(text="What can you do?"),
         differs={"result_format": "message"}),  # message is our default; the page relies on text
    Call("structured answers", says(WHO, result_format="message", response_format={"type": "json_object"}, logprobs=True, n=1), Prompt([WHO]),
         {"response_format": {"type": "json_object"}, "logprobs": True, "n": 1}),
]  # fmt: skip
CHAT_CALLS = [
    Call("S1 single round", says(SYSTEM, WHO_ZH, temperature=0.8, top_p=0.8), Prompt([SYSTEM, WHO_ZH]), {"temperature": 0.8, "top_p": 0.8}),
    Call("S1 multi-round", says(*TURNS, temperature=0.8, top_p=0.8), Prompt(TURNS), {"temperature": 0.8, "top_p": 0.8}),
    Call("S1 streaming with usage", says(SYSTEM, WHO_ZH, stream=True, stream_options={"include_usage": True}), Prompt([SYSTEM, WHO_ZH]), stream=True),
    Call("S1 parameters: extra_body", says(WHO, extra_body={"enable_search": True}), Prompt([WHO]), {"extra_body": {"enable_search": True}}),
    Call("S1 parameters: all", says(WHO, presence_penalty=1, max_tokens=2000, seed=3, stop=["你好", "天气"], tools=[TOOL]), Prompt([WHO]),
         {"presence_penalty": 1, "max_tokens": 2000, "seed": 3, "stop": ["你好", "天气"], "tools": [TOOL]}),
    Call("S2 get started", says(SYSTEM, WHO), Prompt([SYSTEM, WHO])),
    Call("S2 asynchronous", says(WHO), Prompt([WHO])),
    Call("S2 thinking", says(WHO, stream=True, extra_body={"enable_thinking": False}), Prompt([WHO]), {"enable_thinking": False}, True,
         differs={"stream_options": {"include_usage": True}}),  # tokens are what a row costs: we always ask for them
    Call("tool results", says(*TOOL_TURNS, tools=[TOOL], tool_choice="auto"), Prompt(TOOL_TURNS), {"tools": [TOOL], "tool_choice": "auto"}),
    Call("OpenAI's limits", says(WHO, max_completion_tokens=9, reasoning_effort="low", response_format={"type": "json_object"}), Prompt([WHO]),
         {"max_completion_tokens": 9, "reasoning_effort": "low", "response_format": {"type": "json_object"}}),
]  # fmt: skip

# Bodies that the pages give for curl and other languages, with what makes batchgen send them.
CURL = [
    ("S0 without SSE", {"model": "qwen-14b-chat", "input": {"messages": [SYSTEM, WHO]}, "parameters": {}}, Prompt([SYSTEM, WHO]), {}, False,
     {"result_format": "message"}),  # the page leaves the old text format on
    ("S0 with SSE", {"model": "qwen1.5-72b-chat", "input": {"messages": [SYSTEM, WHO]}, "parameters": {}}, Prompt([SYSTEM, WHO]), {}, True,
     {"result_format": "message", "incremental_output": True}),
    ("S1 single round", {"model": "qwen2-72b-instruct", "input": {"messages": [SYSTEM, WHO_ZH]}, "parameters": {"result_format": "message"}},
     Prompt([SYSTEM, WHO_ZH]), {}, False, {}),
    ("S1 multi-round", {"model": "qwen2-72b-instruct", "input": {"messages": TURNS}, "parameters": {"result_format": "message", "top_p": 0.8,
     "top_k": 50, "temperature": 0.8}}, Prompt(TURNS), {"top_p": 0.8, "top_k": 50, "temperature": 0.8}, False, {}),
    ("S1 streaming", {"model": "qwen2-72b-instruct", "input": {"messages": [SYSTEM, WHO_ZH]}, "parameters": {"result_format": "message",
     "incremental_output": True}}, Prompt([SYSTEM, WHO_ZH]), {}, True, {}),
    ("S1 prompt", {"model": "qwen-turbo", "input": {"prompt": "你好"}, "parameters": {"result_format": "text"}}, Prompt(text="你好"),
     {"result_format": "text"}, False, {}),
    ("S2 curl, PHP, Node.js, C#, Go, Java; S3 gateway", {"model": "qwen-plus", "input": {"messages": [SYSTEM, WHO]}, "parameters":
     {"result_format": "message"}}, Prompt([SYSTEM, WHO]), {}, False, {}),
]  # fmt: skip
CURL_CHAT = [
    ("S1 single round; S2 curl, PHP, C#, Go, Java", {"model": "qwen2-72b-instruct", "messages": [SYSTEM, WHO_ZH]}, Prompt([SYSTEM, WHO_ZH]), {}, False, {}),
    ("S1 multi-round", {"model": "qwen2-72b-instruct", "messages": TURNS, "seed": 1234, "top_p": 0.8, "temperature": 0.8}, Prompt(TURNS),
     {"seed": 1234, "top_p": 0.8, "temperature": 0.8}, False, {}),
    ("S1 streaming", {"model": "qwen2-72b-instruct", "messages": [SYSTEM, WHO_ZH], "stream": True}, Prompt([SYSTEM, WHO_ZH]), {}, True,
     {"stream_options": {"include_usage": True}}),
]  # fmt: skip


class Recorder(ThreadingHTTPServer):
    """Keeps the last request; answers with a finished reply in either format, plain or as a stream."""

    last: tuple[str, dict[str, str], Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.last = (self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        message = {"role": "assistant", "content": "ok"}
        reply: dict[str, Any] = {"request_id": "r", "output": {"choices": [{"finish_reason": "stop", "message": message}]},
                                 "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
        streamed = self.headers.get("accept") == "text/event-stream" or body.get("stream")
        if "messages" in body:
            reply = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                     "choices": [{"index": 0, "finish_reason": "stop", "delta" if streamed else "message": message}]}  # fmt: skip
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

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """One recorder for the file."""
    server = Recorder(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ours(
    provider: str, base_url: str, model: str, parameters: dict[str, Any], prompt: Prompt, *, stream: bool
) -> Request:
    settings = ModelSettings(name=model, base_url=base_url, parameters=parameters)
    return open_provider(provider, settings).build_request(prompt, stream=stream)


def assert_same(request: Request, recorder: Recorder, expected: Any) -> None:
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
def test_native_calls_agree_with_the_official_sdk(
    call: Call, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
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


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_asynchronous_native_call_agrees(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """`AioGeneration`, page S2's way to many calls at once, sends the same body (and leaves its session open)."""
    dashscope = pytest.importorskip("dashscope")
    generation = pytest.importorskip("dashscope.aigc.generation").AioGeneration
    monkeypatch.setattr(dashscope, "base_http_api_url", recorder.url + "/api/v1")
    asyncio.run(generation.call("qwen-plus", api_key="sk-test", prompt="What can you do?"))
    gc.collect()
    path, _, sent = recorder.last
    request = ours("dashscope", recorder.url, "qwen-plus", {}, Prompt(text="What can you do?"), stream=False)
    assert request.url == recorder.url + path
    assert json.loads(request.body)["input"] == sent["input"]


@pytest.mark.parametrize("call", CHAT_CALLS, ids=lambda c: c.page)
def test_chat_calls_agree_with_the_official_sdk(call: Call, recorder: Recorder) -> None:
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
def test_native_bodies_of_the_pages(
    page: str, body: Any, prompt: Prompt, parameters: Any, stream: bool, differs: Any
) -> None:
    """A page's curl call is sent from a job as it stands, but for what we always send."""
    request = ours("dashscope", "https://dashscope-intl.aliyuncs.com", body["model"], parameters, prompt, stream=stream)
    assert request.url == "https://dashscope-intl.aliyuncs.com" + NATIVE
    assert json.loads(request.body) == {**body, "parameters": {**body["parameters"], **differs}}
    assert ("X-DashScope-SSE" in request.headers) is stream


@pytest.mark.parametrize(
    ("page", "body", "prompt", "parameters", "stream", "differs"), CURL_CHAT, ids=[entry[0] for entry in CURL_CHAT]
)
def test_chat_bodies_of_the_pages(
    page: str, body: Any, prompt: Prompt, parameters: Any, stream: bool, differs: Any
) -> None:
    """The same for the compatible mode."""
    request = ours(
        "openai", "https://dashscope.aliyuncs.com/compatible-mode/v1", body["model"], parameters, prompt, stream=stream
    )
    assert request.url == "https://dashscope.aliyuncs.com" + CHAT
    assert json.loads(request.body) == {**body, **differs}
