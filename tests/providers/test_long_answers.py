"""Answers of thousands of tool calls or log probabilities are read in a time that grows as they do."""

import json

import pytest

from batchgen.answers.votes import token_confidence
from tests.linear import check_linear

from .samples import read

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


def whole(message, logprobs=None):
    """Return the body of a reply."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", "logprobs": logprobs}
    return json.dumps({"id": "1", "model": "m", "choices": [choice]}).encode()


def frames(deltas, logprobs=None):
    """Return the body of a streamed reply."""
    lines = [{"choices": [{"index": 0, "delta": delta, "logprobs": logprobs}]} for delta in deltas]
    lines.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(b"data: " + json.dumps(line).encode() + b"\n\n" for line in lines) + b"data: [DONE]\n\n"


def call(**more):
    """Return a piece of a call."""
    return {"tool_calls": [CALL | more]}


WHOLE = {
    "calls": lambda count: whole({"content": None, "tool_calls": [CALL | {"id": f"c{n}"} for n in range(count)]}),
    "calls of one id": lambda count: whole({"content": None, "tool_calls": [CALL] * count}),
    "log probabilities": lambda count: whole({"content": "a" * count}, {"content": [TOKEN] * count}),
    "parts of content": lambda count: whole({"content": [{"type": "text", "text": "a"}] * count}),
}
STREAMED = {
    "calls by index": lambda count: frames(call(index=n, id=f"c{n}") for n in range(count)),
    "calls of one index": lambda count: frames(call(index=0, id=f"c{n}") for n in range(count)),
    "calls of one id": lambda count: frames(call(index=n) for n in range(count)),
    "calls without index and id": lambda count: frames(
        {"tool_calls": [{"type": "function", "function": CALL["function"]}]} for _ in range(count)
    ),
    "pieces of one call": lambda count: frames(
        call(index=0, id="a" if n == 0 else None, function={"arguments": "x"} | ({} if n else {"name": "f"}))
        for n in range(count)
    ),
    "arguments under indexes of their own": lambda count: frames(
        {"tool_calls": [{"index": n, "function": {"arguments": "x"} | ({} if n else {"name": "f"})}]}
        for n in range(count)
    ),
    "calls in turn": lambda count: frames(
        {"tool_calls": [{"index": n % 50, "function": {"arguments": "x"} | ({"name": "f"} if n < 50 else {})}]}
        for n in range(count)
    ),
    "log probabilities": lambda count: frames(({"content": "a"} for _ in range(count)), {"content": [TOKEN]}),
    "the whole again in each piece": lambda count: frames({"content": "ab" * (n % 40 + 1)} for n in range(count)),
}


@pytest.mark.parametrize("server", ["openai", "vllm"])
@pytest.mark.parametrize("kind", WHOLE)
def test_whole_replies(kind, server):
    """Twice as many take about twice as long."""
    check_linear(lambda length: read(server, WHOLE[kind](length // 4)))


@pytest.mark.parametrize("server", ["openai", "vllm"])
@pytest.mark.parametrize("kind", STREAMED)
def test_streamed_replies(kind, server):
    """Twice as many pieces take about twice as long, whatever they have in common."""
    check_linear(lambda length: read(server, STREAMED[kind](length // 4), stream=True))


@pytest.mark.parametrize("token", ["bug", "b", " bug ", "bu g"])
def test_the_confidence_of_a_label(token):
    """It looks through all tokens for the label's last occurrence."""

    def confidence(length):
        tokens = [TOKEN | {"token": token, "bytes": list(token.encode())}] * length
        token_confidence(json.dumps({"content": tokens}), "bug")

    check_linear(confidence)
