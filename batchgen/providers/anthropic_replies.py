"""Replies of the Messages API, whole or event by event → chat completions.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchgen.providers.tool_calls import json_text


class MessagesReply:
    """Puts the documents of one reply into the form of chat completions: a whole message, or the events of a stream."""

    def __init__(self) -> None:
        self._calls: dict[Any, bool] = {}  # calls of tools by their block, and whether arguments have come

    def __call__(self, document: Any) -> Any:
        """Return one document in that form; what is no message and no event of one stays as it is."""
        kind = document.get("type") if isinstance(document, Mapping) else None
        if kind == "message":
            return self._whole(document)
        if kind == "message_start":
            message = document.get("message")
            return _top(message) if isinstance(message, Mapping) else {}
        if kind == "message_delta":
            delta = document.get("delta")
            reason = delta.get("stop_reason") if isinstance(delta, Mapping) else None
            return {**_top(document), "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        if kind in ("content_block_start", "content_block_delta", "content_block_stop"):
            piece = self._piece(kind, document)
            return {} if piece is None else {"choices": [{"index": 0, "delta": piece}]}
        return {} if kind in ("ping", "message_stop") else document

    def _whole(self, document: Mapping[str, Any]) -> dict[str, Any]:
        content = document.get("content")
        blocks = [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []
        calls = [
            _called(number, block.get("id"), block.get("name"), _arguments(block.get("input") or {}))
            for number, block in enumerate(one for one in blocks if one.get("type") == "tool_use")
        ]
        message = {"content": content, **({"tool_calls": calls} if calls else {})}
        choice = {"index": 0, "message": message, "finish_reason": document.get("stop_reason")}
        return {**_top(document), "choices": [choice]}

    def _piece(self, kind: str, document: Mapping[str, Any]) -> dict[str, Any] | None:
        place = document.get("index")
        if kind == "content_block_stop":
            if self._calls.get(place) is not False:
                return None
            return {"tool_calls": [{"index": place, "function": {"arguments": "{}"}}]}  # a call without arguments
        inner = document.get("content_block" if kind == "content_block_start" else "delta")
        if not isinstance(inner, Mapping):
            return None
        part = inner.get("type")
        if part == "tool_use":
            given = inner.get("input")
            self._calls[place] = bool(given)
            return {
                "tool_calls": [_called(place, inner.get("id"), inner.get("name"), _arguments(given) if given else "")]
            }
        if part == "input_json_delta":
            arguments = inner.get("partial_json")
            self._calls[place] = self._calls.get(place, False) or bool(arguments)
            return {"tool_calls": [{"index": place, "function": {"arguments": arguments or ""}}]}
        if part in ("text", "text_delta"):
            return {"content": inner.get("text")}
        return {"reasoning_content": inner.get("thinking")} if part in ("thinking", "thinking_delta") else None


def _arguments(given: Any) -> str:
    return given if isinstance(given, str) else json_text(given)


def _called(place: Any, identity: Any, name: Any, arguments: str) -> dict[str, Any]:
    return {
        "index": place,
        "id": identity,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _top(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands beside an answer. The class of service is told among the tokens."""
    top = {name: document[name] for name in ("id", "model", "usage", "error") if name in document}
    usage = document.get("usage")
    tier = usage.get("service_tier") if isinstance(usage, Mapping) else None
    return top if tier in (None, "standard") else {**top, "service_tier": tier}
