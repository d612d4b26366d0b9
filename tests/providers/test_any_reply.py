"""Whatever a server sends: the quick and the careful reader agree, nothing raises, and every figure is bounded."""

from __future__ import annotations

import copy
import json
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.providers.dashscope_native import SHAPE as NATIVE
from batchgen.providers.error_catalogue import CHAT_COMPLETIONS
from batchgen.providers.openai_chat import SHAPE as CHAT
from batchgen.providers.reader import Exchange, read_any, read_exchange
from batchgen.providers.usage import LARGEST_COST, LARGEST_COUNT
from batchgen.storage.result_schema import RESULT_COLUMNS
from batchgen.text.terminal import harmless
from batchgen.values import Completion, Request, Response
from tests.linear import check_linear

from .samples import NOW

CHOICE = {
    "index": 0, "finish_reason": "stop", "logprobs": None,
    "message": {"role": "assistant", "content": "Blue", "reasoning_content": None, "tool_calls": []},
}  # fmt: skip
DETAILS = {"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 0}}
DOCUMENTS = {
    "native": (
        NATIVE,
        {
            "output": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Blue"}}]},
            "usage": {"input_tokens": 24, "output_tokens": 1, "total_tokens": 25}, "request_id": "r",
        },
    ),
    "chat": (
        CHAT,
        {
            "id": "i", "object": "chat.completion", "model": "m", "choices": [CHOICE], "service_tier": None,
            "usage": {"prompt_tokens": 24, "completion_tokens": 1, "total_tokens": 25} | DETAILS,
        },
    ),
    "error": (CHAT, {"error": {"message": "no", "type": "t", "param": None, "code": "c", "metadata": {"raw": "{}"}}}),
}  # fmt: skip
NAMES = st.sampled_from(
    [
        *("choices", "output", "usage", "message", "delta", "content", "text", "finish_reason", "index", "id", "error"),
        *(
            "tool_calls",
            "function",
            "arguments",
            "name",
            "code",
            "status",
            "details",
            "metadata",
            "raw",
            "model",
            "object",
        ),
        *(
            "prompt_tokens",
            "completion_tokens",
            "input_tokens",
            "output_tokens",
            "total_tokens",
            "cached_tokens",
            "cost",
        ),
        *("reasoning_tokens", "reasoning", "reasoning_content", "service_tier", "request_id", "logprobs", "base_resp"),
        *("metadata", "cached_tokens"),
    ]
)
WORDS = st.sampled_from(
    ["stop", "error", "length", "0", "1e999", "-1", "null", "<think>", "x</think>\n", "chat.completion"]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=6) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | NAMES, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
HEADERS = ("x-request-id", "retry-after", "retry-after-ms", "x-ratelimit-limit-requests", "x-ratelimit-reset-tokens",
           "x-ratelimit-remaining-tokens", "x-should-retry", "location")  # fmt: skip
NUMBERS = st.from_regex(r"-?\d{1,30}(\.\d{1,5})?", fullmatch=True)


def places(value, path=()):
    """Return the paths of all members of a document, itself included."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for name, member in inside for found in places(member, (*path, name)))]


def with_value(document, path, value):
    """Return the document with another value in one place."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    member = changed
    for step in path[:-1]:
        member = member[step]
    member[path[-1]] = value
    return changed


def encoded(value):
    """Return JSON as servers write it, also what no encoder of ours would."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError, msgspec.MsgspecError):
        return json.dumps(value).encode()


def exchange(body, status, headers, *, stream):
    request = Request("https://host/v1", b"{}", {}, stream, "m")
    return Exchange(request, Response(status, headers, body), CHAT_COMPLETIONS, "m", NOW)


def check_bounds(outcome):
    """No figure is one that a column, a wait or a sum could not hold."""
    if outcome.usage is not None:
        assert all(value is None or 0 <= value <= LARGEST_COUNT for value in msgspec.structs.astuple(outcome.usage))
    if outcome.limits is not None:
        assert all(value is None or 0 <= value <= 10**15 for value in msgspec.structs.astuple(outcome.limits))
    if isinstance(outcome, Completion):
        assert outcome.reported_cost is None or 0 <= outcome.reported_cost <= LARGEST_COST
        assert outcome.finish_reason is None or 0 < len(outcome.finish_reason) <= 2000
    else:
        assert outcome.retry_after_s is None or 0 <= outcome.retry_after_s <= 10**15
        assert len(outcome.message) <= 2000
    for text in (outcome.model, outcome.request_id):
        assert text is None or (len(text) <= 2000 and harmless(text) == text)
    msgspec.json.encode(outcome)


@given(
    st.sampled_from(sorted(DOCUMENTS)),
    st.data(),
    st.sampled_from([200, 200, 200, 204, 400, 403, 429, 500]),
    st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=12) | NUMBERS),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=600, deadline=None)
def test_any_value_in_any_place_of_a_reply(form, data, status, headers, stream):
    """One or two members of a usual reply are anything; both readers agree, and what is told is bounded."""
    shape, document = DOCUMENTS[form]
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(places(document)))
        document = with_value(document, path, data.draw(ANY_JSON))
    body = encoded(document)
    if stream:
        body = b"data: " + body + b"\n\n"
    asked = exchange(body, status, headers, stream=stream)
    outcome = read_exchange(asked, shape)
    assert outcome == read_any(asked, shape)
    check_bounds(outcome)


@given(st.lists(ANY_JSON, max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_frames_of_a_stream(frames, event):
    """Frames of anything, as errors or not, never raise."""
    head = b"event:error\n:HTTP_STATUS/500\n" if event else b""
    body = b"".join(head + b"data: " + encoded(frame) + b"\n\n" for frame in frames)
    for shape in (NATIVE, CHAT):
        check_bounds(read_exchange(exchange(body, 200, {}, stream=True), shape))


def test_the_largest_figures_fit_the_columns():
    """A billion rows of the largest count, and one of the largest cost, are no more than a column holds."""
    assert LARGEST_COUNT * 10**9 < 2**63
    assert RESULT_COLUMNS.field("reported_cost").type.precision - 12 >= len(str(LARGEST_COST))


def chat(**message):
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}


def frames(*documents):
    return b"".join(b"data: " + msgspec.json.encode(document) + b"\n\n" for document in documents)


def chunk(**delta):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
CALL = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
CALLS = b'{"choices":[{"finish_reason":"stop","message":{"content":"a","tool_calls":'
ARGUMENTS = {"index": 0, "function": {"arguments": "{}"}}
LOGPROBS = {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}]}
LONG = {
    "opened titles": lambda n: b"<html>" + b"<title" * n,
    "opened headings": lambda n: b"<html>" + b"<h1>" * n,
    "nested lists": lambda n: b"[" * n,
    "nested lists in an answer": lambda n: CALLS + b"[" * n + b"]" * n + b"}}]}",
    "nested errors": lambda n: b'{"error":' * n + b"1" + b"}" * n,
    "nested JSON texts": lambda n: msgspec.json.encode({"error": {"message": '{"error":' * n}}),
    "braces in a message": lambda n: msgspec.json.encode({"error": {"message": "{" * n}}),
    "a message of model": lambda n: msgspec.json.encode({"error": {"message": "model " * n}}),
    "a message of spaces": lambda n: msgspec.json.encode({"error": {"message": " " * n + "x"}}),
    "details": lambda n: msgspec.json.encode({"detail": [{"loc": ["a"] * 30, "msg": "b"}] * n}),
    "tool calls": lambda n: msgspec.json.encode(chat(content=None, tool_calls=[CALL] * n)),
    "tool calls in frames": lambda n: frames(*(chunk(tool_calls=[CALL | {"id": f"c{k}"}]) for k in range(n)), END),
    "arguments in frames": lambda n: frames(chunk(tool_calls=[CALL]), *[chunk(tool_calls=[ARGUMENTS])] * n, END),
    "logprobs in frames": lambda n: frames(*[LOGPROBS] * n, END),
    "usage in frames": lambda n: frames(*(chunk() | {"usage": {f"k{k}": 1}} for k in range(n)), END),
    "parts": lambda n: msgspec.json.encode(chat(content=[{"type": "text", "text": "a"}] * n)),
    "thinking tags": lambda n: msgspec.json.encode(chat(content="<think>" * n)),
    "closing tags": lambda n: msgspec.json.encode(chat(content="x</think>" * n)),
    "comments": lambda n: b": keep-alive\n\n" * n + frames(chunk(content="a"), END),
    "blank lines": lambda n: b"\n" * n,
    "digits": lambda n: b'{"choices":[],"usage":{"prompt_tokens":' + b"9" * n + b"}}",
    "a number in a text": lambda n: msgspec.json.encode(chat(content="a") | {"usage": {"prompt_tokens": "9" * n}}),
    "waits in words": lambda n: msgspec.json.encode({"error": {"message": "try again in 1m" + "1m" * n}}),
}  # fmt: skip


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("name", LONG)
def test_reading_takes_a_time_in_proportion_to_the_length(name, status):
    """Eight times the length takes about eight times as long, where a quadratic reader takes 64 times as long."""

    def asked(length):
        body = LONG[name](length)
        return exchange(body, status, {}, stream=body.startswith(b"data"))

    check_linear(lambda exchanged: read_exchange(exchanged, CHAT), asked, short=2_000, times=8, slack=3)


@pytest.mark.parametrize("value", ["9" * 4000, "-" * 4000, "1" + "h1m" * 1300, "Sun, " * 800], ids=lambda v: v[:4])
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_any_length_is_read_at_once(name, value):
    """Digits, signs, durations and dates without end."""
    began_s = time.thread_time()
    check_bounds(read_exchange(exchange(b'{"error":{"message":"no"}}', 429, {name: value}, stream=False), CHAT))
    assert time.thread_time() - began_s < 0.2
