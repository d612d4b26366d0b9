"""What the documents of one response add up to: odd messages, deltas, tool calls, cumulative frames."""

from __future__ import annotations

import msgspec
import pytest

from batchgen.values import Completion, FailureKind, Throttle, Usage, Verdict

from .samples import fields, read


def native(**output):
    return msgspec.json.encode({"output": output, "usage": {"input_tokens": 3, "output_tokens": 2}})


def chat(**message):
    return msgspec.json.encode({"id": "c", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})


def frames(*documents, end=b""):
    return b"".join(b"data: " + msgspec.json.encode(document) + b"\n\n" for document in documents) + end


def delta(reason=None, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


VARIATIONS = {
    "choise": ("dashscope", native(choise=[{"finish_reason": "stop", "message": {"content": "a"}}]), {"text": "a"}),
    "null content": (
        "dashscope",
        native(choices=[{"finish_reason": "stop", "message": {"content": None}}]),
        {"text": None},
    ),
    "a whole reply inside a gateway's own": (
        "openai",
        b'{"code": 0, "msg": "done", "data": ' + chat(content="a") + b"}",
        {"text": "a", "finish_reason": "stop"},
    ),
    "no content": ("openai", chat(role="assistant"), {"text": None, "usage": Usage()}),
    "list content": (
        "dashscope",
        native(choices=[{"finish_reason": "stop", "message": {"content": [{"text": "a"}, {"text": "b"}]}}]),
        {"text": "ab"},
    ),
    "text parts": ("openai", chat(content=[{"type": "text", "text": "a"}]), {"text": "a"}),
    "a think block": ("vllm", chat(content="<think>x</think>y"), {"text": "y", "reasoning": "x"}),
    "reasoning_content": ("compatible", chat(content="a", reasoning_content="b"), {"reasoning": "b"}),
    "refusal": ("openai", chat(content=None, refusal="no"), {"text": None, "refusal": "no", "finish_reason": "stop"}),
    "refusal among the parts": (
        "openai",
        chat(content=[{"type": "refusal", "refusal": "no"}]),
        {"text": "", "refusal": "no"},
    ),
    "function_call": (
        "openai",
        chat(content=None, function_call={"name": "f", "arguments": "{}"}),
        {"tool_calls": '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'},
    ),
    "empty tool_calls": ("vllm", chat(content="a", tool_calls=[]), {"tool_calls": None}),
    "vendor's own reason": (
        "vllm",
        b'{"choices":[{"finish_reason":"abort","message":{"content":"a"}}]}',
        {"finish_reason": "abort", "kind": FailureKind.SERVER_ERROR},
    ),
    "content filter": (
        "openai",
        b'{"choices":[{"finish_reason":"content_filter","message":{"content":"a"}}]}',
        {"finish_reason": "content_filter", "text": "a"},
    ),
    "usage of wrong types": (
        "openai",
        b'{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usage":'
        b'{"prompt_tokens":[3],"completion_tokens":-1,"total_tokens":true,"prompt_tokens_details":[],"completion_tokens_details":null}}',
        {"usage": Usage()},
    ),
    "all usage": (
        "compatible",
        b'{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usage":{"prompt_tokens":9,'
        b'"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4,"cache_creation_input_tokens":2},'
        b'"completion_tokens_details":{"reasoning_tokens":3}}}',
        {"usage": Usage(9, 5, 14, 4, 3, 2)},
    ),
    "logprobs": (
        "openai",
        b'{"choices":[{"finish_reason":"stop","message":{"content":"a"},"logprobs":{"content":[{"token":"a"}]}}]}',
        {"logprobs": '{"content":[{"token":"a"}]}'},
    ),
    "lone surrogate": (
        "openai",
        b'{"choices":[{"finish_reason":"stop","message":{"content":"a\\ud800"}}]}',
        {"text": "a\ufffd"},
    ),
    "surrogate pair": (
        "openai",
        b'{"choices":[{"finish_reason":"stop","message":{"content":"\\ud83d\\ude00"}}],"x":NaN}',
        {"text": "😀"},
    ),
    "bad UTF-8": (
        "openai",
        b'{"choices":[{"finish_reason":"stop","message":{"content":"a\xff"}}]}',
        {"text": "a\ufffd"},
    ),
    "byte order mark": (
        "openai",
        b'\xef\xbb\xbf{"choices":[{"finish_reason":"stop","message":{"content":"a"}}]}',
        {"text": "a"},
    ),
    "NaN": (
        "openai",
        b'{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usage":{"prompt_tokens":NaN}}',
        {"usage": Usage()},
    ),
    "5000 digits": (
        "openai",
        b'{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usage":{"prompt_tokens":'
        + b"1" * 5000
        + b"}}",
        {"text": "a", "usage": Usage()},
    ),
    "native choices out of order": (
        "dashscope",
        native(choices=[{"index": n, "message": {"content": f"{n}"}, "finish_reason": "stop"} for n in (1, 0)]),
        {"text": "0"},
    ),
    "a native message beside its end": (
        "dashscope",
        native(message={"role": "assistant", "content": "a"}, finish_reason="stop"),
        {"text": "a", "finish_reason": "stop"},
    ),
    "native tokens by model": (
        "dashscope",
        b'{"output":{"text":"a","finish_reason":"stop"},'
        b'"usage":{"models":[{"model_id":"q","input_tokens":3,"output_tokens":2}]}}',
        {"usage": Usage(3, 2, 5)},
    ),
    "native tokens within the output": (
        "dashscope",
        b'{"output":{"text":"a","finish_reason":"stop","usage":{"input_tokens":3,"output_tokens":2}}}',
        {"usage": Usage(3, 2, 5)},
    ),
    "huge integers in calls": (
        "openai",
        b'{"choices":[{"finish_reason":"tool_calls","message":{"tool_calls":[{"x":123456789012345678901234}]}}]}',
        {"tool_calls": '[{"x":123456789012345678901234}]'},
    ),
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_variations_seen_in_the_wild(name):
    """Odd but finished answers are completions."""
    server, body, expected = VARIATIONS[name]
    assert fields(read(server, body), expected) == expected


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
STREAMS = {
    "calls joined by index": (
        "openai",
        frames(
            delta(role="assistant", content=None, tool_calls=[{"index": 0, **CALL}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
            delta(
                tool_calls=[{"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]
            ),
            delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
            delta("tool_calls"),
            end=b"data: [DONE]\n\n",
        ),
        {
            "text": None,
            "finish_reason": "tool_calls",
            "tool_calls": '[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\\"a\\":1}"}},'
            '{"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]',
        },
    ),
    "all calls at index 0": (
        "vllm",
        frames(
            delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "1"}}]),
            delta("tool_calls", tool_calls=[{"index": 0, "id": "c2", "function": {"name": "g", "arguments": "2"}}]),
        ),
        {
            "tool_calls": '[{"id":"c1","function":{"name":"f","arguments":"1"}},'
            '{"id":"c2","function":{"name":"g","arguments":"2"}}]'
        },
    ),
    "no [DONE], no usage": ("vllm", frames(delta(content="a"), delta("stop")), {"text": "a", "usage": Usage()}),
    "usage on the last chunk": (
        "vllm",
        frames(delta(content="a"), delta("stop") | {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        {"usage": Usage(1, 2, 3)},
    ),
    "reasoning deltas": (
        "vllm",
        frames(delta(reasoning="a"), delta(reasoning="b"), delta("stop", content="c")),
        {"reasoning": "ab", "text": "c"},
    ),
    "refusal deltas": (
        "openai",
        frames(delta(refusal="n"), delta("stop", refusal="o")),
        {"refusal": "no", "text": None},
    ),
    "delta and message in one frame": (
        "openai",
        frames(
            {"choices": [{"delta": {"content": "a"}, "message": {"content": "a"}, "finish_reason": None}]},
            {"choices": [{"delta": {"content": "b"}, "message": {"content": "ab"}, "finish_reason": "stop"}]},
        ),
        {"text": "ab"},
    ),
    "the whole message behind its pieces": (
        "openai",
        frames(
            delta(content="a"),
            delta(content="b"),
            {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]},
        ),
        {"text": "ab"},
    ),
    "the whole message beside an empty delta": (
        "openai",
        frames(delta(content="a"), {"choices": [{"delta": {}, "message": {"content": "a"}, "finish_reason": "stop"}]}),
        {"text": "a"},
    ),
    "pieces called messages": (
        "openai",
        frames(
            {"choices": [{"message": {"content": "a"}, "finish_reason": None}]},
            {"choices": [{"message": {"content": "b"}, "finish_reason": "stop"}]},
        ),
        {"text": "ab"},
    ),
    "a document in several lines": (
        "openai",
        b'data: {"choices": [\ndata:   {"delta": {"content": "a"}, "finish_reason": "stop"}\ndata: ]}\n\n',
        {"text": "a", "finish_reason": "stop"},
    ),
    "a frame within a frame": ("openai", b"data: " + frames(delta(content="a")) + frames(delta("stop")), {"text": "a"}),
    "[done] in small letters": ("openai", frames(delta("stop", content="a"), end=b"data: [done]\n\n"), {"text": "a"}),
    "a document a line": (
        "openai",
        b"".join(msgspec.json.encode(one) + b"\n" for one in (delta(content="a"), delta("stop", content="b"))),
        {"text": "ab"},
    ),
    "a document a line, cut": (
        "openai",
        b"".join(msgspec.json.encode(one) + b"\n" for one in (delta(content="a"), delta(content="b"))),
        {"kind": FailureKind.UNREADABLE, "maybe_billed": True},
    ),
    "logprobs joined": (
        "openai",
        frames(
            *[
                {"choices": [{"delta": {"content": t}, "finish_reason": r, "logprobs": {"content": [t]}}]}
                for t, r in (("a", None), ("b", "stop"))
            ]
        ),
        {"logprobs": '{"content":["a","b"]}'},
    ),
    "another choice's end is not ours": (
        "openai",
        frames(delta(content="a"), {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}),
        {"kind": FailureKind.UNREADABLE},
    ),
    "data after [DONE]": (
        "openai",
        frames(delta("stop", content="a"), end=b"data: [DONE]\n\n")
        + frames(delta(content="b"), {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        {"text": "a", "usage": Usage(1, 2, 3)},
    ),
    "a gateway's second try after [DONE]": (
        "openai",
        frames(delta(role="assistant"), end=b"data: [DONE]\n\n") + frames(delta("stop", content="a")),
        {"text": "a"},
    ),
    "deltas that are texts": (
        "openai",
        frames({"choices": [{"delta": "a"}]}, {"choices": [{"delta": "b", "finish_reason": "stop"}]}),
        {"text": "ab"},
    ),
    "frames that are lists": ("openai", frames([delta(content="a")], [delta("stop", content="b")]), {"text": "ab"}),
    "frames that are quoted": (
        "openai",
        frames(*[msgspec.json.encode(one).decode() for one in (delta(content="a"), delta("stop", content="b"))]),
        {"text": "ab"},
    ),
    "chat completions for the native form": (
        "dashscope",
        frames(delta(content="a"), delta("stop", content="b")),
        {"text": "ab", "finish_reason": "stop"},
    ),
    "chat completions for the native form, cut": (
        "dashscope",
        frames(delta(content="a"), delta(content="b")),
        {"kind": FailureKind.UNREADABLE},
    ),
    "[DONE] proves nothing": (
        "openai",
        frames(delta(content="a"), end=b"data: [DONE]\n\n"),
        {"kind": FailureKind.UNREADABLE, "maybe_billed": True},
    ),
    "plain JSON for a stream": ("openai", chat(content="a"), {"text": "a"}),
    "an error frame of plain text": (
        "dashscope",
        b"id:1\nevent:error\n:HTTP_STATUS/503\ndata:overloaded\n\n",
        {"kind": FailureKind.SERVER_ERROR, "verdict": Verdict.WAIT, "message": "overloaded", "maybe_billed": False},
    ),
    "a status without its colon": (
        "dashscope",
        b'id:1\nHTTP_STATUS/429 TOO_MANY_REQUESTS\ndata:{"message":"slow"}\n\n',
        {"kind": FailureKind.RATE_LIMITED, "throttle": Throttle.UNKNOWN},
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_seen_in_the_wild(name):
    """Deltas are joined, ends are believed only with a finish_reason, errors within a stream count."""
    server, body, expected = STREAMS[name]
    assert fields(read(server, body, stream=True), expected) == expected


def test_cumulative_frames_replace_one_another():
    """With `incremental_output = false` each frame repeats all before; an empty last frame takes nothing away."""
    texts = ["I", "I like", "I like apple"]
    documents = [
        {
            "output": {
                "choices": [
                    {
                        "message": {
                            "content": t,
                            "reasoning_content": t.upper(),
                            "tool_calls": [{"index": 0, "function": {"name": "f", "arguments": t}}],
                        },
                        "finish_reason": "null",
                    }
                ]
            }
        }
        for t in texts
    ]
    documents.append({"output": {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}})
    outcome = read("dashscope", frames(*documents), stream=True, parameters={"incremental_output": False})
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.reasoning) == ("I like apple", "I LIKE APPLE")
    assert outcome.tool_calls == '[{"function":{"name":"f","arguments":"I like apple"}}]'


def test_the_text_format_streams_too():
    """`output.text` and `output.finish_reason` of the old format are joined like choices."""
    texts = (("a", "null"), ("b", "stop"))
    body = frames(*[{"output": {"text": text, "finish_reason": reason}} for text, reason in texts])
    outcome = read("dashscope", body, stream=True, parameters={"result_format": "text"})
    assert isinstance(outcome, Completion)
    assert outcome.text == "ab"


@pytest.mark.parametrize("tail", [b"da", b"data", b"data: [DON", b'data: {"choices":[],"usa', b"event: don"])
def test_a_stream_cut_after_its_finish_reason_is_unreadable(tail):
    """A last line without an end shows that more was coming: usage, most likely, and that is money."""
    outcome = read("openai", frames(delta("stop", content="a"), end=tail), stream=True)
    assert fields(outcome, {"kind": 0, "maybe_billed": 0}) == {"kind": FailureKind.UNREADABLE, "maybe_billed": True}
    for whole in (b"data: [DONE]", b": keep-alive", b"event: done\n"):
        assert isinstance(read("openai", frames(delta("stop", content="a"), end=whole), stream=True), Completion)


CALLED = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SAID = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "I look."}}
CALLS = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [CALLED]}}


@pytest.mark.parametrize(
    "choices", [[SAID, CALLS], [SAID, {**CALLS, "index": 1}], [CALLS, {**SAID, "index": 1}], [SAID, CALLS, CALLS]]
)
def test_an_answer_that_is_split_over_choices_is_one(choices):
    """GitHub Copilot sends the text as one choice and each tool call as another."""
    outcome = read("openai", msgspec.json.encode({"choices": choices}))
    assert outcome.text == "I look."
    assert outcome.finish_reason == "tool_calls"
    assert msgspec.json.decode(outcome.tool_calls) == [CALLED] * (len(choices) - 1)


@pytest.mark.parametrize(
    "choices",
    [
        [{**SAID, "finish_reason": "stop"}, {**CALLS, "index": 1}],
        [SAID, {**CALLS, "message": {**CALLS["message"], "content": "another answer"}}],
        [SAID, {**SAID, "index": 1}],
    ],
)
def test_several_answers_are_not_put_together(choices):
    """The first counts, as always."""
    outcome = read("openai", msgspec.json.encode({"choices": choices}))
    assert (outcome.text, outcome.tool_calls) == ("I look.", None)


@pytest.mark.parametrize("odd", [5, True, 1.5, {"a": 1}])
def test_odd_members_of_a_reply_raise_nothing(odd):
    """Names and types may hold anything, and what is no message or word is none."""
    message = {"content": [{"type": odd, "text": ["x"]}]}
    for choice in ({"finish_reason": "stop", "messages": odd}, {"finish_reason": "stop", "message": message}):
        assert isinstance(read("openai", msgspec.json.encode({"choices": [choice]})), Completion)
