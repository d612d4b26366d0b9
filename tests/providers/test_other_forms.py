"""Replies in the form of another API than was asked: the answer has been paid for, and is found."""

from __future__ import annotations

import json

import pytest

from batchgen.values import Completion, Failure, FailureKind

from .samples import read

USAGE = {"prompt_tokens": 24, "completion_tokens": 3, "total_tokens": 27}
CHOICES = [{"index": 0, "message": {"role": "assistant", "content": "Blue"}, "finish_reason": "stop"}]
CHAT = {"id": "c", "choices": CHOICES, "usage": USAGE}
PARTS = [{"text": "Bl"}, {"text": "ue"}]
BLUE = [{"type": "text", "text": "Blue"}]

FORMS = {
    "Ollama's messages": (
        {"message": {"content": "Blue"}, "done_reason": "stop", "done": True, "prompt_eval_count": 24, "eval_count": 3},
        "stop",
    ),
    "Ollama's texts": (
        {"response": "Blue", "done": True, "done_reason": "length", "prompt_eval_count": 24, "eval_count": 3},
        "length",
    ),
    "llama.cpp": (
        {"content": "Blue", "stop": True, "stop_type": "eos", "tokens_evaluated": 24, "tokens_predicted": 3},
        "stop",
    ),
    "Gemini": (
        {
            "candidates": [{"content": {"role": "model", "parts": PARTS}, "finishReason": "MAX_TOKENS"}],
            "usageMetadata": {"promptTokenCount": 24, "candidatesTokenCount": 3, "totalTokenCount": 27},
        },
        "length",
    ),
    "OpenAI's responses": (
        {
            "object": "response",
            "status": "completed",
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "content": [{"type": "output_text", "text": "Blue"}]},
            ],
            "usage": {"input_tokens": 24, "output_tokens": 3, "total_tokens": 27},
        },
        "stop",
    ),
    "OpenAI's responses, cut": (
        {
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "Blue"}]}],
            "usage": USAGE,
        },
        "length",
    ),
    "Anthropic": (
        {
            "type": "message",
            "content": BLUE,
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 24, "output_tokens": 3},
        },
        "stop",
    ),
    "Cohere": (
        {
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": BLUE},
            "usage": {"billed_units": {"input_tokens": 24, "output_tokens": 3}},
        },
        "stop",
    ),
    "Bedrock": (
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Blue"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 24, "outputTokens": 3},
        },
        "stop",
    ),
    "Llama on Bedrock": (
        {"generation": "Blue", "prompt_token_count": 24, "generation_token_count": 3, "stop_reason": "stop"},
        "stop",
    ),
    "Baidu": ({"object": "chat.completion", "result": "Blue", "finish_reason": "normal", "usage": USAGE}, "stop"),
    "a message alone": ({"role": "assistant", "content": "Blue", "usage": USAGE}, None),
    "Cloudflare": ({"result": {"response": "Blue", "usage": USAGE}, "success": True, "errors": []}, None),
    "DashScope": ({"output": {"choices": CHOICES}, "usage": {"input_tokens": 24, "output_tokens": 3}}, "stop"),
    "DashScope's texts": (
        {"output": {"text": "Blue", "finish_reason": "stop"}, "usage": {"input_tokens": 24, "output_tokens": 3}},
        "stop",
    ),
    "in a member of any name": ({"code": 0, "msg": "success", "payload": CHAT}, "stop"),
    "in the member that DashScope has": ({"output": CHAT}, "stop"),
    "in two members": ({"data": {"result": CHAT}}, "stop"),
    "quoted three times": (json.dumps(json.dumps(CHAT)), "stop"),
    "choices as text": ({**CHAT, "choices": json.dumps(CHOICES)}, "stop"),
    "choices by number": ({**CHAT, "choices": {"0": CHOICES[0]}}, "stop"),
}


@pytest.mark.parametrize("name", FORMS)
def test_an_answer_in_another_form_is_found(name):
    """With its end and its tokens."""
    document, end = FORMS[name]
    outcome = read("vllm", json.dumps(document).encode())
    assert isinstance(outcome, Completion), outcome
    assert (outcome.text, outcome.finish_reason) == ("Blue", end)
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (24, 3)


def test_a_text_without_figures_is_an_answer_too():
    """Text Generation Inference names no end unless it is asked to."""
    outcome = read("vllm", json.dumps([{"generated_text": "Blue"}]).encode())
    assert (outcome.text, outcome.finish_reason) == ("Blue", None)


def test_pieces_in_another_form():
    """Ollama streams a document a line; without its last one the answer is cut."""
    lines = [{"message": {"content": "Bl"}, "done": False}, {"message": {"content": "ue"}, "done": False}]
    end = {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 24, "eval_count": 3}
    whole = read("vllm", b"".join(json.dumps(one).encode() + b"\n" for one in (*lines, end)), stream=True)
    assert (whole.text, whole.finish_reason, whole.usage.output_tokens) == ("Blue", "stop", 3)
    last = {**end, "message": {"content": "!"}}  # the line that ends it may bring words too
    assert (
        read("vllm", b"".join(json.dumps(one).encode() + b"\n" for one in (*lines, last)), stream=True).text == "Blue!"
    )
    chunk = {"choices": [{"index": 0, "delta": {"content": "Bl"}}]}
    for pieces in (lines, lines[:1], [{"content": "Bl", "stop": False}], [chunk]):  # one line is no whole reply either
        cut = read("vllm", b"".join(json.dumps(one).encode() + b"\n" for one in pieces), stream=True)
        assert isinstance(cut, Failure)
        assert (cut.kind, cut.maybe_billed) == (FailureKind.UNREADABLE, True)


def test_a_prompt_that_another_api_has_blocked():
    """Gemini's own words for it; asking again would change nothing."""
    body = {"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {"promptTokenCount": 24}}
    assert read("vllm", json.dumps(body).encode()).kind is FailureKind.CONTENT_FILTER


def test_calls_in_another_form():
    """A call without the member `function`, as parts of a message, as one object, or as JSON text."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"n":1}'}}
    messages = [
        {"content": None, "tool_calls": [{"id": "a", "name": "f", "arguments": {"n": 1}}]},
        {"content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"n": 1}}]},
        {"content": [{"toolUse": {"toolUseId": "a", "name": "f", "input": {"n": 1}}}]},
        {"content": None, "tool_calls": call},
        {"content": None, "tool_calls": json.dumps([call])},
    ]
    for message in messages:
        document = {**CHAT, "choices": [{"message": message, "finish_reason": "tool_calls"}]}
        outcome = read("vllm", json.dumps(document).encode())
        assert [one["function"] for one in json.loads(outcome.tool_calls)] == [{"name": "f", "arguments": '{"n":1}'}]


def test_words_without_an_answer_are_none():
    """Nothing that is not known to be an answer is taken for one."""
    for document in ({"response": "Internal error"}, {"content": "busy"}, {"text": "queue full"}, {"result": "no"}):
        assert isinstance(read("vllm", json.dumps(document).encode()), Failure), document
