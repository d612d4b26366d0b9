"""The provider without its socket: which reply to which request, in virtual time."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from batchgen.simulator import (
    FAULTS,
    Behaviour,
    HttpRequest,
    Settings,
    count_input_tokens,
    count_tokens,
    expected_answer,
)
from tests.simulator.conftest import COMPATIBLE, NATIVE, OPENAI, chat_body, request


def run(behaviour, asked, now=0.0):
    """Return the reply, ended at once."""
    reply = behaviour.reply(asked, now)
    if reply.ticket is not None:
        behaviour.settle(reply.ticket, now, delivered=True)
    return reply


def error_of(reply):
    """Return status and the vendor's code."""
    body = json.loads(reply.body)
    return reply.status, body["code"] if "code" in body else body["error"]["code"]


def native(messages=None, model="qwen-plus", given=None, **parameters):
    given = {"messages": messages or [{"role": "user", "content": "hi"}]} if given is None else given
    return msgspec.json.encode({"model": model, "input": given, "parameters": parameters})


def test_native_answer_and_usage():
    """Message format: the expected text and the counts of the stated rule, the total added up."""
    reply = run(Behaviour(Settings(seed=3)), request(chat_body("hello")))
    body = json.loads(reply.body)
    text = expected_answer("hello", seed=3)
    assert body["output"]["choices"] == [{"finish_reason": "stop", "message": {"role": "assistant", "content": text}}]
    tokens = count_input_tokens([{"role": "user", "content": "hello"}]), count_tokens(text)
    assert body["usage"]["input_tokens"] == tokens[0]
    assert body["usage"]["output_tokens"] == tokens[1]
    assert body["usage"]["total_tokens"] == sum(tokens)
    assert body["request_id"]
    assert {"code", "message", "status_code"}.isdisjoint(body)


def test_native_text_format_and_prompt_forms():
    """`text` is the default of older models; prompt and history stand for messages."""
    behaviour = Behaviour(Settings())
    body = json.loads(run(behaviour, request(native(given={"prompt": "hello"}))).body)
    assert body["output"] == {"text": expected_answer("hello"), "finish_reason": "stop"}
    given = {"prompt": "and now?", "history": [{"user": "hi", "bot": "hello"}]}
    body = json.loads(run(behaviour, request(native(given=given))).body)
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "and now?"},
    ]
    assert body["usage"]["input_tokens"] == count_input_tokens(turns)


def test_multimodal_path_takes_and_gives_lists():
    """The vision-capable lines have their own path; the wrong one is a url error, both ways round."""
    behaviour = Behaviour(Settings())
    path = NATIVE.replace("text-generation", "multimodal-generation")
    body = native([{"role": "user", "content": [{"text": "hi"}]}], model="qwen3.6-plus", enable_thinking=False)
    answer = json.loads(run(behaviour, request(body, path)).body)
    assert answer["output"]["choices"][0]["message"]["content"] == [{"text": expected_answer("hi")}]
    for wrong in (request(body, NATIVE), request(chat_body("hi"), path)):
        reply = run(behaviour, wrong)
        assert error_of(reply) == (400, "InvalidParameter")
        assert b"url error" in reply.body


@pytest.mark.parametrize("path", [OPENAI, COMPATIBLE, "/chat/completions"])
def test_chat_completion_answer_and_usage(path):
    """All fields that OpenAI's schema demands; n choices that differ."""
    reply = run(Behaviour(Settings()), request(chat_body("hello", wire="chat", n=2, logprobs=True), path))
    body = json.loads(reply.body)
    assert body["object"] == "chat.completion"
    texts = [expected_answer("hello", seed=0), expected_answer("hello", seed=1)]
    assert [choice["message"]["content"] for choice in body["choices"]] == texts
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert "".join(token["token"] for token in body["choices"][0]["logprobs"]["content"]) == texts[0]
    assert body["usage"]["completion_tokens"] == sum(map(count_tokens, texts))
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]


def test_usage_can_be_missing():
    """`no_usage` leaves it out of both formats, and bills all the same."""
    behaviour = Behaviour(Settings(no_usage=True))
    for body, path in ((chat_body(), NATIVE), (chat_body(wire="chat"), OPENAI)):
        assert "usage" not in json.loads(run(behaviour, request(body, path)).body)
    assert behaviour.told()["billed"]["output_tokens"] == 2 * count_tokens(expected_answer("hello"))


def native_frames(reply):
    """Return the data of native frames, checked for their dialect."""
    frames = []
    for number, frame in enumerate(reply.frames, 1):
        lines = frame.decode().split("\n")
        assert lines[:3] == [f"id:{number}", "event:result", ":HTTP_STATUS/200"]
        assert lines[3].startswith("data:{")
        assert lines[4:] == ["", ""]
        frames.append(json.loads(lines[3][5:]))
    return frames


@pytest.mark.parametrize("incremental", [True, False])
def test_native_stream(incremental):
    """Deltas or the whole text so far; usage is cumulative; only the last frame has a finish_reason."""
    body = chat_body("hello", incremental_output=incremental)
    frames = native_frames(run(Behaviour(Settings(answer_tokens=200)), request(body, x_dashscope_sse="enable")))
    texts = [frame["output"]["choices"][0]["message"]["content"] for frame in frames]
    whole = expected_answer("hello", answer_tokens=200)
    assert len(texts) > 3
    assert ("".join(texts) if incremental else texts[-1]) == whole
    if not incremental:
        assert all(later.startswith(text) for text, later in pairwise(texts))
    reasons = [frame["output"]["choices"][0]["finish_reason"] for frame in frames]
    assert reasons == ["null"] * (len(frames) - 1) + ["stop"]
    spent = [frame["usage"]["output_tokens"] for frame in frames]
    assert spent == sorted(spent)
    assert spent[-1] == count_tokens(whole)


@pytest.mark.parametrize("with_usage", [True, False])
def test_chat_completion_stream(with_usage):
    """Chunks, the finish_reason once, usage only if asked for, `[DONE]` at the end."""
    body = chat_body("hello", wire="chat", stream=True, stream_options={"include_usage": with_usage})
    *frames, done = run(Behaviour(Settings()), request(body, OPENAI)).frames
    chunks = [json.loads(frame.removeprefix(b"data: ")) for frame in frames]
    assert done == b"data: [DONE]\n\n"
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == expected_answer("hello")
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    assert choices[0]["delta"]["role"] == "assistant"
    if with_usage:
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] == count_tokens(expected_answer("hello"))
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
    else:
        assert all("usage" not in chunk for chunk in chunks)


def test_thinking_comes_first_and_counts_as_output():
    """Reasoning has its own field and its tokens are among the output tokens; the budget holds."""
    behaviour = Behaviour(Settings())
    body = json.loads(run(behaviour, request(chat_body(enable_thinking=True, thinking_budget=6))).body)
    message = body["output"]["choices"][0]["message"]
    assert message["reasoning_content"].startswith("Considering")
    assert body["usage"]["output_tokens_details"]["reasoning_tokens"] <= 6
    assert body["usage"]["output_tokens"] == count_tokens(message["content"]) + count_tokens(
        message["reasoning_content"]
    )
    asked = chat_body(enable_thinking=True, incremental_output=True)
    frames = native_frames(run(behaviour, request(asked, accept="text/event-stream")))
    messages = [frame["output"]["choices"][0]["message"] for frame in frames]
    assert messages[0]["reasoning_content"]
    assert messages[0]["content"] == ""


@pytest.mark.parametrize(
    ("model", "parameters", "stream", "code", "words"),
    [
        ("qwq-plus", {}, False, "InvalidParameter", "only support stream mode"),
        ("qwq-plus", {"incremental_output": True}, True, None, ""),
        ("qwq-plus", {"enable_thinking": False}, True, "InvalidParameter", "enable_thinking"),
        ("qwen3-32b", {}, False, "InvalidParameter", "must be set to false for non-streaming calls"),
        ("qwen3-32b", {"enable_thinking": False}, False, None, ""),
        ("qwen-plus", {"enable_thinking": True}, True, "InvalidParameter", "incremental_output"),
        ("plain-model", {"enable_thinking": True}, False, "InvalidParameter.NotSupportEnableThinking", "not support"),
    ],
)
def test_models_that_stream_or_think_only_so(model, parameters, stream, code, words):
    """The 400s that teach a client to stream, or to set the switch."""
    behaviour = Behaviour(Settings(thinking=("qw*",)))
    asked = request(native(model=model, **parameters), x_dashscope_sse="enable" if stream else "disable")
    reply = run(behaviour, asked)
    if code is None:
        assert reply.status == 200
    else:
        assert error_of(reply) == (400, code)
        assert words.encode() in reply.body


USER = {"role": "user", "content": "hi"}
BAD_NATIVE = [
    (native(given={}), 400, "BadRequest.EmptyInput"),
    (native(given={"messages": []}), 400, "InvalidParameter"),
    (msgspec.json.encode({"model": "m", "input": {"prompt": "x"}}), 400, "BadRequest.EmptyParameters"),
    (msgspec.json.encode({"input": {"prompt": "x"}, "parameters": {}}), 400, "BadRequest.EmptyModel"),
    (native([{"role": "robot", "content": "x"}]), 500, "InternalError.Algo"),
    (native([USER, {"role": "assistant", "content": "x"}]), 500, "InternalError"),
    (native([USER, USER]), 400, "InvalidParameter"),
    (native([USER, {"role": "system", "content": "x"}]), 400, "InvalidParameter"),
    (native([{"role": "user", "content": 7}]), 400, "InvalidParameter"),
    (native([{"role": "user", "content": [{"text": "x"}]}]), 400, "InvalidParameter"),
    (native([{"role": "user", "content": ""}]), 400, "InvalidParameter"),
    (native([USER, {"role": "tool", "content": "x"}]), 400, "InvalidParameter"),
    *(
        (native(**{name: value}), 400, "InvalidParameter")
        for name, value in [
            ("temperature", 2),
            ("temperature", "warm"),
            ("top_p", 0),
            ("top_p", 1.1),
            ("seed", -1),
            ("max_tokens", 0),
            ("max_tokens", 1.5),
            ("n", 5),
            ("stop", ["a", 7]),
            ("enable_thinking", "no"),
            ("result_format", "xml"),
            ("presence_penalty", -3),
            ("repetition_penalty", 0),
            ("thinking_budget", 0),
            ("top_logprobs", 6),
            ("response_format", {"type": "json"}),
            ("response_format", {"type": "json_object"}),
            ("tools", []),
            ("tools", [{"type": "function", "function": {"name": "no spaces"}}]),
            ("tool_choice", "required"),
            ("response_format", {"type": "json_schema"}),
        ]
    ),
    (b"{", 400, "InvalidParameter"),
    (b"[]", 400, "InvalidParameter"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD_NATIVE)
def test_native_requests_are_checked(body, status, code):
    """What the vendor refuses is refused, in the native shape, and is not billed."""
    behaviour = Behaviour(Settings())
    reply = run(behaviour, request(body))
    assert error_of(reply) == (status, code)
    assert set(json.loads(reply.body)) == {"code", "message", "request_id"}
    assert behaviour.told()["billed"]["requests"] == 0
    assert behaviour.told()["errors"] == {"total": 1, code: 1}


def test_chat_requests_are_checked():
    """Roles, ranges and combinations of chat completions; what only one vendor refuses is only there refused."""
    behaviour = Behaviour(Settings())
    for fields in ({"messages": []}, {"temperature": 3}, {"stream_options": {}}, {"stream": "yes"}):
        body = msgspec.json.encode({"model": "m", "messages": [USER], **fields})
        assert error_of(run(behaviour, request(body, OPENAI))) == (400, None)
        assert error_of(run(behaviour, request(body, COMPATIBLE))) == (400, "invalid_parameter_error")
    developer = msgspec.json.encode({"model": "m", "messages": [{"role": "developer", "content": "x"}, USER, USER]})
    assert run(behaviour, request(developer, OPENAI)).status == 200
    assert run(behaviour, request(developer, COMPATIBLE)).status == 400
    assert run(behaviour, request(chat_body(wire="chat", temperature=2), OPENAI)).status == 200


def test_headers_are_checked():
    """Content type, asynchronous calls and methods."""
    behaviour = Behaviour(Settings())
    assert run(behaviour, request(chat_body(), content_type="text/plain")).status == 400
    assert error_of(run(behaviour, request(chat_body(), x_dashscope_async="enable"))) == (403, "AccessDenied")
    assert run(behaviour, HttpRequest("GET", NATIVE, {})).status == 405


@pytest.mark.parametrize(("path", "wire"), [(NATIVE, "native"), (OPENAI, "chat"), (COMPATIBLE, "chat")])
def test_wrong_keys_and_unknown_models(path, wire):
    """401 and 404 in each vendor's shape; without a set key any but an empty one will do."""
    behaviour = Behaviour(Settings(api_key="right", models=("other",)))
    body = chat_body(wire=wire)
    code = "InvalidApiKey" if wire == "native" else "invalid_api_key"
    for header in ("Bearer wrong", "Bearer ", "Basic right", ""):
        assert error_of(run(behaviour, request(body, path, authorization=header))) == (401, code)
    missing = "ModelNotFound" if wire == "native" else "model_not_found"
    assert error_of(run(behaviour, request(body, path, authorization="Bearer right"))) == (404, missing)
    assert error_of(run(Behaviour(Settings()), request(body, path, authorization="Bearer "))) == (401, code)


def test_unknown_paths_have_the_vendors_shape():
    """404 with a native body below /api/, with an error object elsewhere."""
    behaviour = Behaviour(Settings())
    reply = run(behaviour, HttpRequest("POST", "/api/v1/nothing", {}))
    assert (reply.status, set(json.loads(reply.body))) == (404, {"code", "message", "request_id"})
    reply = run(behaviour, HttpRequest("POST", "/v1/completion", {}))
    assert (reply.status, set(json.loads(reply.body))) == (404, {"error"})


def test_lists_of_models():
    """Both paths list the models, to whoever has a key."""
    behaviour = Behaviour(Settings(models=("a", "b")))
    for path in ("/v1/models", "/compatible-mode/v1/models"):
        listed = json.loads(run(behaviour, HttpRequest("GET", path, {"authorization": "Bearer x"})).body)
        assert [model["id"] for model in listed["data"]] == ["a", "b"]
    assert run(behaviour, HttpRequest("GET", "/v1/models", {})).status == 401


@pytest.mark.parametrize(
    ("limits", "codes"),
    [
        ({"rpm": 60}, ("Throttling.RateQuota", "limit_requests", ("requests", "rate_limit_exceeded"))),
        ({"tpm": 60}, ("Throttling.AllocationQuota", "insufficient_quota", ("tokens", "rate_limit_exceeded"))),
        ({"growth": 1, "growth_floor": 0}, ("Throttling.BurstRate", "limit_burst_rate", ("requests", "slow_down"))),
        ({"rpm": 60, "tell": False}, ("Throttling", "Throttling", (None, "rate_limit_exceeded"))),
    ],
)
def test_a_429_tells_its_limit_in_each_shape(limits, codes):
    """Code (and type) name the limit, unless `tell` is off."""
    for path, wire, code in zip((NATIVE, COMPATIBLE), ("native", "chat"), codes[:2], strict=True):
        behaviour = Behaviour(Settings(**limits))
        replies = [run(behaviour, request(chat_body("x" * 20_000, wire=wire), path)) for _ in range(3)]
        assert error_of(replies[-1]) == (429, code)
    behaviour = Behaviour(Settings(**limits))
    reply = [run(behaviour, request(chat_body("x" * 20_000, wire="chat"), OPENAI)) for _ in range(3)][-1]
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["type"], error["code"]) == (429, *codes[2])


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ({"retry_after": "seconds"}, ("retry-after", "6")),
        ({"retry_after": "ms"}, ("retry-after-ms", "6000")),
        ({"retry_after": "date"}, ("retry-after", "Tue, 14 Nov 2023 22:13:26 GMT")),
        ({"retry_after": "seconds", "retry_after_s": 1_814_400}, ("retry-after", "1814400")),
        ({}, None),
    ],
)
def test_retry_after_in_all_forms(form, header):
    """The true wait in seconds, milliseconds or as a date, an absurd one, or none."""
    behaviour = Behaviour(Settings(rpm=10, **form), wall_clock=lambda: 1_700_000_000.0)
    replies = [run(behaviour, request(chat_body())) for _ in range(2)]
    named = [pair for pair in replies[1].headers if pair[0].startswith("retry-after")]
    assert named == ([header] if header else [])


def test_limit_headers():
    """OpenAI's headers, on its path only and with every reply there."""
    behaviour = Behaviour(Settings(rpm=600, tpm=60_000, burst_s=60, headers=True))
    headers = dict(run(behaviour, request(chat_body(wire="chat"), OPENAI)).headers)
    assert headers["x-ratelimit-limit-requests"] == "600"
    assert headers["x-ratelimit-remaining-requests"] == "599"
    assert headers["x-ratelimit-reset-requests"] == "100ms"
    assert headers["x-ratelimit-limit-tokens"] == "60000"
    assert "x-ratelimit-limit-requests" not in dict(run(behaviour, request(chat_body(wire="chat"), COMPATIBLE)).headers)


def faults_met(settings, order):
    """Return for each prompt what its three tries met, asked in the given order."""
    behaviour = Behaviour(settings)
    met = {number: [] for number in order}
    for number in order * 3:
        reply = run(behaviour, request(chat_body(f"row {number}")))
        met[number].append(reply.fault or reply.status)
    return met


def test_faults_depend_on_seed_prompt_and_try_and_not_on_the_order():
    """The same seed gives the same faults however requests arrive; another seed gives others."""
    settings = Settings(seed=5, error_500=0.2, error_503=0.1, reset=0.1, truncate=0.1)
    one = faults_met(settings, list(range(200)))
    assert one == faults_met(settings, list(reversed(range(200))))
    assert one != faults_met(Settings(seed=6, error_500=0.2, error_503=0.1, reset=0.1, truncate=0.1), list(range(200)))
    assert any(tries[0] != tries[1] for tries in one.values())


def test_rates_are_met():
    """Each fault befalls its share of the requests."""
    share = 0.05
    behaviour = Behaviour(Settings(**dict.fromkeys(FAULTS, share)))
    for i in range(4000):
        run(behaviour, request(chat_body(f"row {i}", incremental_output=True), x_dashscope_sse="enable"))
    faults = behaviour.told()["faults"]
    for name in FAULTS:
        assert faults[name] == pytest.approx(4000 * share, rel=0.3), name


@pytest.mark.parametrize(("path", "wire"), [(NATIVE, "native"), (OPENAI, "chat")])
def test_faults_that_are_in_the_bytes(path, wire):
    """500, 502 HTML, 503, broken JSON, HTML with 200, null content; none but the last is an answer."""

    def met(**rates):
        behaviour = Behaviour(Settings(**rates))
        reply = run(behaviour, request(chat_body(wire=wire), path))
        return reply, behaviour.told()

    for name, status in (("error_500", 500), ("error_503", 503)):
        reply, told = met(**{name: 1.0})
        assert reply.status == status
        assert json.loads(reply.body)
        assert told["billed"]["requests"] == told["served"] == 0
        assert told["faults"] == {"total": 1, name: 1}
    for name, status in (("error_502_html", 502), ("html_200", 200)):
        reply, told = met(**{name: 1.0})
        assert (reply.status, reply.headers[0][1][:9]) == (status, "text/html")
        assert told["billed"]["requests"] == 0
    reply, told = met(malformed=1.0)
    with pytest.raises(ValueError, match=r"line \d column"):
        json.loads(reply.body)
    assert (told["billed_lost"]["requests"], told["served"]) == (1, 0)
    reply, told = met(null_content=1.0)
    body = json.loads(reply.body)
    assert body.get("output", body)["choices"][0]["message"]["content"] is None
    assert told["served"] == 1


@pytest.mark.parametrize("wire", ["native", "chat"])
def test_faults_in_streams(wire):
    """A cut stream and a broken one never finish; an error frame ends the third; plain requests meet no cut."""
    asked = (
        request(chat_body(incremental_output=True), x_dashscope_sse="enable")
        if wire == "native"
        else request(chat_body(wire="chat", stream=True), OPENAI)
    )
    for name in ("cut_stream", "stream_error"):
        behaviour = Behaviour(Settings(**{name: 1.0}))
        reply = run(behaviour, asked)
        joined = b"".join(reply.frames)
        assert reply.status == 200
        assert b'"finish_reason":"stop"' not in joined
        assert (b"An internal error" in joined) is (name == "stream_error")
        told = behaviour.told()
        assert told["served"] == 0
        assert told["billed_lost"]["requests"] == (1 if name == "cut_stream" else 0)
    plain = request(chat_body()) if wire == "native" else request(chat_body(wire="chat"), OPENAI)
    assert run(Behaviour(Settings(cut_stream=1)), plain).status == 200
    broken = run(Behaviour(Settings(malformed=1)), asked).frames
    data = [line[5:] for frame in broken for line in frame.split(b"\n") if line[:5] == b"data:"]
    assert sum(1 for text in data if text.strip() != b"[DONE]" and not text.strip().endswith(b"}")) == 1


def test_what_belongs_to_the_prompt_happens_each_time():
    """content_filter, length and poison are the same for every try; a filtered prompt is refused or marked."""
    behaviour = Behaviour(Settings(content_filter=0.3, length=0.3))
    seen = [Counter(), Counter()]
    for tries in seen:
        for i in range(100):
            reply = run(behaviour, request(chat_body(f"row {i}")))
            body = json.loads(reply.body)
            tries[body.get("code") or body["output"]["choices"][0]["finish_reason"]] += 1
    assert seen[0] == seen[1]
    assert set(seen[0]) == {"DataInspectionFailed", "length", "stop"}
    marked = run(Behaviour(Settings(content_filter=1)), request(chat_body(wire="chat"), OPENAI))
    assert json.loads(marked.body)["choices"][0]["finish_reason"] == "content_filter"
    poisoned = Behaviour(Settings(poison="bad row"))
    for _ in range(2):
        assert error_of(run(poisoned, request(chat_body("a bad row it is")))) == (400, "InvalidParameter")
    assert run(poisoned, request(chat_body("a good row"))).status == 200


def test_fail_first_and_fatal_after():
    """N first tries of each request fail; after N answers nobody gets any."""
    behaviour = Behaviour(Settings(fail_first=2, fatal_after=2))
    statuses = [[run(behaviour, request(chat_body(text))).status for _ in range(3)] for text in ("one", "two")]
    assert statuses == [[500, 500, 200]] * 2
    assert error_of(run(behaviour, request(chat_body("three")))) == (401, "InvalidApiKey")
    behaviour.change(Settings(fatal_after=0, fatal_error="arrearage"), 0)
    assert error_of(run(behaviour, request(chat_body("four")))) == (400, "Arrearage")
    assert error_of(run(behaviour, request(chat_body("four", wire="chat"), OPENAI))) == (429, "insufficient_quota")
    behaviour.change(Settings(), 0)
    assert run(behaviour, request(chat_body("five"))).status == 200


def test_latency_is_drawn_by_seed():
    """Fixed, lognormal round its median, and growing with the answer."""
    settings = Settings(latency_ms=200)
    assert run(Behaviour(settings), request(chat_body())).wait_s == pytest.approx(0.2)
    behaviour = Behaviour(Settings(latency_ms=200, latency_sigma=0.5))
    waits = sorted(run(behaviour, request(chat_body(f"row {i}"))).wait_s for i in range(1001))
    assert waits[500] == pytest.approx(0.2, rel=0.1)
    assert waits[900] > 0.3
    slow = run(Behaviour(Settings(tokens_per_s=10)), request(chat_body()))
    assert slow.wait_s == pytest.approx(count_tokens(expected_answer("hello")) / 10)
    frames = run(Behaviour(Settings(tokens_per_s=10)), request(chat_body(), x_dashscope_sse="enable"))
    assert frames.frame_s * len(frames.frames) == pytest.approx(slow.wait_s)


def test_what_is_counted():
    """Answers, repeated answers, requests after an answer, abandoned ones; a reset forgets them, limits do not."""
    behaviour = Behaviour(Settings())
    for text in ("one", "one", "two"):
        run(behaviour, request(chat_body(text)))
    gone = behaviour.reply(request(chat_body("three")), 0)
    assert gone.ticket is not None
    assert behaviour.told()["in_flight"] == 1
    behaviour.settle(gone.ticket, 1, delivered=False)
    told = behaviour.told(prompts=True)
    assert (told["requests"], told["served"], told["abandoned"]) == (4, 3, 1)
    assert (told["prompts_answered"], told["prompts_answered_again"], told["requests_after_answer"]) == (2, 1, 1)
    assert (told["billed_delivered"]["requests"], told["billed_lost"]["requests"]) == (3, 1)
    assert sorted(told["prompts"].values()) == [1, 2]
    behaviour.reset_stats()
    assert behaviour.told()["requests"] == behaviour.told()["billed"]["requests"] == 0


def test_settings_can_be_changed_by_request():
    """POST /settings takes some fields, checked; GET shows all but the key."""
    behaviour = Behaviour(Settings(api_key="canary"))
    assert run(behaviour, HttpRequest("POST", "/settings", {}, b'{"rpm": 60, "error_503": 1}')).status == 200
    assert (behaviour.settings.rpm, behaviour.settings.api_key) == (60, "canary")
    for wrong in (b'{"rmp": 60}', b'{"reset": 0.5}', b"{"):
        assert run(behaviour, HttpRequest("POST", "/settings", {}, wrong)).status == 400
    shown = run(behaviour, HttpRequest("GET", "/settings", {}))
    assert json.loads(shown.body)["rpm"] == 60
    assert b"canary" not in shown.body
