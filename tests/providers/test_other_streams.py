"""Streams of another API than was asked: each piece once, with the end and the tokens of the answer."""

from __future__ import annotations

import json

import pytest

from batchgen.values import Completion, Failure, FailureKind

from .samples import read

OSLO = {"town": "Oslo"}


def events(*documents):
    """Return a stream as servers of these APIs send it."""
    said = ((f"event: {one['type']}\n" if "type" in one else "") + f"data: {json.dumps(one)}\n\n" for one in documents)
    return "".join(said).encode()


def block(index, kind, **inner):
    """An event of Anthropic's about one block."""
    return {"type": f"content_block_{kind}", "index": index, **inner}


def message(**inner):
    """A piece of Cohere's."""
    return {"delta": {"message": inner}}


BEGUN = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 24}}
TEXT = {"type": "message", "content": [{"type": "output_text", "text": "Blue"}]}
RESPONSE = {"status": "completed", "output": [TEXT], "usage": {"input_tokens": 24, "output_tokens": 3}}
COHERE_END = {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 24, "output_tokens": 3}}}
BEDROCK_USAGE = {"inputTokens": 24, "outputTokens": 3, "totalTokens": 27}

STREAMS = {
    "Anthropic": [
        {"type": "message_start", "message": BEGUN},
        block(0, "start", content_block={"type": "text", "text": ""}),
        {"type": "ping"},
        block(0, "delta", delta={"type": "text_delta", "text": "Bl"}),
        block(0, "delta", delta={"type": "text_delta", "text": "ue"}),
        block(0, "stop"),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ],
    "OpenAI's responses": [
        {"type": "response.created", "response": {"status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "Bl"},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "ue"},
        {"type": "response.output_text.done", "output_index": 0, "text": "Blue"},
        {"type": "response.output_item.done", "output_index": 0, "item": TEXT},
        {"type": "response.completed", "response": RESPONSE},
    ],
    "OpenAI's responses, the end without the texts": [
        {"type": "response.output_text.delta", "delta": "Bl"},
        {"type": "response.output_text.delta", "delta": "ue"},
        {"type": "response.completed", "response": {**RESPONSE, "output": []}},
    ],
    "OpenAI's responses, the end alone": [{"type": "response.completed", "response": RESPONSE}],
    "Cohere": [
        {"type": "message-start", "id": "c", **message(role="assistant", content=[])},
        {"type": "content-start", "index": 0, **message(content={"type": "text", "text": ""})},
        {"type": "content-delta", "index": 0, **message(content={"text": "Bl"})},
        {"type": "content-delta", "index": 0, **message(content={"text": "ue"})},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": COHERE_END},
    ],
    "Bedrock": [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Bl"}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "ue"}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": BEDROCK_USAGE}},
    ],
    "Bedrock, the events' members alone": [
        {"role": "assistant"},
        {"contentBlockIndex": 0, "delta": {"text": "Bl"}},
        {"contentBlockIndex": 0, "delta": {"text": "ue"}},
        {"contentBlockIndex": 0},
        {"stopReason": "end_turn"},
        {"usage": BEDROCK_USAGE},
    ],
}
CALLS = {
    "Anthropic": [
        block(0, "start", content_block={"type": "tool_use", "id": "t", "name": "look", "input": {}}),
        block(0, "delta", delta={"type": "input_json_delta", "partial_json": '{"town"'}),
        block(0, "delta", delta={"type": "input_json_delta", "partial_json": ':"Oslo"}'}),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}},
    ],
    "OpenAI's responses": [
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"town":"Oslo"}'},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {"type": "function_call", "call_id": "t", "name": "look", "arguments": json.dumps(OSLO)},
        },
        {"type": "response.completed", "response": {"status": "completed", "output": [{"type": "function_call"}]}},
    ],
    "Cohere": [
        {
            "type": "tool-call-start",
            "index": 0,
            **message(tool_calls={"id": "t", "type": "function", "function": {"name": "look", "arguments": ""}}),
        },
        {"type": "tool-call-delta", "index": 0, **message(tool_calls={"function": {"arguments": json.dumps(OSLO)}})},
        {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}},
    ],
    "Bedrock": [
        {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "look"}}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"town"'}}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolUse": {"input": ':"Oslo"}'}}}},
        {"messageStop": {"stopReason": "tool_use"}},
    ],
}


@pytest.mark.parametrize("stream", [True, False], ids=["asked for", "not asked for"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_another_form_is_read(name, stream):
    """Text once, end and tokens."""
    outcome = read("vllm", events(*STREAMS[name]), stream=stream)
    assert isinstance(outcome, Completion), outcome
    assert (outcome.text, outcome.finish_reason) == ("Blue", "stop")
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (24, 3)


@pytest.mark.parametrize("name", [name for name in STREAMS if "alone" not in name])
def test_a_cut_stream_in_another_form_is_no_answer(name):
    """However much of it has come; it may have been billed."""
    whole = STREAMS[name]
    end = next(place for place, one in enumerate(whole) if "ue" in json.dumps(one)) + 1
    for documents in (whole[:end], whole[: end - 1]):
        outcome = read("vllm", events(*documents), stream=True)
        assert isinstance(outcome, Failure), outcome
        assert (outcome.kind, outcome.maybe_billed) == (FailureKind.UNREADABLE, True)


@pytest.mark.parametrize("name", CALLS)
def test_the_tool_calls_of_such_a_stream(name):
    """Whole, with name, id and arguments."""
    outcome = read("vllm", events(*CALLS[name]), stream=True)
    assert isinstance(outcome, Completion), outcome
    assert outcome.finish_reason == "tool_calls"
    (call,) = json.loads(outcome.tool_calls)
    assert (call["id"], call["function"]["name"]) == ("t", "look")
    assert json.loads(call["function"]["arguments"]) == OSLO


def test_an_error_at_the_end_of_such_a_stream_is_told():
    """In the server's own words, whatever was said before."""
    failed = {"status": "failed", "error": {"code": "server_error", "message": "Out of luck"}}
    said = {"type": "response.output_text.delta", "delta": "Bl"}
    outcome = read("vllm", events(said, {"type": "response.failed", "response": failed}), stream=True)
    assert (outcome.kind, outcome.message) == (FailureKind.SERVER_ERROR, "Out of luck")
    assert outcome.maybe_billed
