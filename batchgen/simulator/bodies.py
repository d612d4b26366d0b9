"""Bodies of successful replies in both wire formats, written from the vendors' documentation.

Native: https://docs.qwencloud.com/api-reference/chat/dashscope ; chat completions:
https://github.com/openai/openai-openapi .
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.simulator.answers import SimulatedAnswer, count_tokens
from batchgen.simulator.calls import Call

_CREATED = 1_790_000_000  # a fixed time, so that the same request gets the same bytes
_PIECE_CHARACTERS = 24  # of a streamed answer in one frame
_MOST_PIECES = 24  # the most frames of an answer: a longer one has more characters in each

_encode = msgspec.json.encode


class Reply200(Struct, frozen=True):
    """What a successful reply is made of. `answers` has one for each choice (`n`)."""

    call: Call
    answers: Sequence[SimulatedAnswer]
    input_tokens: int
    request_id: str
    with_usage: bool = True
    null_content: bool = False
    cached_tokens: int = 0
    service_tier: str = "standard"

    @property
    def output_tokens(self) -> int:
        """Tokens generated for all choices together."""
        return sum(answer.output_tokens for answer in self.answers)

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of `output_tokens` that were reasoning."""
        return sum(answer.reasoning_tokens for answer in self.answers)


def whole_body(reply: Reply200) -> bytes:
    """Return the body of a reply that is not streamed."""
    native = reply.call.wire == "native"
    choices = []
    for i, answer in enumerate(reply.answers):
        message = _message(reply, answer, answer.text, answer.reasoning)
        choice: dict[str, Any] = {"finish_reason": answer.finish_reason, "message": message}
        if not native or len(reply.answers) > 1:
            choice["index"] = i
        if not native or reply.call.logprobs:
            choice["logprobs"] = _logprobs(answer.text) if reply.call.logprobs else None
        choices.append(choice)
    if native:
        return _encode(_native(reply, choices, reply.output_tokens))
    return _encode(_completion(reply, "chat.completion", choices, reply.output_tokens, with_usage=reply.with_usage))


def stream_frames(reply: Reply200) -> list[bytes]:
    """Return the frames of a streamed reply. The finish_reason is in the last frame of the native format, and in the
    last frame before usage and `[DONE]` of chat completions."""
    return list(_native_frames(reply) if reply.call.wire == "native" else _chat_frames(reply))


def _message(reply: Reply200, answer: SimulatedAnswer, text: str, reasoning: str) -> dict[str, Any]:
    content: Any = None if reply.null_content else text
    if reply.call.multimodal and content is not None:
        content = [{"text": text}] if text else []
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if answer.reasoning:
        message["reasoning_content"] = reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {"index": i, "id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for i, c in enumerate(answer.tool_calls)
        ]
    return message


def _native(reply: Reply200, choices: list[dict[str, Any]], output_tokens: int) -> dict[str, Any]:
    output: dict[str, Any] = {"choices": choices}
    if reply.call.text_format:
        output = {"text": choices[0]["message"]["content"], "finish_reason": choices[0]["finish_reason"]}
    body: dict[str, Any] = {"output": output, "request_id": reply.request_id}
    if reply.with_usage:
        body["usage"] = {
            "input_tokens": reply.input_tokens,
            "output_tokens": output_tokens,
            "total_tokens": reply.input_tokens + output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        }
        if reply.reasoning_tokens:
            reasoning = min(output_tokens, reply.reasoning_tokens)
            body["usage"]["output_tokens_details"] = {"reasoning_tokens": reasoning}
    return body


def _completion(
    reply: Reply200, kind: str, choices: list[dict[str, Any]], output_tokens: int, *, with_usage: bool
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": f"chatcmpl-{reply.request_id}",
        "object": kind,
        "created": _CREATED,
        "model": reply.call.model,
        "choices": choices,
        "system_fingerprint": None,
    }
    if reply.call.service_tier is not None:
        body["service_tier"] = reply.call.service_tier
    if with_usage:
        body["usage"] = {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": reply.input_tokens + output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        }
        if reply.reasoning_tokens:
            body["usage"]["completion_tokens_details"] = {"reasoning_tokens": reply.reasoning_tokens}
    return body


def _logprobs(text: str) -> dict[str, Any]:
    tokens = re.findall(r"\s*\S+", text)
    return {
        "content": [
            {"token": t, "bytes": list(t.encode()), "logprob": -0.05 * (1 + len(t) % 5), "top_logprobs": []}
            for t in tokens
        ]
    }


def pieces_of(text: str) -> list[str]:
    """Return the text of an answer in the pieces of a stream."""
    size = max(_PIECE_CHARACTERS, -(-len(text) // _MOST_PIECES))
    return [text[i : i + size] for i in range(0, len(text), size)]


def _native_frames(reply: Reply200) -> Iterator[bytes]:
    """Yield frames with a delta each or, without `incremental_output`, with all text so far. Usage is cumulative."""
    spent = 0
    number = 0
    for i, answer in enumerate(reply.answers):
        said, thought = "", ""
        steps = [(piece, "") for piece in pieces_of(answer.reasoning)] + [
            ("", piece) for piece in pieces_of(answer.text)
        ]
        for reasoning, text in [*steps, ("", "")]:
            number += 1
            said += text
            thought += reasoning
            tokens = (count_tokens(thought) if thought else 0) + (count_tokens(said) if said else 0)
            last = not reasoning and not text
            shown = answer if last else SimulatedAnswer(answer.text, "null", 0, answer.reasoning)
            message = _message(
                reply, shown, text if reply.call.incremental else said, reasoning if reply.call.incremental else thought
            )
            choice: dict[str, Any] = {"finish_reason": shown.finish_reason, "message": message}
            if len(reply.answers) > 1:
                choice["index"] = i
            yield native_frame(
                number, "result", 200, _native(reply, [choice], spent + (answer.output_tokens if last else tokens))
            )
        spent += answer.output_tokens


def native_frame(number: int, event: str, status: int, data: dict[str, Any]) -> bytes:
    """Return one event in DashScope's form: the status is in a comment, and no space follows the colons."""
    return b"id:%d\nevent:%s\n:HTTP_STATUS/%d\ndata:%s\n\n" % (number, event.encode(), status, _encode(data))


def _chat_frames(reply: Reply200) -> Iterator[bytes]:
    for i, answer in enumerate(reply.answers):
        deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in pieces_of(answer.reasoning)]
        deltas += [{"content": None if reply.null_content else piece} for piece in pieces_of(answer.text)]
        for k, call in enumerate(answer.tool_calls):
            named = {"index": k, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            deltas.append({"tool_calls": [named]})
            deltas += [{"tool_calls": [{"index": k, "function": {"arguments": p}}]} for p in pieces_of(call.arguments)]
        deltas[:1] = [{"role": "assistant", **(deltas or [{"content": ""}])[0]}]
        for k, delta in enumerate([*deltas, {}]):
            reason = answer.finish_reason if k == len(deltas) else None
            choice: dict[str, Any] = {"index": i, "delta": delta, "finish_reason": reason}
            if reply.call.logprobs and delta.get("content"):
                choice["logprobs"] = _logprobs(delta["content"])
            yield _chat_frame(reply, [choice])
    if reply.call.include_usage and reply.with_usage:
        yield _data(_completion(reply, "chat.completion.chunk", [], reply.output_tokens, with_usage=True))
    yield b"data: [DONE]\n\n"


def _chat_frame(reply: Reply200, choices: list[dict[str, Any]]) -> bytes:
    body = _completion(reply, "chat.completion.chunk", choices, 0, with_usage=False)
    if reply.call.include_usage:
        body["usage"] = None
    return _data(body)


def _data(value: Any) -> bytes:
    return b"data: %s\n\n" % _encode(value)


def models_body(models: Sequence[str]) -> bytes:
    """Return the body of the reply to `GET .../models`."""
    data = [{"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"} for name in models]
    return _encode({"object": "list", "data": data})
