"""Replies in the form of another API → chat completions.

A gateway that passes on what the server behind it has said, or an address that is another API's, answers in another
form than was asked for. The answer has been paid for, so it is looked for wherever nothing else has been found in a
reply: in members of any name, and in the forms of Gemini, Anthropic, OpenAI's responses, Ollama, llama.cpp, Text
Generation Inference, Cohere, Bedrock, Cloudflare and DashScope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchgen.providers.documents import parsed

_DEEPEST = 3
"""So many times a reply may be wrapped in another one."""

Document = Mapping[str, Any]


def in_chat_form(document: Any, depth: int = 0) -> Any:
    """Return the answer in a document as chat completions have it; None if there is none or it has that form."""
    found = parsed(document)
    if not isinstance(found, dict) or depth > _DEEPEST or (depth == 0 and isinstance(found.get("choices"), list)):
        return None
    if isinstance(found.get("choices"), str):
        found = {**found, "choices": parsed(found["choices"])}
    if found.get("choices") and isinstance(found["choices"], list | dict):
        return found
    for form in _FORMS:
        choice = form(found)
        if choice is not None:
            return {**found, "choices": [{"index": 0, **choice}]}
    for member in found.values():
        if member and isinstance(member, dict | str):
            inner = in_chat_form(member, depth + 1)
            if inner is not None:
                return inner
    return None


def _piece(message: Any, end: Any, *, ended: bool) -> dict[str, Any]:
    """Return a choice of an API whose streams have the form of its replies: the last one adds to those before it."""
    return {"delta": message, "finish_reason": end if ended and isinstance(end, str) else None}


def _choice(message: Any, end: Any) -> dict[str, Any]:
    return {"message": message, "finish_reason": end if isinstance(end, str) else None}


def _gemini(document: Document) -> dict[str, Any] | None:
    candidates, feedback = document.get("candidates"), document.get("promptFeedback")
    if isinstance(candidates, list) and candidates and isinstance(candidates[0], dict):
        first = candidates[0]
        return _choice({"content": first.get("content")}, first.get("finishReason", first.get("finish_reason")))
    if isinstance(feedback, dict) and feedback.get("blockReason"):
        return _choice({}, f"blocked: {feedback['blockReason']}")
    return None


def _responses(document: Document) -> dict[str, Any] | None:
    """OpenAI's responses: a list of messages, thoughts and calls."""
    items = document.get("output")
    if not isinstance(items, list) or not any(isinstance(item, dict) and item.get("type") for item in items):
        return None
    return responses_choice(document)


def responses_choice(document: Document) -> dict[str, Any]:
    """Return the answer of one of OpenAI's responses."""
    items = document.get("output")
    parts: list[Any] = []
    calls: list[Any] = []
    for item in items if isinstance(items, list) else ():
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "message":
            content = item.get("content")
            parts += content if isinstance(content, list) else [content]
        elif kind == "reasoning":
            parts.append({"type": "reasoning", "text": item.get("summary") or item.get("content")})
        elif kind == "function_call":
            calls.append({**item, "id": item.get("call_id", item.get("id"))})
    why = document.get("incomplete_details")
    end = document.get("status")
    if end == "incomplete" and isinstance(why, dict):
        end = why.get("reason")
    return _choice({"content": parts, "tool_calls": calls}, "tool_calls" if calls and end == "completed" else end)


def _ollama(document: Document) -> dict[str, Any] | None:
    """Ollama's own API, of messages and of texts."""
    if not isinstance(document.get("done"), bool):
        return None
    message = document.get("message")
    if not isinstance(message, dict):
        message = {"content": document.get("response"), "thinking": document.get("thinking")}
    return _piece(message, document.get("done_reason") or "stop", ended=document["done"])


def _texts(document: Document) -> dict[str, Any] | None:
    """Text Generation Inference, and llama.cpp's own API."""
    text = document.get("generated_text")
    if isinstance(text, str):
        details = document.get("details")
        return _choice({"content": text}, details.get("finish_reason") if isinstance(details, dict) else None)
    text, stop = document.get("content"), document.get("stop")
    if isinstance(text, str) and isinstance(stop, bool):
        cut = document.get("stopped_limit") or document.get("stop_type") == "limit"
        return _piece({"content": text}, "length" if cut else "stop", ended=stop)
    return None


def _messages(document: Document) -> dict[str, Any] | None:
    """Anthropic, and Cohere's two forms."""
    if (document.get("type") == "message" or "stop_reason" in document) and isinstance(document.get("content"), list):
        return _choice({"content": document["content"]}, document.get("stop_reason"))
    message, end = document.get("message"), document.get("finish_reason")
    if isinstance(end, str) and isinstance(message, dict):
        return _choice(message, end)
    if isinstance(end, str) and isinstance(document.get("text"), str):
        return _choice({"content": document["text"]}, end)
    return None


def _bedrock(document: Document) -> dict[str, Any] | None:
    output = document.get("output")
    if isinstance(output, dict) and isinstance(output.get("message"), dict):
        return _choice(output["message"], document.get("stopReason"))
    return None


def _generated(document: Document) -> dict[str, Any] | None:
    """The models' own forms on Bedrock, watsonx, Baidu's earlier API, and a message alone."""
    lists = (document.get("results"), document.get("outputs"))
    inner = next((one[0] for one in lists if isinstance(one, list) and one and isinstance(one[0], dict)), document)
    ended = next((inner[name] for name in ("stop_reason", "completionReason", "finish_reason") if name in inner), None)
    for name in ("generation", "generated_text", "outputText", "text", "completion", "result"):
        if isinstance(inner.get(name), str) and isinstance(ended, str):
            return _choice({"content": inner[name]}, ended)
    if document.get("role") in ("assistant", "model") and isinstance(document.get("content"), str | list):
        return _choice(document, None)
    return None


def _dashscope(document: Document) -> dict[str, Any] | None:
    output = document.get("output")
    if not isinstance(output, dict) or "usage" in output:  # that would be a whole reply in this member
        return None
    choices = output.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return {"message": choices[0].get("message"), "finish_reason": choices[0].get("finish_reason")}
    if isinstance(output.get("text"), str):
        return _choice({"content": output["text"]}, output.get("finish_reason"))
    return None


def _cloudflare(document: Document) -> dict[str, Any] | None:
    result = document.get("result")
    if document.get("success") is True and isinstance(result, dict) and "response" in result:
        return _choice({"content": result["response"], "tool_calls": result.get("tool_calls")}, None)
    return None


_FORMS: tuple[Callable[[Document], dict[str, Any] | None], ...] = (
    *(_gemini, _responses, _ollama, _texts, _messages, _bedrock, _dashscope, _cloudflare, _generated),
)
