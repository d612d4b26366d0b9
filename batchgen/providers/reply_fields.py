"""The documents of one response → what they add up to. Shared by both wire formats, plain and streamed.

A plain response is read as a stream of one document: `Answer` takes the documents in turn, each with one choice, and
what it holds at the end is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from batchgen.providers.wire import word_or_none
from batchgen.values import Usage

Choice = Mapping[str, Any]
"""The one choice of a document: `message` or `delta`, `finish_reason`, `logprobs`."""

UNFINISHED = ("", "null", "None")
"""What a running frame has as `finish_reason`: DashScope writes null as a string."""

LARGEST_COUNT = 2**63 - 1
"""Most tokens that a count can name: what a column of 64 bits holds."""


class Answer:
    """What the documents read so far add up to. `cumulative`: each frame repeats the text so far."""

    __slots__ = (
        "calls", "cumulative", "finish_reason", "id", "logprobs", "model",
        "reasoning", "refusal", "request_id", "text", "usage",
    )  # fmt: skip

    def __init__(self, cumulative: bool) -> None:
        self.cumulative = cumulative
        self.text: list[str] | None = None
        self.reasoning: list[str] | None = None
        self.refusal: list[str] | None = None
        self.calls: dict[object, dict[str, Any]] = {}
        self.logprobs: Any = None
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self.model: str | None = None
        self.request_id: str | None = None
        self.id: str | None = None

    def add(self, document: Mapping[str, Any], choice: Choice | None) -> None:
        """Take one document and its choice (None: it has none, as the last chunk that only carries usage)."""
        usage = document.get("usage")
        if isinstance(usage, dict):
            self.usage = usage  # DashScope: cumulative in every frame; chat completions: the last that has it
        self.model = self.model or word_or_none(document.get("model"))
        self.request_id = self.request_id or _request_id(document)
        self.id = self.id or word_or_none(document.get("id"))
        if choice is None:
            return
        reason = word_or_none(choice.get("finish_reason"))
        if reason is not None and reason not in UNFINISHED:
            self.finish_reason = reason
        logprobs = choice.get("logprobs")
        if logprobs is not None:
            self._add_logprobs(logprobs)
        message = choice.get("message")
        if not isinstance(message, dict):
            message = choice.get("delta")
            if not isinstance(message, dict):
                return
        self.text = self._joined(self.text, text_of(message.get("content")))
        reasoning = message.get("reasoning_content")
        self.reasoning = self._joined(
            self.reasoning, text_of(message.get("reasoning") if reasoning is None else reasoning)
        )
        self.refusal = self._joined(self.refusal, text_of(message.get("refusal")))
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            self._add_calls(calls)
        elif isinstance(message.get("function_call"), dict):  # the legacy single call
            self._add_calls([{"type": "function", "function": message["function_call"]}])

    def _joined(self, parts: list[str] | None, more: str | None) -> list[str] | None:
        if more is None:
            return parts
        if parts is None or (self.cumulative and more):
            return [more]
        parts.append(more)
        return parts

    def _add_calls(self, calls: list[Any]) -> None:
        """Join tool-call deltas by `index`: only the first carries `id` and `name`, the arguments are concatenated."""
        if self.cumulative:
            self.calls = {}
        for position, call in enumerate(calls):
            if not isinstance(call, dict):
                continue
            index = call.get("index", position)
            key: object = index if isinstance(index, int) else position
            known = self.calls.get(key)
            identity = call.get("id")
            if known is not None and identity and known.get("id") not in (None, "", identity):
                key, known = (key, identity), self.calls.get((key, identity))  # servers that give every call index 0
            if known is None:
                self.calls[key] = {name: value for name, value in call.items() if name != "index"}
                continue
            for name, value in call.items():
                if name == "function" and isinstance(value, dict):
                    known["function"] = _joined_function(known.get("function"), value)
                elif name != "index" and value and not known.get(name):
                    known[name] = value

    def _add_logprobs(self, logprobs: Any) -> None:
        known = self.logprobs
        if self.cumulative or not (isinstance(known, dict) and isinstance(logprobs, dict)):
            self.logprobs = logprobs
            return
        self.logprobs = {
            name: [*old, *new] if isinstance(old := known.get(name), list) and isinstance(new, list) else new or old
            for name, new in logprobs.items()
        }


def text_of(content: Any) -> str | None:
    """Return a message's text: as it is, or the `text` of its parts joined; None when there is none."""
    if content is None or type(content) is str:
        return content
    if not isinstance(content, list):
        return None
    parts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, (str, dict))]
    return "".join(part for part in parts if isinstance(part, str))


def read_usage(usage: Mapping[str, Any] | None) -> Usage:
    """Return the token counts under either format's names; None where missing or of a wrong type, never 0.

    A missing total is input + output. https://docs.qwencloud.com/api-reference/chat/dashscope,
    https://github.com/openai/openai-openapi
    """
    if usage is None:
        return Usage()
    tokens_in = _count(usage.get("input_tokens", usage.get("prompt_tokens")))
    tokens_out = _count(usage.get("output_tokens", usage.get("completion_tokens")))
    total = _count(usage.get("total_tokens"))
    if total is None and tokens_in is not None and tokens_out is not None:
        total = tokens_in + tokens_out
    read = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    written = usage.get("output_tokens_details") or usage.get("completion_tokens_details")
    if not isinstance(read, dict):
        read = {}
    if not isinstance(written, dict):
        written = {}
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        total_tokens=total,
        cached_tokens=_count(read.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))),
        reasoning_tokens=_count(written.get("reasoning_tokens")),
        cache_write_tokens=_count(read.get("cache_creation_input_tokens", read.get("cache_write_tokens"))),
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None


def _request_id(document: Mapping[str, Any]) -> str | None:
    """The names it has been seen under: on the wire, in the Java SDK's prints, misspelt in a page's table."""
    return (
        word_or_none(document.get("request_id"))
        or word_or_none(document.get("requestId"))
        or word_or_none(document.get("request_Id"))
    )


def _joined_function(known: Any, more: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(known, dict):
        return more
    joined = dict(known)
    for name, value in more.items():
        old = joined.get(name)
        if name == "arguments" and isinstance(old, str) and isinstance(value, str):
            joined[name] = old + value
        elif value and not old:
            joined[name] = value
    return joined


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
