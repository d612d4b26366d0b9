"""Golden responses: every sample of the vendors' pages, whole, cut at every byte, and in every line ending."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.values import Completion, Failure, FailureKind, Throttle, Usage, Verdict

from .samples import BODIES, HOSTS, SAMPLES, Sample, read

sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s.file}-{s.server}")


def fields(outcome: Completion | Failure, expected: dict) -> dict:
    return {name: getattr(outcome, name, "(no such field)") for name in expected}


@sample
def test_a_page_sample_is_read_as_it_means(sample: Sample) -> None:
    """Text, usage, finish reason, ids and errors are what the page says."""
    assert fields(sample.read(), sample.expected) == sample.expected


def test_every_body_is_in_the_table() -> None:
    """No fixture lies about unread."""
    assert {s.file for s in SAMPLES} == {path.name for path in BODIES.iterdir()} - {"README.md"}


@sample
def test_a_cut_body_is_never_a_wrong_success(sample: Sample) -> None:
    """Cut at any byte, a body gives its whole answer or none; only the usage of a later chunk may be missing."""
    whole, body = sample.read(), sample.body
    for end in range(len(body)):
        outcome = sample.read(body[:end])
        if isinstance(outcome, Completion):
            assert isinstance(whole, Completion), f"cut at {end}"
            assert outcome.text == whole.text
            assert outcome.finish_reason == whole.finish_reason
            assert outcome.usage in (whole.usage, Usage())
        elif outcome.kind is FailureKind.UNREADABLE:
            assert outcome.verdict is Verdict.RETRY
            assert outcome.maybe_billed


@pytest.mark.parametrize(
    "ending", [b"\r\n", b"\r", b"\n\n", b"\n: keep-alive\n\n"], ids=["crlf", "cr", "blank", "ping"]
)
@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.streamed], ids=lambda s: s.file)
def test_line_endings_and_keep_alives_change_nothing(sample: Sample, ending: bytes) -> None:
    """CRLF, CR, extra blank lines and comments between lines are the same stream."""
    assert sample.read(sample.body.replace(b"\n", ending)) == sample.read()


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.streamed], ids=lambda s: s.file)
def test_missing_blank_lines_and_spaces_change_nothing(sample: Sample) -> None:
    """Frames without a blank line between, and `data:` with or without a space, are the same stream."""
    body = b"\n".join(line for line in sample.body.split(b"\n") if line) + b"\n"
    assert sample.read(body) == sample.read()
    assert sample.read(body.replace(b"data: ", b"data:")) == sample.read()
    assert sample.read(b"\xef\xbb\xbf" + body) == sample.read()


ANY = st.binary(max_size=200)
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["output", "choices", "choise", "message", "delta", "content", "text", "finish_reason", "usage", "input_tokens", "error", "code", "detail", "tool_calls", "function", "arguments", "index", "id", "logprobs", "reasoning_content", "status_code"]),
        inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@given(
    st.sampled_from(sorted(HOSTS)),
    ANY | JSONISH.map(lambda v: msgspec.json.encode(v) if _encodable(v) else b"{}"),
    st.sampled_from([200, 200, 200, 204, 301, 400, 429, 500, 599]),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_and_no_success_lacks_a_finish_reason(
    server: str, body: bytes, status: int, framed: bool
) -> None:
    """Whatever comes, the reader gives a value, and a completion always has a reason and usable fields."""
    if framed:
        body = b"id:1\nevent:result\ndata:" + body + b"\n\n"
    outcome = read(server, body, status, stream=framed, headers={"retry-after": "\x00", "location": "http://[::1"})
    if isinstance(outcome, Completion):
        assert status < 300
        assert outcome.finish_reason not in ("", "null")
    msgspec.json.encode(outcome)


def _encodable(value: object) -> bool:
    try:
        msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return False
    return True


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_one_flipped_byte_never_raises(data: st.DataObject) -> None:
    """A damaged sample gives a value too."""
    chosen = data.draw(st.sampled_from(SAMPLES))
    body = bytearray(chosen.body)
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    msgspec.json.encode(chosen.read(bytes(body)))


def native(**output: object) -> bytes:
    return msgspec.json.encode({"output": output, "usage": {"input_tokens": 3, "output_tokens": 2}})


def chat(**message: object) -> bytes:
    return msgspec.json.encode({"id": "c", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})


def frames(*documents: dict, end: bytes = b"") -> bytes:
    return b"".join(b"data: " + msgspec.json.encode(document) + b"\n\n" for document in documents) + end


def delta(reason: str | None = None, **fields: object) -> dict:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


VARIATIONS = {
    "choise": ("dashscope", native(choise=[{"finish_reason": "stop", "message": {"content": "a"}}]), {"text": "a"}),
    "null content": ("dashscope", native(choices=[{"finish_reason": "stop", "message": {"content": None}}]), {"text": None}),
    "no content": ("openai", chat(role="assistant"), {"text": None, "usage": Usage()}),
    "list content": ("dashscope", native(choices=[{"finish_reason": "stop", "message": {"content": [{"text": "a"}, {"text": "b"}]}}]), {"text": "ab"}),
    "text parts": ("openai", chat(content=[{"type": "text", "text": "a"}]), {"text": "a"}),
    "a think block stays": ("vllm", chat(content="<think>x</think>y"), {"text": "<think>x</think>y", "reasoning": None}),
    "reasoning_content": ("compatible", chat(content="a", reasoning_content="b"), {"reasoning": "b"}),
    "refusal": ("openai", chat(content=None, refusal="no"), {"text": None, "refusal": "no", "finish_reason": "stop"}),
    "function_call": ("openai", chat(content=None, function_call={"name": "f", "arguments": "{}"}),
        {"tool_calls": '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'}),
    "empty tool_calls": ("vllm", chat(content="a", tool_calls=[]), {"tool_calls": None}),
    "vendor's own reason": ("vllm", b'{"choices":[{"finish_reason":"abort","message":{"content":"a"}}]}', {"finish_reason": "abort"}),
    "content filter": ("openai", b'{"choices":[{"finish_reason":"content_filter","message":{"content":""}}]}',
        {"finish_reason": "content_filter", "text": ""}),
    "usage of wrong types": ("openai", b'{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usage":'
        b'{"prompt_tokens":"3","completion_tokens":-1,"total_tokens":true,"prompt_tokens_details":[],"completion_tokens_details":null}}',
        {"usage": Usage()}),
    "all usage": ("compatible", b'{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usage":{"prompt_tokens":9,'
        b'"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4,"cache_creation_input_tokens":2},'
        b'"completion_tokens_details":{"reasoning_tokens":3}}}', {"usage": Usage(9, 5, 14, 4, 3, 2)}),
    "logprobs": ("openai", b'{"choices":[{"finish_reason":"stop","message":{"content":"a"},"logprobs":{"content":[{"token":"a"}]}}]}',
        {"logprobs": '{"content":[{"token":"a"}]}'}),
    "lone surrogate": ("openai", b'{"choices":[{"finish_reason":"stop","message":{"content":"a\\ud800"}}]}', {"text": "a\ufffd"}),
    "surrogate pair": ("openai", b'{"choices":[{"finish_reason":"stop","message":{"content":"\\ud83d\\ude00"}}],"x":NaN}', {"text": "😀"}),
    "bad UTF-8": ("openai", b'{"choices":[{"finish_reason":"stop","message":{"content":"a\xff"}}]}', {"text": "a\ufffd"}),
    "byte order mark": ("openai", b'\xef\xbb\xbf{"choices":[{"finish_reason":"stop","message":{"content":"a"}}]}', {"text": "a"}),
    "NaN": ("openai", b'{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usage":{"prompt_tokens":NaN}}', {"usage": Usage()}),
    "5000 digits": ("openai", b'{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usage":{"prompt_tokens":'
        + b"1" * 5000 + b"}}", {"text": "a", "usage": Usage()}),
    "huge integers in calls": ("openai", b'{"choices":[{"finish_reason":"tool_calls","message":{"tool_calls":[{"x":123456789012345678901234}]}}]}',
        {"tool_calls": '[{"x":123456789012345678901234}]'}),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIATIONS)
def test_variations_seen_in_the_wild(name: str) -> None:
    """Odd but finished answers are completions."""
    server, body, expected = VARIATIONS[name]
    assert fields(read(server, body), expected) == expected


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
STREAMS = {
    "calls joined by index": ("openai", frames(
        delta(role="assistant", content=None, tool_calls=[{"index": 0, **CALL}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
        delta(tool_calls=[{"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        delta("tool_calls"), end=b"data: [DONE]\n\n"),
        {"text": None, "finish_reason": "tool_calls", "tool_calls":
         '[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\\"a\\":1}"}},'
         '{"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]'}),
    "all calls at index 0": ("vllm", frames(
        delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "1"}}]),
        delta("tool_calls", tool_calls=[{"index": 0, "id": "c2", "function": {"name": "g", "arguments": "2"}}])),
        {"tool_calls": '[{"id":"c1","function":{"name":"f","arguments":"1"}},{"id":"c2","function":{"name":"g","arguments":"2"}}]'}),
    "no [DONE], no usage": ("vllm", frames(delta(content="a"), delta("stop")), {"text": "a", "usage": Usage()}),
    "usage on the last chunk": ("vllm", frames(delta(content="a"), delta("stop") | {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        {"usage": Usage(1, 2, 3)}),
    "reasoning deltas": ("vllm", frames(delta(reasoning="a"), delta(reasoning="b"), delta("stop", content="c")), {"reasoning": "ab", "text": "c"}),
    "refusal deltas": ("openai", frames(delta(refusal="n"), delta("stop", refusal="o")), {"refusal": "no", "text": None}),
    "logprobs joined": ("openai", frames(*[{"choices": [{"delta": {"content": t}, "finish_reason": r, "logprobs": {"content": [t]}}]}
        for t, r in (("a", None), ("b", "stop"))]), {"logprobs": '{"content":["a","b"]}'}),
    "another choice's end is not ours": ("openai", frames(delta(content="a"),
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}), {"kind": FailureKind.UNREADABLE}),
    "[DONE] proves nothing": ("openai", frames(delta(content="a"), end=b"data: [DONE]\n\n"), {"kind": FailureKind.UNREADABLE, "maybe_billed": True}),
    "plain JSON for a stream": ("openai", chat(content="a"), {"text": "a"}),
    "an error frame of plain text": ("dashscope", b"id:1\nevent:error\n:HTTP_STATUS/503\ndata:overloaded\n\n",
        {"kind": FailureKind.SERVER_ERROR, "message": "overloaded", "maybe_billed": False}),
    "a status without its colon": ("dashscope", b'id:1\nHTTP_STATUS/429 TOO_MANY_REQUESTS\ndata:{"message":"slow"}\n\n',
        {"kind": FailureKind.RATE_LIMITED, "throttle": Throttle.UNKNOWN}),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_streams_seen_in_the_wild(name: str) -> None:
    """Deltas are joined, ends are believed only with a finish_reason, errors within a stream count."""
    server, body, expected = STREAMS[name]
    assert fields(read(server, body, stream=True), expected) == expected


def test_cumulative_frames_replace_one_another() -> None:
    """With `incremental_output = false` each frame repeats all before; calls too, and an empty last frame keeps them."""
    texts = ["I", "I like", "I like apple"]
    documents = [{"output": {"choices": [{"message": {"content": t, "reasoning_content": t.upper(),
                 "tool_calls": [{"index": 0, "function": {"name": "f", "arguments": t}}]}, "finish_reason": "null"}]}} for t in texts]  # fmt: skip
    documents.append({"output": {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}})
    outcome = read("dashscope", frames(*documents), stream=True, parameters={"incremental_output": False})
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.reasoning) == ("I like apple", "I LIKE APPLE")
    assert outcome.tool_calls == '[{"function":{"name":"f","arguments":"I like apple"}}]'


def test_the_text_format_streams_too() -> None:
    """`output.text` and `output.finish_reason` of the old format are joined like choices."""
    body = b'data:{"output":{"text":"a","finish_reason":"null"}}\n\ndata:{"output":{"text":"b","finish_reason":"stop"}}\n\n'
    outcome = read("dashscope", body, stream=True, parameters={"result_format": "text"})
    assert isinstance(outcome, Completion)
    assert outcome.text == "ab"


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"<html><title>Sign in</title></html>", b"ok", b"[]", b"null", b'"text"', b"{}", b"[" * 100_000, b'{"output":null}',
     b'{"choices":[]}', b'{"choices":[{"message":{"content":"a"},"finish_reason":""}]}'],
)  # fmt: skip
@pytest.mark.parametrize("server", sorted(HOSTS))
def test_a_success_that_is_no_answer_is_unreadable(server: str, body: bytes) -> None:
    """A portal's page, an empty body, JSON of another kind: tried again, and perhaps billed."""
    outcome = read(server, body)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict, outcome.maybe_billed) == (FailureKind.UNREADABLE, Verdict.RETRY, True)
    assert "HTTP 200" in outcome.message


def test_a_redirect_stops_the_run_and_names_the_host() -> None:
    """The key is never sent to another host; the user learns which one was meant."""
    outcome = read("openai", b"", 307, headers={"location": "https://user:pw@login.example.org/x?y"})
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict) == (FailureKind.ENDPOINT, Verdict.STOP)
    assert "login.example.org" in outcome.message
    assert "pw" not in outcome.message


def test_messages_are_cut_and_cannot_drive_a_terminal() -> None:
    """2,000 characters are kept, control characters and text-reordering marks are not."""
    body = msgspec.json.encode({"error": {"message": "\x1b[31mred\u202e\x07" + "x" * 5000}})
    outcome = read("openai", body, 500)
    assert isinstance(outcome, Failure)
    assert outcome.message.startswith("[31mredxxx")
    assert len(outcome.message) == 2000
