"""What `check` says about `[model]`: ranges and combinations, fatal or not, by the dotted key."""

from __future__ import annotations

import pytest

from .samples import provider_for

TOOL = {"type": "function", "function": {"name": "f"}}
ANY = ("dashscope", "openai")
# servers, settings, keys that are fatal, keys that are only a warning
CASES = [
    (ANY, {}, "", ""),
    (("dashscope",), {"temperature": 2.0}, "temperature", ""),
    (("dashscope",), {"temperature": 0, "top_p": 0.8, "top_k": 0, "seed": 0, "repetition_penalty": 1.1}, "", ""),
    (("openai",), {"temperature": 2.0}, "", ""),
    (ANY, {"temperature": -0.1}, "temperature", ""),
    (ANY, {"temperature": "hot"}, "temperature", ""),
    (ANY, {"temperature": True}, "temperature", ""),
    (ANY, {"temperature": {"column": "t"}}, "", ""),
    (("dashscope", "compatible"), {"top_p": 0}, "top_p", ""),
    (("dashscope", "compatible"), {"top_p": 1.0}, "", "top_p"),
    (ANY, {"top_p": 1.1}, "top_p", ""),
    (ANY, {"max_tokens": 0}, "max_tokens", ""),
    (ANY, {"max_tokns": 16}, "", "max_tokns"),
    (ANY, {"temprature": 0.5}, "", "temprature"),
    (ANY, {"min_tokens": 1}, "", ""),
    (ANY, {"a_vendors_own": 1}, "", ""),
    (ANY, {"max_tokens": 10.5}, "max_tokens", ""),
    (ANY, {"max_tokens": 1, "max_completion_tokens": 1}, "", "max_tokens"),
    (ANY, {"presence_penalty": 2.5}, "presence_penalty", ""),
    (("dashscope",), {"repetition_penalty": 0}, "repetition_penalty", ""),
    (("dashscope",), {"seed": 2**31}, "", "seed"),
    (("dashscope",), {"seed": 2**64}, "seed", ""),
    (ANY, {"n": 2}, "n", ""),
    (ANY, {"n": 1}, "", ""),
    (ANY, {"top_logprobs": 2}, "top_logprobs", ""),
    (("dashscope",), {"top_logprobs": 6, "logprobs": True}, "top_logprobs", ""),
    (ANY, {"stream": True}, "stream", ""),
    (ANY, {"extra_headers": {}}, "extra_headers", ""),
    (ANY, {"stop": ["a", 104307]}, "stop", ""),
    (ANY, {"stop": ["a", "b"]}, "", ""),
    (("dashscope",), {"stop": [1, 2]}, "", ""),
    (("dashscope",), {"stop": [[1, 2], [3]]}, "", ""),
    (("dashscope",), {"stop": [[1, "a"]]}, "stop", ""),
    (("openai", "compatible"), {"stop": [1, 2]}, "stop", ""),
    (("openai",), {"stop": list("abcde")}, "stop", ""),
    (("vllm",), {"stop": list("abcde")}, "", ""),
    (ANY, {"tools": []}, "tools", ""),
    (ANY, {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", ""),
    (ANY, {"tool_choice": "auto"}, "tool_choice", ""),
    (("dashscope",), {"tools": [TOOL], "incremental_output": True}, "incremental_output", ""),
    (("dashscope",), {"tools": [TOOL], "result_format": "text"}, "result_format", ""),
    (("dashscope",), {"result_format": "json"}, "result_format", ""),
    (("dashscope",), {"enable_thinking": True, "incremental_output": False}, "incremental_output", ""),
    (("dashscope", "compatible"), {"enable_thinking": False, "thinking_budget": 5}, "thinking_budget", ""),
    (("dashscope", "compatible"), {"thinking_budget": 5, "reasoning_effort": "low"}, "reasoning_effort", ""),
    (("compatible",), {"enable_thinking": True, "response_format": {"type": "json_object"}}, "", "response_format"),
    (
        ("compatible",),
        {"enable_thinking": True, "tools": [TOOL], "tool_choice": {"type": "function"}},
        "tool_choice",
        "",
    ),
    (("openai",), {"metadata": {str(i): "x" for i in range(17)}}, "metadata", ""),
    (("vllm",), {"extra_body": {"temperature": 3}}, "temperature", ""),
    (("vllm",), {"extra_body": 1}, "extra_body", ""),
    (ANY, {"some_new_vendor_parameter": [1]}, "", ""),
]


def keys(server, **settings):
    remarks = provider_for(server, **settings).remarks()
    short = [(remark.key.removeprefix("model.").removeprefix("parameters."), remark.fatal) for remark in remarks]
    return tuple(" ".join(key for key, fatal in short if fatal is wanted) for wanted in (True, False))


@pytest.mark.parametrize(
    ("server", "parameters", "fatal", "warning"), [(s, *rest) for servers, *rest in CASES for s in servers]
)
def test_parameters(server, parameters, fatal, warning):
    """Known ranges and forbidden combinations are named by key; unknown names pass."""
    assert keys(server, parameters=parameters) == (fatal, warning)


@pytest.mark.parametrize(
    ("server", "model", "parameters", "fatal", "warning"),
    [
        ("dashscope", "qwq-plus", {"enable_thinking": False}, "enable_thinking", ""),
        ("dashscope", "qwen2-72b-instruct", {"enable_thinking": True}, "", "enable_thinking"),
        ("dashscope", "qwen3-32b", {}, "", "enable_thinking"),
        ("compatible", "qwen3.5-plus", {}, "", "enable_thinking"),
        ("dashscope", "qwen3.5-plus", {"tools": [TOOL], "incremental_output": True, "enable_thinking": False}, "", ""),
        ("dashscope", "glm-5.2", {"tools": [TOOL], "incremental_output": True}, "", "incremental_output"),
        ("openai", "gpt-5.5", {"max_tokens": 5, "temperature": 0.5}, "", "max_tokens temperature"),
        ("openai", "o3", {"stop": "x"}, "", "stop"),
    ],
)
def test_models_that_are_stricter(server, model, parameters, fatal, warning):
    """What one model refuses and another takes is a warning; what it can never take is fatal."""
    assert keys(server, name=model, parameters=parameters) == (fatal, warning)


@pytest.mark.parametrize(
    ("server", "settings", "fatal", "warning"),
    [
        ("dashscope", {"headers": {"Authorization": "Bearer x"}}, "headers.Authorization", ""),
        ("dashscope", {"headers": {"X-DashScope-Async": "enable"}}, "headers.X-DashScope-Async", ""),
        ("dashscope", {"headers": {"X-DashScope-Wait-Timeout": "30"}}, "", "headers.X-DashScope-Wait-Timeout"),
        ("dashscope", {"headers": {"X-DashScope-WorkSpace": "ws_1"}}, "", ""),
        ("dashscope", {"headers": {"Transfer-Encoding": "chunked"}}, "headers.Transfer-Encoding", ""),
        ("openai", {"headers": {"content-length": "7"}}, "headers.content-length", ""),
        ("openai", {"headers": {"X-A": "b\r\nEvil: c"}}, "headers.X-A", ""),
        ("dashscope", {"base_url": "dashscope.aliyuncs.com"}, "base_url", ""),
        ("openai", {"base_url": "https://user:pw@h"}, "base_url", ""),
        ("openai", {"base_url": "https://dashscope.aliyuncs-intl.com/compatible-mode/v1"}, "base_url", ""),
        ("dashscope", {"base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1"}, "base_url", ""),
        ("openai", {"base_url": "https://h/api/v1/services/aigc/text-generation/generation"}, "base_url", ""),
        ("openai", {"base_url": "http://example.org/v1"}, "", "base_url"),
        ("openai", {"base_url": "http://10.0.0.7:8000/v1"}, "", ""),
    ],
)
def test_headers_and_addresses(server, settings, fatal, warning):
    """Keys in headers, split headers, wrong and mistyped addresses."""
    assert keys(server, **settings) == (fatal, warning)
