"""Replies and errors of Anthropic's Messages API. https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from batchgen.simulator.answers import SimulatedAnswer
from batchgen.simulator.bodies import Reply200, pieces_of
from batchgen.simulator.limits import SimulatedLimits
from batchgen.simulator.rules import Problem

_encode = msgspec.json.encode
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def message_body(reply: Reply200) -> bytes:
    """Return the body of a reply that is not streamed."""
    answer = reply.answers[0]
    content = [] if reply.null_content else _blocks(answer, reply.request_id)
    return _encode(_message(reply, content, _STOPS.get(answer.finish_reason), answer.output_tokens))


def _message(reply: Reply200, content: list[Any], stop: str | None, output_tokens: int) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": f"msg_{reply.request_id}",
        "type": "message",
        "role": "assistant",
        "model": reply.call.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
    }
    if reply.with_usage:
        body["usage"] = {
            "input_tokens": reply.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
            "service_tier": reply.service_tier,
        }
    return body


def _blocks(answer: SimulatedAnswer, request_id: str) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": request_id})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    for call in answer.tool_calls:
        given = msgspec.json.decode(call.arguments) if _is_json(call.arguments) else {"broken": call.arguments}
        blocks.append({"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": given})
    return blocks


def _is_json(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False


def message_frames(reply: Reply200) -> Iterator[bytes]:
    """Yield the events of a streamed reply; the reason for its end is in the last but one."""
    answer = reply.answers[0]
    yield _event("message_start", message=_message(reply, [], None, 1))
    yield _event("ping")
    for place, block in enumerate([] if reply.null_content else _blocks(answer, reply.request_id)):
        kind = block["type"]
        empty: dict[str, Any] = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}.get(
            kind, {**block, "input": {}}
        )
        yield _event("content_block_start", index=place, content_block={"type": kind, **empty})
        said = _encode(block["input"]).decode() if kind == "tool_use" else block[kind]
        name, field = {"tool_use": ("input_json_delta", "partial_json")}.get(kind, (f"{kind}_delta", kind))
        for piece in pieces_of(said):
            yield _event("content_block_delta", index=place, delta={"type": name, field: piece})
        if kind == "thinking":
            signature = {"type": "signature_delta", "signature": block["signature"]}
            yield _event("content_block_delta", index=place, delta=signature)
        yield _event("content_block_stop", index=place)
    told = {"usage": {"output_tokens": answer.output_tokens}} if reply.with_usage else {}
    yield _event(
        "message_delta", delta={"stop_reason": _STOPS.get(answer.finish_reason), "stop_sequence": None}, **told
    )
    yield _event("message_stop")


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), _encode({"type": kind, **fields}))


def message_error(problem: Problem, request_id: str) -> tuple[int, bytes]:
    """Return the status and the body of an error."""
    status = 529 if problem.code == "ModelUnavailable" else problem.status
    kind = _ERRORS.get(status, "invalid_request_error")
    message = "Overloaded" if status == 529 else problem.message
    if problem.code == "Arrearage":
        message = "Your credit balance is too low to access the Anthropic API."
    elif problem.code == "ModelNotFound":
        message = f"model: {problem.message}"
    error = {"type": kind, "message": message}
    return status, _encode({"type": "error", "error": error, "request_id": f"req_{request_id}"})


def message_error_frame(problem: Problem, request_id: str) -> bytes:
    """Return an error within a stream, which ends there."""
    return b"event: error\ndata: %s\n\n" % message_error(problem, request_id)[1]


def message_limit_headers(limits: SimulatedLimits, wall_s: float) -> tuple[tuple[str, str], ...]:
    """Return Anthropic's `anthropic-ratelimit-*` headers for the limits that are set; resets are times."""
    headers: list[tuple[str, str]] = []
    for name, bucket in (("requests", limits.requests), ("tokens", limits.tokens)):
        if bucket is not None:
            wait = timedelta(seconds=max(0.0, (bucket.capacity - bucket.level) / bucket.rate))
            reset = datetime.fromtimestamp(wall_s, UTC) + wait
            headers += [
                (f"anthropic-ratelimit-{name}-limit", str(round(bucket.per_minute))),
                (f"anthropic-ratelimit-{name}-remaining", str(max(0, int(bucket.level)))),
                (f"anthropic-ratelimit-{name}-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ")),
            ]
    return tuple(headers)
