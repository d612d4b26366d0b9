"""Replies in the form of another API, document by document → chat completions.

`other_forms` reads what is an answer of itself. Streams of other APIs are events, of which each is a piece: those of
Anthropic, of OpenAI's responses, of Cohere and of Bedrock, as gateways pass them on in place of chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchgen.providers.anthropic_replies import MessagesReply
from batchgen.providers.other_forms import in_chat_form, responses_choice

_MESSAGES = frozenset({"message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta",
                       "content_block_stop", "ping"})  # fmt: skip
_COHERE = frozenset({"message-start", "content-start", "content-delta", "content-end", "tool-plan-delta",
                     "tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "citation-end",
                     "message-end"})  # fmt: skip
_BEDROCK = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata")
_ENDED = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})

Document = Mapping[str, Any]


class OtherReply:
    """Puts the documents of one reply into the form of chat completions; None for one that has no part of an answer."""

    def __init__(self) -> None:
        self._messages = MessagesReply()
        self._said = False  # a piece of a response has come

    def __call__(self, document: Any) -> Any:
        """Return one document in that form."""
        if not isinstance(document, Mapping):
            return in_chat_form(document)
        kind = document.get("type")
        if not isinstance(kind, str):
            kind = ""
        if kind in _MESSAGES:
            return self._messages(document)
        if kind.startswith("response."):
            return self._responses(kind, document)
        if kind in _COHERE:
            return _cohere(kind, document)
        event = next((name for name in _BEDROCK if isinstance(document.get(name), Mapping)), None)
        if event is not None and len(document) == 1:
            return _bedrock(document[event])
        if "contentBlockIndex" in document or document.keys() <= {"stopReason", "additionalModelResponseFields"}:
            return _bedrock(document)
        return in_chat_form(document)

    def _responses(self, kind: str, document: Document) -> Any:
        """OpenAI's responses: pieces of texts, whole items, and at the end the whole response once more."""
        delta = document.get("delta")
        if isinstance(delta, str) and kind == "response.output_text.delta":
            self._said = True
            return _piece({"content": delta})
        if isinstance(delta, str) and kind == "response.refusal.delta":
            self._said = True
            return _piece({"refusal": delta})
        if isinstance(delta, str) and kind.startswith("response.reasoning") and kind.endswith("_text.delta"):
            return _piece({"reasoning_content": delta})
        item = document.get("item")
        if kind == "response.output_item.done" and isinstance(item, Mapping) and item.get("type") == "function_call":
            self._said = True
            call = {**item, "index": document.get("output_index"), "id": item.get("call_id", item.get("id"))}
            return _piece({"tool_calls": [call]})
        response = document.get("response")
        if kind not in _ENDED or not isinstance(response, Mapping):
            return {}
        top = {name: response[name] for name in ("id", "model", "usage", "service_tier") if response.get(name)}
        if response.get("error"):
            return {**top, "error": response["error"]}
        choice = responses_choice(response)
        if self._said:
            choice = {"delta": {}, "finish_reason": choice["finish_reason"]}
        return {**top, "choices": [{"index": 0, **choice}]}


def _piece(delta: Document, end: Any = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": end if isinstance(end, str) else None}]}


def _cohere(kind: str, document: Document) -> dict[str, Any]:
    """Cohere's second API (https://docs.cohere.com/docs/streaming)."""
    delta = document.get("delta")
    if not isinstance(delta, Mapping):
        return {}
    if kind == "message-end":
        usage = {"usage": delta["usage"]} if isinstance(delta.get("usage"), Mapping) else {}
        return {**usage, **_piece({}, delta.get("finish_reason"))}
    message = delta.get("message")
    if not isinstance(message, Mapping):
        return {}
    call, content = message.get("tool_calls"), message.get("content")
    if isinstance(call, Mapping):
        return _piece({"tool_calls": [{**call, "index": document.get("index")}]})
    if isinstance(message.get("tool_plan"), str):
        return _piece({"reasoning_content": message["tool_plan"]})
    return _piece({"content": [content]}) if isinstance(content, Mapping) else {}


def _bedrock(event: Document) -> dict[str, Any]:
    """Bedrock's ConverseStream, an event's own members
    (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html)."""
    if isinstance(event.get("usage"), Mapping):
        return {"usage": event["usage"]}
    if "stopReason" in event:
        return _piece({}, event["stopReason"])
    inner = event.get("delta", event.get("start"))
    if not isinstance(inner, Mapping):
        return {}
    tool = inner.get("toolUse")
    if isinstance(tool, Mapping):
        function = {"name": tool.get("name"), "arguments": tool.get("input")}
        call = {"id": tool.get("toolUseId"), "type": "function", "function": function}
        return _piece({"tool_calls": [{**call, "index": event.get("contentBlockIndex")}]})
    return _piece({"content": [inner]}) if inner else {}
