"""Anthropic's Messages API as the simulated provider has it: requests, replies and errors.

https://platform.claude.com/docs/en/api/messages. A request becomes the same `Call` as those of the other formats, with
its messages and tools in the form of chat completions, so that the same prompt gets the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from batchgen.simulator.answers import SimulatedAnswer, text_of
from batchgen.simulator.bodies import Reply200, pieces_of
from batchgen.simulator.limits import SimulatedLimits
from batchgen.simulator.rules import Problem, refuse

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


def call_fields(fields: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of the `Call` that a body makes, refusing what Anthropic refuses."""
    if "anthropic-version" not in headers:
        refuse("anthropic-version: header is required")
    most, stream = fields.get("max_tokens"), fields.get("stream") or False
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        refuse("max_tokens: Field required", "max_tokens")
    if not isinstance(stream, bool):
        refuse("stream: Input should be a valid boolean", "stream")
    for name in ("stop", "response_format", "max_completion_tokens", "n", "seed"):
        if name in fields:
            refuse(f"{name}: Extra inputs are not permitted", name)
    given = fields.get("messages")
    if not isinstance(given, list) or not given:
        refuse("messages: at least one message is required", "messages")
    messages = [turn for number, message in enumerate(given) for turn in _turns(message, f"messages.{number}")]
    if (system := fields.get("system")) is not None:
        messages.insert(0, {"role": "system", "content": text_of(system)})
    form = (fields.get("output_config") or {}).get("format")
    response_format = None
    if form is not None:
        if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
            refuse("output_config.format: Input should be of type json_schema", "output_config")
        response_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": form["schema"]}}
    return {
        "messages": tuple(messages),
        "stream": stream,
        "max_tokens": most,
        "stop": tuple(fields.get("stop_sequences") or ()),
        "thinking_budget": _thinking(fields, most),
        "response_format": response_format,
        **_tools(fields),
    }


def _thinking(fields: Mapping[str, Any], most: int) -> int | None:
    thinking = fields.get("thinking")
    if thinking is None or thinking.get("type") == "disabled":
        return None
    if thinking.get("type") == "adaptive":
        return most
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or not 1024 <= budget < most:
        refuse("thinking.enabled.budget_tokens: must be at least 1024, and less than max_tokens", "thinking")
    return budget


def _tools(fields: Mapping[str, Any]) -> dict[str, Any]:
    tools = []
    for number, tool in enumerate(fields.get("tools") or ()):
        if not isinstance(tool, dict) or not isinstance(tool.get("input_schema"), dict):
            refuse(f"tools.{number}.input_schema: Field required", "tools")
        function = {"name": tool["name"], "parameters": tool["input_schema"]}
        tools.append({"type": "function", "function": function})
    choice = fields.get("tool_choice") or {"type": "auto"}
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in ("auto", "any", "none", "tool"):
        refuse("tool_choice: Input should be of type auto, any, none or tool", "tool_choice")
    named = {"type": "function", "function": {"name": choice.get("name")}}
    return {"tools": tuple(tools), "tool_choice": {"any": "required", "tool": named}.get(kind, kind)}


def _turns(message: Any, where: str) -> Iterator[dict[str, Any]]:
    """Yield a message as chat completions have it; results of tools are messages of their own there."""
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("user", "assistant"):
        refuse(f'{where}.role: Input should be "user" or "assistant"', "messages")
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        refuse(f"{where}.content: Input should be a valid list", "messages")
    parts = []
    for number, block in enumerate(content):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text" and not block.get("text"):
            refuse(f"{where}.content.{number}: text content blocks must be non-empty", "messages")
        if kind == "tool_result":
            said = block.get("content")
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text_of(said or "")}
        elif kind == "text":
            parts.append(block)
        elif kind not in ("image", "document", "thinking", "redacted_thinking", "tool_use"):
            refuse(f"{where}.content.{number}.type: Input tag {kind!r} is not known", "messages")
    if parts or role == "assistant":
        yield {"role": role, "content": "".join(part["text"] for part in parts)}


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
            "service_tier": "standard",
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
