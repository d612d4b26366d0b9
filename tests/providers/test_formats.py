"""Requests and their addresses: hosts and gateways, input forms, rows' own values, what must be streamed."""

from __future__ import annotations

import json

import pytest

from batchgen.errors import JobError
from batchgen.providers import VENDORS, ModelSettings, dashscope_native, open_provider, openai_chat, vendor_of
from batchgen.values import Prompt

from .samples import provider_for

TEXT = "/api/v1/services/aigc/text-generation/generation"
MULTI = "/api/v1/services/aigc/multimodal-generation/generation"
HI = [{"role": "user", "content": "hi"}]


def body(server, prompt, *, stream=False, **settings):
    return json.loads(provider_for(server, **settings).build_request(prompt, stream=stream).body)


@pytest.mark.parametrize(
    "host",
    [
        "https://dashscope.aliyuncs.com",
        "https://dashscope-intl.aliyuncs.com",
        "https://cn-hongkong.dashscope.aliyuncs.com",
        "https://dashscope-us.aliyuncs.com",
        "https://ws_1.cn-beijing.maas.aliyuncs.com",
        "https://trial.eu-central-1.maas.aliyuncs.com",
        "https://maas.qwencloudapi.com",
        "https://computevault.unodetech.xyz",
        "http://127.0.0.1:8080",
        "https://gw.example/team/qwen",
    ],
)
@pytest.mark.parametrize("suffix", ["", "/", "/api/v1", "/api/v1/", TEXT])
def test_native_endpoints(host, suffix):
    """Every region, workspace and gateway, given as host, API root or complete endpoint."""
    assert dashscope_native.endpoint(host + suffix, multimodal=False) == host + TEXT
    assert dashscope_native.endpoint(host + suffix, multimodal=True) == host + (TEXT if suffix == TEXT else MULTI)


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1/chat/completions"),
        (
            "https://dashscope-intl.aliyuncs.com",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
        ),
        ("https://h.aliyuncs.com/compatible-mode", "https://h.aliyuncs.com/compatible-mode/v1/chat/completions"),
        ("https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1/chat/completions"),
        (
            "https://a.azure.com/d/chat/completions?api-version=1",
            "https://a.azure.com/d/chat/completions?api-version=1",
        ),
    ],
)
def test_chat_endpoints(base_url, expected):
    """With or without `/v1`, a trailing slash, the whole path or a query string."""
    assert openai_chat.endpoint(base_url, vendor_of("openai", base_url)) == expected


def test_rows_override_the_job():
    """A row's model and parameters win; a null cell or an absent column leaves the parameter out."""
    parameters = {"seed": 1, "max_tokens": {"column": "limit"}}
    row = Prompt(messages=HI, model="qwen-max", parameters={"max_tokens": 9, "seed": None})
    for server in ("dashscope", "openai"):
        sent = body(server, row, parameters=parameters)
        assert sent["model"] == "qwen-max"
        assert (sent.get("parameters", sent)["max_tokens"], sent.get("parameters", sent)["seed"]) == (9, 1)
        plain = body(server, Prompt(messages=HI), parameters=parameters)
        assert "max_tokens" not in plain.get("parameters", plain)


def test_parameters_are_always_sent():
    """The native body has `parameters` with the message format even when the job has none."""
    assert body("dashscope", Prompt(text="x")) == {
        "model": "qwen-plus",
        "input": {"prompt": "x"},
        "parameters": {"result_format": "message"},
    }


def test_multimodal_models_and_media_take_the_other_path():
    """By name or by content; text becomes a part, chat-completions parts their native form."""
    provider = provider_for("dashscope", name="qwen3.5-plus")
    request = provider.build_request(Prompt(messages=HI), stream=False)
    assert request.url.endswith(MULTI)
    assert json.loads(request.body)["input"]["messages"][0]["content"] == [{"text": "hi"}]
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    picture = provider_for("dashscope").build_request(
        Prompt(messages=[{"role": "user", "content": parts}]), stream=False
    )
    assert picture.url.endswith(MULTI)
    assert json.loads(picture.body)["input"]["messages"][0]["content"] == [
        {"text": "what?"},
        {"image": "https://x/y.png"},
    ]
    listed = provider_for("dashscope").build_request(
        Prompt(messages=[{"role": "user", "content": [{"text": "a"}]}]), stream=False
    )
    assert listed.url.endswith(TEXT)
    told = provider_for("dashscope", name="qwen3.5-plus", base_url="https://h" + TEXT).build_request(
        Prompt(text="x"), stream=False
    )
    assert (told.url, json.loads(told.body)["input"]) == ("https://h" + TEXT, {"prompt": "x"})
    asked = provider.build_request(Prompt(text="c", history=[{"user": "a", "bot": "b"}]), stream=False)
    assert [m["content"][0]["text"] for m in json.loads(asked.body)["input"]["messages"]] == ["a", "b", "c"]


def test_the_prompt_form_becomes_messages_in_chat_completions():
    """There is no other form there."""
    sent = body("openai", Prompt(text="c", history=[{"user": "a", "bot": "b"}]))
    assert [(m["role"], m["content"]) for m in sent["messages"]] == [("user", "a"), ("assistant", "b"), ("user", "c")]


def test_extra_body_and_stream_options():
    """`extra_body` is merged; the job's stream options win, and none go out without a stream."""
    parameters = {"extra_body": {"top_k": 3}, "stream_options": {"include_usage": False}}
    assert body("vllm", Prompt(messages=HI), stream=True, parameters=parameters) == {
        "model": "qwen-plus",
        "messages": HI,
        "top_k": 3,
        "stream": True,
        "stream_options": {"include_usage": False},
    }
    assert body("vllm", Prompt(messages=HI), parameters=parameters) == {
        "model": "qwen-plus",
        "messages": HI,
        "top_k": 3,
    }


@pytest.mark.parametrize(
    ("model", "parameters", "expected"),
    [
        ("qwen1.5-72b-chat", {}, True),
        ("qwen-plus", {"tools": [1]}, False),
        ("qwen3.5-plus", {"tools": [1]}, True),
        ("qwen-plus", {"tools": [1], "enable_thinking": True}, True),
        ("qwen-plus", {"incremental_output": False}, False),
    ],
)
def test_increments_by_default(model, parameters, expected):
    """A stream is incremental, unless the job says otherwise or older models' tools forbid it."""
    sent = body("dashscope", Prompt(messages=HI), stream=True, name=model, parameters=parameters)
    assert sent["parameters"]["incremental_output"] is expected


@pytest.mark.parametrize(
    ("model", "parameters", "expected"),
    [
        ("qwq-plus", {}, True),
        ("qvq-max", {}, True),
        ("qwen3-32b", {}, True),
        ("qwen3-32b", {"enable_thinking": False}, False),
        ("qwen3-235b-a22b-thinking-2507", {}, True),
        ("qwen3-30b-a3b-instruct-2507", {}, False),
        ("qwen-plus", {"enable_thinking": True}, False),
        ("qwen3.5-plus", {}, False),
        ("qwen3-32b", {"enable_thinking": {"column": "t"}}, True),
        ("qwen-max", {}, False),
    ],
)
def test_models_that_only_stream(model, parameters, expected):
    """Known by name and thinking switch, on both of DashScope's APIs and nowhere else."""
    assert provider_for("dashscope", parameters=parameters).must_stream(model) is expected
    assert provider_for("compatible", parameters=parameters).must_stream(model) is expected
    assert provider_for("vllm", parameters=parameters).must_stream(model) is False


def test_headers_of_the_job_win():
    """Names are compared without case; the workspace header goes out as written."""
    headers = {"accept": "x/y", "X-DashScope-WorkSpace": "ws_1"}
    sent = provider_for("dashscope", headers=headers).build_request(Prompt(text="x"), stream=True).headers
    assert sent == {
        "Content-Type": "application/json",
        "X-DashScope-SSE": "enable",
        "X-Accel-Buffering": "no",
        **headers,
    }


def test_the_registry():
    """Each provider opens with its own defaults; a wrong word names the nearest."""
    for word, vendor in VENDORS.items():
        base_url = vendor.base_url or f"https://me{vendor.hosts[0]}"
        assert vendor_of(word, base_url) is vendor
        settings = ModelSettings(name="m", base_url=base_url, parameters={"max_tokens": 5})
        assert open_provider(word, settings).remarks() == []
        assert vendor.api_key_env.endswith("_API_KEY")
    with pytest.raises(JobError, match="Did you mean 'dashscope'"):
        open_provider("dashcope", ModelSettings(name="m", base_url="https://h"))
    with pytest.raises(JobError, match=r"model\.base_url.*is not a URL"):
        open_provider("openai", ModelSettings(name="m", base_url="https://[::1"))
