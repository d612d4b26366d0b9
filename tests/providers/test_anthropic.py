"""Anthropic's Messages API: what is sent, and what replies, events and errors mean."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.money.prices import load_prices
from batchgen.money.worst_case import WorstCase
from batchgen.providers import ModelSettings, open_provider
from batchgen.providers.anthropic_messages import SHAPE, endpoint
from batchgen.providers.reader import Exchange, read_any
from batchgen.providers.vendors import vendor_of
from batchgen.providers.wire import rate_limits
from batchgen.secret import Secret
from batchgen.values import Completion, Failure, FailureKind, Prompt, Request, Response, Throttle, Usage, Verdict

URL = "https://api.anthropic.com"
NOW = 1_790_000_000.0


def provider(model="claude-haiku-5-5", **parameters):
    """Return the wire format with a fixed clock."""
    given = {"max_tokens": 50} | parameters
    return open_provider("anthropic", ModelSettings(name=model, base_url=URL, parameters=given), lambda: NOW)


def body_of(messages, *, stream=False, **parameters):
    """Return the body that is sent for these messages."""
    return json.loads(provider(**parameters).build_request(Prompt(messages=messages), stream=stream).body)


def read(body, status=200, *, stream=False, headers=None):
    """Return what bytes mean as an answer."""
    asked = provider()
    request = asked.build_request(Prompt(messages=[{"role": "user", "content": "?"}]), stream=stream)
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asked.read_response(request, Response(status, headers or {}, body))


# ---- requests


def test_a_request():
    """System at the top, the key and the version in headers of their own, `max_tokens` beside the messages."""
    asked = provider(temperature=0)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]
    request = asked.build_request(Prompt(messages=messages), stream=False)
    assert request.url == f"{URL}/v1/messages"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert [header.name for header in asked.headers(Secret("sk-ant-x"))] == ["x-api-key"]
    assert asked.headers(Secret("sk-ant-x"))[0].reveal() == "sk-ant-x"
    assert json.loads(request.body) == {
        "model": "claude-haiku-5-5",
        "messages": [{"role": "user", "content": "?"}],
        "system": "Be brief.",
        "max_tokens": 50,
        "temperature": 0,
    }
    assert body_of(messages, stream=True)["stream"] is True


@pytest.mark.parametrize("base", [URL, f"{URL}/", f"{URL}/v1", f"{URL}/v1/messages", f"{URL}/v1/messages/"])
def test_the_address(base):
    """A host, a root or the whole of it."""
    assert endpoint(base) == f"{URL}/v1/messages"


def test_tools_and_their_results():
    """A conversation in the form of chat completions becomes blocks; results of one turn stand in one message."""
    calls = [
        {"id": f"t{n}", "type": "function", "function": {"name": "find", "arguments": text}}
        for n, text in enumerate(('{"a": 1}', ""))
    ]
    tool = {"name": "find", "description": "Find.", "parameters": {"type": "object", "properties": {}}}
    sent = body_of(
        [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "t0", "content": "one"},
            {"role": "tool", "tool_call_id": "t1", "content": "two"},
        ],
        tools=[{"type": "function", "function": tool}, {"type": "web_search_20250305", "name": "web_search"}],
        tool_choice={"type": "function", "function": {"name": "find"}},
    )
    assert sent["messages"][1]["content"] == [
        {"type": "tool_use", "id": "t0", "name": "find", "input": {"a": 1}},
        {"type": "tool_use", "id": "t1", "name": "find", "input": {}},
    ]
    assert sent["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t0", "content": "one"},
            {"type": "tool_result", "tool_use_id": "t1", "content": "two"},
        ],
    }
    assert sent["tools"][0] == {"name": "find", "description": "Find.", "input_schema": tool["parameters"]}
    assert sent["tools"][1] == {"type": "web_search_20250305", "name": "web_search"}
    assert sent["tool_choice"] == {"type": "tool", "name": "find"}


def test_images_marks_and_blocks_of_its_own():
    """Images by address or in the message, `cache_control` beside a text, and what is in Anthropic's form as it is."""
    mark = {"type": "ephemeral"}
    own = {"type": "document", "source": {"type": "url", "url": "https://e.test/a.pdf"}}
    thought = [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "a"}]
    sent = body_of(
        [
            {"role": "system", "content": "long", "cache_control": mark},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "?"},
                    {"type": "image_url", "image_url": {"url": "https://e.test/a.png"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    own,
                ],
            },
            {"role": "assistant", "content": thought},
            {"role": "user", "content": "and?", "cache_control": mark},
        ]
    )
    assert sent["system"] == [{"type": "text", "text": "long", "cache_control": mark}]
    first, second, third = sent["messages"]
    assert first["content"][1]["source"] == {"type": "url", "url": "https://e.test/a.png"}
    assert first["content"][2]["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert first["content"][3] == own
    assert second["content"] == thought
    assert third["content"] == [{"type": "text", "text": "and?", "cache_control": mark}]


def test_a_schema_is_sent_as_output_format():
    """Only what holds the model to it, without the bounds that are refused; else the instruction has to do."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1}, "l": {"type": "array", "items": {"type": "string"}}},
        "required": ["n", "l"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    sent = body_of([], response_format=form, output_config={"effort": "low"})
    assert "response_format" not in sent
    assert sent["output_config"]["effort"] == "low"
    asked = sent["output_config"]["format"]
    assert asked["type"] == "json_schema"
    assert asked["schema"]["properties"]["n"] == {"type": "integer"}
    assert asked["schema"]["required"] == ["n", "l"]
    loose = {"type": "json_schema", "json_schema": {"name": "answer", "strict": False, "schema": schema}}
    assert body_of([], response_format=loose).keys() == {"model", "messages", "max_tokens"}


@pytest.mark.parametrize(
    ("model", "thinking", "means"),
    [
        ("claude-haiku-5-5", None, "json_schema"),
        ("claude-sonnet-4-5-20250929", {"type": "enabled", "budget_tokens": 1024}, "json_schema"),
        ("claude-3-haiku-20240307", None, "tool"),
        ("claude-opus-4-1-20250805", None, "tool"),
        ("claude-sonnet-4-20250514", {"type": "enabled", "budget_tokens": 1024}, "instruction"),
    ],
)
def test_the_means_of_json(model, thinking, means):
    """A schema where the model can be held to it, else a forced call, which is not to be had while thinking."""
    parameters = {} if thinking is None else {"thinking": thinking}
    assert vendor_of("anthropic", URL).json_means(model, parameters) == means


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"max_tokens": {"column": "n"}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}, None),
        ({"tools": [{"name": "a", "input_schema": {"type": "object"}}]}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}, "max_tokens": 2000}, "thinking"),
        ({"thinking": {"type": "adaptive"}, "temperature": 0}, "temperature"),
        ({"thinking": {"type": "adaptive"}, "tool_choice": {"type": "any"}, "tools": [{"name": "a"}]}, "tool_choice"),
        ({"stop": "x"}, "stop"),
        ({"stop_sequences": [" "]}, "stop_sequences"),
        ({"seed": 1}, "seed"),
        ({"temperature": 1.5}, "temperature"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"system": "x"}, "system"),
    ],
)
def test_parameters_are_checked(parameters, key):
    """What Anthropic refuses is named before anything is sent."""
    fatal = {remark.key for remark in provider(**parameters).remarks() if remark.fatal}
    assert fatal == ({f"model.parameters.{key}"} if key else set()) or (key and f"model.parameters.{key}" in fatal)


def test_later_models_sample_in_one_way():
    """What they refuse is said, but sent: their names may change their meaning."""
    for model, said in (("claude-opus-5-5", True), ("claude-sonnet-4-6", False), ("claude-3-haiku-20240307", False)):
        assert bool(provider(model, temperature=0).remarks()) is said


def test_max_tokens_is_required():
    """No default of ours could be right."""
    bare = open_provider("anthropic", ModelSettings(name="claude-haiku-5-5", base_url=URL))
    assert [remark.key for remark in bare.remarks() if remark.fatal] == ["model.parameters.max_tokens"]


# ---- replies


def message(content, stop="end_turn", **usage):
    """Return a whole reply."""
    told = {"input_tokens": 10, "output_tokens": 5} | usage
    return {
        **{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-5-5", "content": content},
        **{"stop_reason": stop, "stop_sequence": None, "usage": told},
    }


def test_a_whole_reply():
    """Text, thinking and calls of tools; the id for the vendor's support is in a header."""
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Blue"},
        {"type": "text", "text": "."},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
    ]
    found = read(message(blocks, "tool_use"), headers={"request-id": "req_1"})
    assert (found.text, found.reasoning, found.finish_reason) == ("Blue.", "hm", "tool_calls")
    calls = json.loads(found.tool_calls)
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("t1", "f", '{"a":1}'),
        ("t2", "g", "{}"),
    ]
    assert (found.request_id, found.model) == ("req_1", "claude-haiku-5-5")


def test_a_reply_that_gateways_have_changed():
    """Without the word for its kind, or with the input of a tool as text."""
    bare = {name: value for name, value in message([{"type": "text", "text": "a"}]).items() if name != "type"}
    assert (read(bare).text, read(bare).finish_reason) == ("a", "stop")
    call = {"type": "tool_use", "id": "t", "name": "f", "input": '{"a":1}'}
    assert json.loads(read(message([call], "tool_use")).tool_calls)[0]["function"]["arguments"] == '{"a":1}'


def test_cached_tokens_come_on_top():
    """What was read from a cache and written to one is beside the input; each has its price."""
    told = {"cache_read_input_tokens": 700, "cache_creation_input_tokens": 200}
    told |= {"output_tokens_details": {"thinking_tokens": 3}}
    found = read(message([{"type": "text", "text": "a"}], **told))
    assert found.usage == Usage(910, 5, 915, cached_tokens=700, reasoning_tokens=3, cache_write_tokens=200)
    price = load_prices().find("claude-haiku-5-5", "international")
    cost = price.cost(found.usage)
    assert cost.input == (10 * Decimal("0.1") + 700 * Decimal("0.01") + 200 * Decimal("0.125")) / 1_000_000
    assert cost.output == 5 * Decimal("0.5") / 1_000_000


def test_a_cache_of_an_hour_has_its_price():
    """Twice the input's, for the part of what was written that is kept so long; a budget counts with it."""
    creation = {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50}
    told = {"cache_creation_input_tokens": 200, "cache_creation": creation}
    found = read(message([{"type": "text", "text": "a"}], **told))
    assert found.usage == Usage(210, 5, 215, cache_write_tokens=200, long_cache_tokens=50)
    price = load_prices().find("claude-opus-5-5", "international")
    assert price.cost(found.usage).input == Decimal(10 * 4 + 150 * 5 + 50 * 8) / 1_000_000
    bound = WorstCase(lambda name: price, "claude-opus-5-5", {"max_tokens": 50})
    for ttl, factor in (("5m", 1), ("1h", 2)):
        messages = [{"role": "user", "content": "?", "cache_control": {"type": "ephemeral", "ttl": ttl}}]
        request = provider().build_request(Prompt(messages=messages), stream=False)
        assert bound(request, Prompt(messages=messages)) == factor * bound(
            Request(request.url, request.body.replace(b"1h", b"5m"), {}), Prompt(messages=messages)
        )


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_ends(stop, finish):
    """In our words where there is one, else in theirs."""
    assert read(message([{"type": "text", "text": "a"}], stop)).finish_reason == finish


def test_a_refusal_without_a_word():
    """It would be refused again: the row fails, and is not asked again."""
    found = read(message([], "refusal"))
    assert (found.kind, found.verdict) == (FailureKind.CONTENT_FILTER, Verdict.FAIL)


# ---- any reply, put together from parts whose meaning is known

WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6)
JSON = st.dictionaries(WORD, st.integers() | WORD, max_size=3)
BLOCKS = st.lists(
    st.tuples(st.just("text"), WORD) | st.tuples(st.just("thinking"), WORD) | st.tuples(st.just("tool_use"), JSON),
    max_size=5,
)
ENDS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
COUNT = st.integers(0, 5000)


def events(blocks, stop, usage, cut):
    """Return the events of a stream."""

    def event(kind, **fields):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    start = {"id": "msg_1", "type": "message", "model": "claude-haiku-5-5", "content": [], "stop_reason": None}
    yield event("message_start", message=start | {"usage": usage | {"output_tokens": 1}})
    yield event("ping")
    for place, (kind, value) in enumerate(blocks):
        begun = {"type": kind, "id": f"t{place}", "name": "f", "input": {}} if kind == "tool_use" else {kind: ""}
        yield event("content_block_start", index=place, content_block={"type": kind, **begun})
        said = (json.dumps(value) if value else "") if kind == "tool_use" else value
        field = "partial_json" if kind == "tool_use" else kind
        name = "input_json_delta" if kind == "tool_use" else f"{kind}_delta"
        for piece in [said[:cut], said[cut:]]:
            yield event("content_block_delta", index=place, delta={"type": name, field: piece})
        if kind == "thinking":
            yield event("content_block_delta", index=place, delta={"type": "signature_delta", "signature": "s"})
        yield event("content_block_stop", index=place)
    yield event("message_delta", delta={"stop_reason": stop}, usage={"output_tokens": usage["output_tokens"]})
    yield event("message_stop")


@settings(max_examples=300, deadline=None)
@given(BLOCKS, st.sampled_from(list(ENDS)), COUNT, st.integers(1, 5000), COUNT, COUNT, st.booleans(), st.integers(0, 4))
def test_a_reply_is_what_its_parts_say(blocks, stop, read_, written, cached, stored, streamed, cut):
    """Plain and streamed alike: text, thinking, calls, end, tokens; the quick reader says what the other does."""
    usage = {"input_tokens": read_, "output_tokens": written}
    usage |= {"cache_read_input_tokens": cached, "cache_creation_input_tokens": stored}
    if streamed:
        body = b"".join(events(blocks, stop, usage, cut))
    else:
        whole = [
            {"type": kind, "id": f"t{n}", "name": "f", "input": value}
            if kind == "tool_use"
            else {"type": kind, kind: value}
            for n, (kind, value) in enumerate(blocks)
        ]
        body = json.dumps(message(whole, stop, **usage)).encode()
    found = read(body, stream=streamed)
    assert isinstance(found, Completion)
    assert (found.text or "") == "".join(value for kind, value in blocks if kind == "text")
    assert (found.reasoning or "") == "".join(value for kind, value in blocks if kind == "thinking")
    calls = [call["function"] for call in json.loads(found.tool_calls or "[]")]
    assert [json.loads(call["arguments"]) for call in calls] == [v for kind, v in blocks if kind == "tool_use"]
    assert found.finish_reason == ENDS[stop]
    told = found.usage
    whole_input = read_ + cached + stored
    assert (told.input_tokens or 0) == whole_input
    if whole_input:
        assert (told.output_tokens, told.cached_tokens or 0, told.cache_write_tokens or 0) == (written, cached, stored)
    asked = provider()
    request = asked.build_request(Prompt(messages=[{"role": "user", "content": "?"}]), stream=streamed)
    exchange = Exchange(request, Response(200, {}, body), vendor_of("anthropic", URL).errors, "claude-haiku-5-5", NOW)
    assert read_any(exchange, SHAPE) == found


@settings(max_examples=150, deadline=None)
@given(BLOCKS.filter(bool), st.integers(0, 60))
def test_a_stream_that_ends_early_is_no_answer(blocks, keep):
    """Whatever had come; and an error in its place is judged by its words."""
    sent = list(events(blocks, "end_turn", {"input_tokens": 9, "output_tokens": 3}, 1))
    kept = sent[: min(keep, len(sent) - 2)]
    found = read(b"".join(kept), stream=True)
    assert isinstance(found, Failure)
    error = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'
    found = read(b"".join(kept) + error, stream=True)
    assert (found.verdict, found.throttle) == (Verdict.WAIT, Throttle.OVERLOAD)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200) | st.from_type(str).map(str.encode), st.booleans(), st.sampled_from([200, 400, 429, 529])
)
def test_no_bytes_raise(body, streamed, status):
    """Whatever a server sends is an answer or a failure."""
    assert isinstance(read(body, status, stream=streamed), (Completion, Failure))


@pytest.mark.parametrize(
    "document", [{"type": "message_start"}, {"type": "content_block_delta", "index": 0}, {"type": 5}]
)
def test_broken_events(document):
    """An event without its member is skipped, and what is left is no answer."""
    body = f"data: {json.dumps(document)}\n\n".encode()
    assert isinstance(read(body, stream=True), Failure)


# ---- errors and limits


@pytest.mark.parametrize(
    ("status", "kind", "text", "expected", "verdict"),
    [
        (401, "authentication_error", "invalid x-api-key", FailureKind.AUTHENTICATION, Verdict.STOP),
        (403, "permission_error", "not allowed", FailureKind.AUTHENTICATION, Verdict.STOP),
        (400, "invalid_request_error", "Your credit balance is too low to access", FailureKind.ACCOUNT, Verdict.STOP),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits",
            FailureKind.ACCOUNT,
            Verdict.STOP,
        ),
        (402, "billing_error", "pay", FailureKind.ACCOUNT, Verdict.STOP),
        (404, "not_found_error", "model: claude-9", FailureKind.MODEL_UNAVAILABLE, Verdict.STOP),
        (404, "not_found_error", "Not found", FailureKind.ENDPOINT, Verdict.STOP),
        (413, "request_too_large", "too large", FailureKind.TOO_LONG, Verdict.FAIL),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            FailureKind.TOO_LONG,
            Verdict.FAIL,
        ),
        (
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            FailureKind.CONTENT_FILTER,
            Verdict.FAIL,
        ),
        (400, "invalid_request_error", "messages.0.content: empty", FailureKind.INVALID_REQUEST, Verdict.FAIL),
        (
            429,
            "rate_limit_error",
            "exceed your rate limit of 4,000 input tokens per minute",
            FailureKind.RATE_LIMITED,
            Verdict.WAIT,
        ),
        (500, "api_error", "Internal server error", FailureKind.SERVER_ERROR, Verdict.RETRY),
        (504, "timeout_error", "timed out", FailureKind.TIMEOUT, Verdict.RETRY),
        (529, "overloaded_error", "Overloaded", FailureKind.SERVER_ERROR, Verdict.WAIT),
    ],
)
def test_errors(status, kind, text, expected, verdict):
    """By their type and their words."""
    found = read({"type": "error", "error": {"type": kind, "message": text}}, status)
    assert (found.kind, found.verdict) == (expected, verdict)


@pytest.mark.parametrize(
    ("text", "throttle"),
    [
        ("This request would exceed your limit of 40,000 input tokens per minute", Throttle.TOKENS),
        ("Number of requests has exceeded your per-minute rate limit", Throttle.REQUESTS),
        ("Number of concurrent connections has exceeded your rate limit", Throttle.CONCURRENCY),
        ("Please try again later", Throttle.UNKNOWN),
    ],
)
def test_which_limit(text, throttle):
    """The pace is told which of them it was, and how long to wait."""
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": text}}
    found = read(body, 429, headers={"retry-after": "7"})
    assert (found.throttle, found.retry_after_s) == (throttle, 7)


def test_limit_headers():
    """Limits, and what is left of them."""
    told = rate_limits(
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-tokens-limit": "96000",
        },
    )
    assert (told.limit_requests, told.remaining_requests, told.limit_tokens) == (50, 49, 96000)
