"""The sample calls of the vendors' pages, as tables.

S0: DashScope, open-source Qwen, English, 2024; S1: Model Studio, Chinese, 2024; S2: text generation, English, 2025;
S3: a gateway in the native format. `differs` says what we send otherwise, and a comment why.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from batchgen.values import Prompt

NATIVE, CHAT = "/api/v1/services/aigc/text-generation/generation", "/compatible-mode/v1/chat/completions"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
WHO, WHO_ZH = {"role": "user", "content": "Who are you?"}, {"role": "user", "content": "你是谁?"}
TURNS = [
    SYSTEM,
    {"role": "user", "content": "你好"},
    {"role": "assistant", "content": "你好啊。"},
    {"role": "user", "content": "你会什么?"},
]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Weather of a place",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
TOOL_TURNS = [
    WHO,
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "get_current_weather", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "content": "12", "tool_call_id": "c1"},
]


class Call(NamedTuple):
    """A sample call: for the SDK the keyword arguments, for us prompt, parameters and streaming."""

    page: str
    sdk: dict[str, Any]
    prompt: Prompt
    parameters: Mapping[str, Any] = MappingProxyType({})
    stream: bool = False
    model: str = "qwen-plus"
    differs: Mapping[str, Any] = MappingProxyType({})
    """Fields of our `parameters` (or of the top level) that the SDK sends otherwise or not at all, with our value."""


def says(*messages, **arguments):
    return {"messages": list(messages), **arguments}


SAMPLED = {"seed": 1234, "temperature": 0.8, "top_p": 0.8, "top_k": 50}
NATIVE_CALLS = [
    Call(
        "S0 single round",
        says(WHO, seed=77, result_format="message"),
        Prompt([WHO]),
        {"seed": 77},
        model="qwen1.5-72b-chat",
    ),
    Call(
        "S0 single round, Java: topP",
        says(WHO, top_p=0.8, result_format="message"),
        Prompt([WHO]),
        {"top_p": 0.8},
        model="qwen-72b-chat",
    ),
    Call(
        "S0 multi-round",
        says(SYSTEM, WHO, {"role": "assistant", "content": "Qwen"}, WHO, result_format="message"),
        Prompt([SYSTEM, WHO, {"role": "assistant", "content": "Qwen"}, WHO]),
        model="qwen1.5-72b-chat",
    ),
    Call(
        "S0 multi-round, Java: prompt after messages",
        {"messages": [SYSTEM], "prompt": "Who?", "result_format": "message"},
        Prompt([SYSTEM], text="Who?"),
        model="qwen-72b-chat",
    ),
    Call(
        "S0 streaming",
        says(WHO, seed=7, result_format="message", stream=True, output_in_full=True),
        Prompt([WHO]),
        {"seed": 7, "output_in_full": True},
        True,
        "qwen1.5-72b-chat",
        {"incremental_output": True},
    ),  # ours by default; the page's is full text
    Call(
        "S0 streaming, Java: incrementalOutput",
        says(WHO, top_p=0.8, result_format="message", stream=True, incremental_output=True),
        Prompt([WHO]),
        {"top_p": 0.8},
        True,
        "qwen1.5-72b-chat",
    ),
    Call(
        "S0 parameters: history",
        {"prompt": "And now?", "history": [{"user": "Hi", "bot": "Hello"}], "result_format": "text"},
        Prompt(text="And now?", history=[{"user": "Hi", "bot": "Hello"}]),
        {"result_format": "text"},
    ),
    Call(
        "S0 parameters: all",
        says(
            WHO,
            result_format="text",
            seed=65535,
            max_tokens=1500,
            top_p=0.8,
            top_k=50,
            repetition_penalty=1.1,
            temperature=0.85,
            stop=[[37763, 367]],
        ),
        Prompt([WHO]),
        {
            "result_format": "text",
            "seed": 65535,
            "max_tokens": 1500,
            "top_p": 0.8,
            "top_k": 50,
            "repetition_penalty": 1.1,
            "temperature": 0.85,
            "stop": [[37763, 367]],
        },
    ),
    Call(
        "S1 single round",
        says(SYSTEM, WHO_ZH, result_format="message", **SAMPLED),
        Prompt([SYSTEM, WHO_ZH]),
        SAMPLED,
        model="qwen2-72b-instruct",
    ),
    Call("S1 multi-round", says(*TURNS, result_format="message"), Prompt(TURNS), model="qwen2-72b-instruct"),
    Call(
        "S1 streaming",
        says(SYSTEM, WHO_ZH, result_format="message", stream=True, incremental_output=True),
        Prompt([SYSTEM, WHO_ZH]),
        stream=True,
        model="qwen2-72b-instruct",
    ),
    Call(
        "S1 parameters: cumulative stream",
        says(WHO, result_format="message", stream=True, incremental_output=False),
        Prompt([WHO]),
        {"incremental_output": False},
        True,
        differs={"incremental_output": False},
    ),  # the SDK asks for increments and joins them itself
    Call(
        "S1 parameters: stop strings",
        says(WHO, result_format="message", stop=["你好", "天气"]),
        Prompt([WHO]),
        {"stop": ["你好", "天气"]},
    ),
    Call(
        "S1 parameters: stop token ids",
        says(WHO, result_format="message", stop=[108386, 104307]),
        Prompt([WHO]),
        {"stop": [108386, 104307]},
    ),
    Call(
        "S1 parameters: search on",
        says(WHO, result_format="message", enable_search=True),
        Prompt([WHO]),
        {"enable_search": True},
    ),
    Call(
        "S1 parameters: search off",
        says(WHO, result_format="message", enable_search=False),
        Prompt([WHO]),
        {"enable_search": False},
        differs={"enable_search": False},
    ),  # the SDK drops a false one for qwen*; we send what the job says
    Call(
        "S1 parameters: presence_penalty",
        says(WHO, result_format="message", presence_penalty=1.0),
        Prompt([WHO]),
        {"presence_penalty": 1.0},
    ),
    Call(
        "S1 function call",
        says(*TOOL_TURNS, result_format="message", tools=[TOOL]),
        Prompt(TOOL_TURNS),
        {"tools": [TOOL]},
    ),
    Call(
        "S1 function call, older tool role",
        says(
            WHO, {"role": "tool", "content": "12", "name": "get_current_weather"}, result_format="message", tools=[TOOL]
        ),
        Prompt([WHO, {"role": "tool", "content": "12", "name": "get_current_weather"}]),
        {"tools": [TOOL]},
    ),
    Call("S2 get started", says(SYSTEM, WHO, result_format="message"), Prompt([SYSTEM, WHO])),
    Call(
        "S2 thinking",
        says(
            WHO, result_format="message", enable_thinking=True, thinking_budget=50, stream=True, incremental_output=True
        ),
        Prompt([WHO]),
        {"enable_thinking": True, "thinking_budget": 50},
        True,
    ),
    Call(
        "S2 asynchronous: prompt",
        {"prompt": "What can you do?"},
        Prompt(text="What can you do?"),
        differs={"result_format": "message"},
    ),  # message is our default; the page relies on text
    Call(
        "structured answers",
        says(WHO, result_format="message", response_format={"type": "json_object"}, logprobs=True, n=1),
        Prompt([WHO]),
        {"response_format": {"type": "json_object"}, "logprobs": True, "n": 1},
    ),
]
CHAT_CALLS = [
    Call(
        "S1 single round",
        says(SYSTEM, WHO_ZH, temperature=0.8, top_p=0.8),
        Prompt([SYSTEM, WHO_ZH]),
        {"temperature": 0.8, "top_p": 0.8},
    ),
    Call("S1 multi-round", says(*TURNS, temperature=0.8, top_p=0.8), Prompt(TURNS), {"temperature": 0.8, "top_p": 0.8}),
    Call(
        "S1 streaming with usage",
        says(SYSTEM, WHO_ZH, stream=True, stream_options={"include_usage": True}),
        Prompt([SYSTEM, WHO_ZH]),
        stream=True,
    ),
    Call(
        "S1 parameters: extra_body",
        says(WHO, extra_body={"enable_search": True}),
        Prompt([WHO]),
        {"extra_body": {"enable_search": True}},
    ),
    Call(
        "S1 parameters: all",
        says(WHO, presence_penalty=1, max_tokens=2000, seed=3, stop=["你好", "天气"], tools=[TOOL]),
        Prompt([WHO]),
        {"presence_penalty": 1, "max_tokens": 2000, "seed": 3, "stop": ["你好", "天气"], "tools": [TOOL]},
    ),
    Call("S2 get started", says(SYSTEM, WHO), Prompt([SYSTEM, WHO])),
    Call("S2 asynchronous", says(WHO), Prompt([WHO])),
    Call(
        "S2 thinking",
        says(WHO, stream=True, extra_body={"enable_thinking": False}),
        Prompt([WHO]),
        {"enable_thinking": False},
        True,
        differs={"stream_options": {"include_usage": True}},
    ),  # tokens are what a row costs: we always ask for them
    Call(
        "tool results",
        says(*TOOL_TURNS, tools=[TOOL], tool_choice="auto"),
        Prompt(TOOL_TURNS),
        {"tools": [TOOL], "tool_choice": "auto"},
    ),
    Call(
        "OpenAI's limits",
        says(WHO, max_completion_tokens=9, reasoning_effort="low", response_format={"type": "json_object"}),
        Prompt([WHO]),
        {"max_completion_tokens": 9, "reasoning_effort": "low", "response_format": {"type": "json_object"}},
    ),
]

# Bodies that the pages give for curl and other languages, with what makes batchgen send them.
CURL = [
    (
        "S0 without SSE",
        {"model": "qwen-14b-chat", "input": {"messages": [SYSTEM, WHO]}, "parameters": {}},
        Prompt([SYSTEM, WHO]),
        {},
        False,
        {"result_format": "message"},
    ),  # the page leaves the old text format on
    (
        "S0 with SSE",
        {"model": "qwen1.5-72b-chat", "input": {"messages": [SYSTEM, WHO]}, "parameters": {}},
        Prompt([SYSTEM, WHO]),
        {},
        True,
        {"result_format": "message", "incremental_output": True},
    ),
    (
        "S1 single round",
        {
            "model": "qwen2-72b-instruct",
            "input": {"messages": [SYSTEM, WHO_ZH]},
            "parameters": {"result_format": "message"},
        },
        Prompt([SYSTEM, WHO_ZH]),
        {},
        False,
        {},
    ),
    (
        "S1 multi-round",
        {
            "model": "qwen2-72b-instruct",
            "input": {"messages": TURNS},
            "parameters": {"result_format": "message", "top_p": 0.8, "top_k": 50, "temperature": 0.8},
        },
        Prompt(TURNS),
        {"top_p": 0.8, "top_k": 50, "temperature": 0.8},
        False,
        {},
    ),
    (
        "S1 streaming",
        {
            "model": "qwen2-72b-instruct",
            "input": {"messages": [SYSTEM, WHO_ZH]},
            "parameters": {"result_format": "message", "incremental_output": True},
        },
        Prompt([SYSTEM, WHO_ZH]),
        {},
        True,
        {},
    ),
    (
        "S1 prompt",
        {"model": "qwen-turbo", "input": {"prompt": "你好"}, "parameters": {"result_format": "text"}},
        Prompt(text="你好"),
        {"result_format": "text"},
        False,
        {},
    ),
    (
        "S2 curl, PHP, Node.js, C#, Go, Java; S3 gateway",
        {"model": "qwen-plus", "input": {"messages": [SYSTEM, WHO]}, "parameters": {"result_format": "message"}},
        Prompt([SYSTEM, WHO]),
        {},
        False,
        {},
    ),
]
CURL_CHAT = [
    (
        "S1 single round; S2 curl, PHP, C#, Go, Java",
        {"model": "qwen2-72b-instruct", "messages": [SYSTEM, WHO_ZH]},
        Prompt([SYSTEM, WHO_ZH]),
        {},
        False,
        {},
    ),
    (
        "S1 multi-round",
        {"model": "qwen2-72b-instruct", "messages": TURNS, "seed": 1234, "top_p": 0.8, "temperature": 0.8},
        Prompt(TURNS),
        {"seed": 1234, "top_p": 0.8, "temperature": 0.8},
        False,
        {},
    ),
    (
        "S1 streaming",
        {"model": "qwen2-72b-instruct", "messages": [SYSTEM, WHO_ZH], "stream": True},
        Prompt([SYSTEM, WHO_ZH]),
        {},
        True,
        {"stream_options": {"include_usage": True}},
    ),
]
