"""Requests of Anthropic's Messages API, read as strictly as Anthropic does.

https://platform.claude.com/docs/en/api/messages. They become the same `Call` as those of the other formats, with
messages and tools in the form of chat completions, so that the same prompt gets the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchgen.simulator.answers import text_of
from batchgen.simulator.rules import refuse

_WITHOUT_SAMPLING = "2026-10-21"
"""The version from which on the API has no `temperature`, `top_p` and `top_k`."""


def call_fields(fields: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of the `Call` that a body makes, refusing what Anthropic refuses."""
    if "anthropic-version" not in headers:
        refuse("anthropic-version: header is required")
    most, stream = fields.get("max_tokens"), fields.get("stream") or False
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        refuse("max_tokens: Field required", "max_tokens")
    if not isinstance(stream, bool):
        refuse("stream: Input should be a valid boolean", "stream")
    gone = ("temperature", "top_p", "top_k") if headers["anthropic-version"] >= _WITHOUT_SAMPLING else ()
    for name in ("stop", "response_format", "max_completion_tokens", "n", "seed", *gone):
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
