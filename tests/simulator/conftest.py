"""Shared by the simulator's tests: a running simulator, and requests for it."""

from __future__ import annotations

import msgspec
import pytest

from batchgen.simulator import HttpRequest, start_in_thread

NATIVE = "/api/v1/services/aigc/text-generation/generation"
COMPATIBLE = "/compatible-mode/v1/chat/completions"
OPENAI = "/v1/chat/completions"
HEADERS = {"content-type": "application/json", "authorization": "Bearer test-key"}


@pytest.fixture
def anyio_backend():
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture
def simulator():
    """A simulator without limits and faults; `change()` gives it others."""
    with start_in_thread() as running:
        yield running


def chat_body(text="hello", *, wire="native", **parameters):
    """Return the body of a request with one user message."""
    messages = [{"role": "user", "content": text}]
    if wire == "native":
        fields = {
            "model": "qwen-plus",
            "input": {"messages": messages},
            "parameters": {"result_format": "message", **parameters},
        }
    else:
        fields = {"model": "qwen-plus", "messages": messages, **parameters}
    return msgspec.json.encode(fields)


def request(body, path=NATIVE, **headers):
    """Return a POST of `body`, as the reader gives it."""
    return HttpRequest("POST", path, HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}, body)


def raw_request(body, path=NATIVE, *more):
    """Return the bytes of a POST, as a client sends it."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in HEADERS.items()), *more]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
