"""The documents of one response → what they add up to. Shared by both wire formats, plain and streamed.

A plain response is read as a stream of one document: `ReplyParts` takes the documents in turn, each with one choice,
and what it holds at the end is the answer. Pieces are kept in lists and joined once, so that a reply of any number of
frames costs a time in proportion to its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchgen.providers.documents import parsed
from batchgen.providers.error_body import VendorError, find_error
from batchgen.providers.finish_reasons import OUR_WORDS, is_unfinished, read_end
from batchgen.providers.tool_calls import ToolCalls, json_text, tool_names
from batchgen.providers.usage import find_report, last_filled
from batchgen.providers.wire import word_or_none
from batchgen.text.repeats import REPEATED_LETTERS, is_cumulative
from batchgen.text.storable import whole_text

Choice = Mapping[str, Any]
"""The one choice of a document: `message` or `delta`, `finish_reason`, `logprobs`."""

THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_content", "reasoning_text",
            "thinking_blocks", "thought", "thoughts", "reasoningContent", "reasoning_summary")  # fmt: skip
"""The names under which a message has its thinking; the first that is filled counts."""

_THINKING_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking", "reasoning_text", "summary_text")
_THINKING_MEMBERS = ("thinking", "reasoningContent")
_TEXT_PARTS = ("text", "output_text")
_BESIDE_TEXT = frozenset({"text", "thinking", "reasoningContent", "annotations", "citations", "logprobs", "thought",
                          "cache_control", "id", "index", "thoughtSignature", "thought_signature"})  # fmt: skip
"""The members of a lone part of a message that has no type: with any other it is an answer in JSON."""

_PARTS = (*_THINKING_PARTS, *_TEXT_PARTS, "refusal", "image_url", "image", "tool_use", "tool_call", "audio",
          "server_tool_use", "web_search_tool_result", "reference", "citation", "file")  # fmt: skip
_ENDS = ("finishReason", "stop_reason", "done_reason", "native_finish_reason")
_TEXT_OF_PART = ("text", "thinking", "reasoning", "summary", "content", "thought", "reasoningContent", "reasoningText")


class ReplyParts:
    """What the documents read so far add up to. `cumulative`: each frame repeats the text so far; `whole_messages`: a
    `message` in a stream is the whole one where pieces came as `delta` before, or where it says so itself."""

    __slots__ = (
        "calls", "cumulative", "ended", "error", "has_choice", "id", "in_pieces", "logprobs", "model", "reasoning",
        "refusal", "request_id", "service_tier", "text", "usages", "whole_messages",
    )  # fmt: skip

    def __init__(self, *, cumulative: bool, whole_messages: bool) -> None:
        self.cumulative = cumulative
        self.whole_messages = whole_messages
        self.text: list[str] | None = None
        self.reasoning: list[str] | None = None
        self.refusal: list[str] | None = None
        self.calls = ToolCalls()
        self.logprobs: Any = None
        self.ended: str | None = None
        self.error: VendorError | None = None
        self.usages: list[Mapping[str, Any]] = []
        self.has_choice = False
        self.in_pieces = False  # a `delta` has come
        self.model: str | None = None
        self.request_id: str | None = None
        self.id: str | None = None
        self.service_tier: str | None = None

    def add(self, document: Mapping[str, Any], choice: Choice | None) -> None:
        """Take one document and its choice (None: it has none, as the last chunk that only carries usage)."""
        self.model = self.model or word_or_none(document.get("model"))
        self.request_id = self.request_id or _request_id(document)
        self.id = self.id or word_or_none(document.get("id"))
        self.service_tier = word_or_none(document.get("service_tier")) or self.service_tier
        report = find_report(document)
        if report is not None:
            self.usages.append(report)
        if choice is None:
            return
        self.has_choice = True
        report = find_report(choice)  # Moonshot's streams, SGLang
        if report is not None:
            self.usages.append(report)
        reason = _reason(choice["finish_reason"] if "finish_reason" in choice else _end_elsewhere(document, choice))
        if reason is not None and not is_unfinished(reason):
            self.ended = reason
        if choice.get("error"):
            self.error = find_error(choice)
        logprobs = choice.get("logprobs")
        if logprobs is not None:
            self._add_logprobs(logprobs)
        self._add_message(document, choice)

    def _add_message(self, document: Mapping[str, Any], choice: Choice) -> None:
        message, delta = choice.get("message"), choice.get("delta")
        if isinstance(delta, str):
            delta = {"content": delta}
        if isinstance(message, str):
            message = {"content": message}
        elif message is None or isinstance(message, list):  # one that is called otherwise, or is in a list
            several = message or choice.get("messages")
            message = (
                next((one for one in several if isinstance(one, dict)), None) if isinstance(several, list) else None
            )
        replaces = self.cumulative
        whole = document.get("object") == "chat.completion"
        if isinstance(message, dict) and (whole or not delta) and (message or not isinstance(delta, dict)):
            replaces = replaces or (self.whole_messages and (whole or self.in_pieces))
        elif isinstance(delta, dict):
            message = delta
            self.in_pieces = True
        else:  # the older completions have a text in its place
            message = {"content": choice.get("text", choice.get("content"))}
        if "usage" in message and (report := find_report(message)) is not None:
            self.usages.append(report)
        text, thought = split_parts(message.get("content"))
        if not text:
            text = _said_elsewhere(message) or text
        self.text = _joined(self.text, text, replaces)
        for name in THOUGHTS:
            stated = thought_of(message.get(name))
            if stated:
                thought = stated
                break
        self.reasoning = _joined(self.reasoning, thought, replaces)
        refusal = thought_of(message.get("refusal")) or _refusal_part(message.get("content"))
        self.refusal = _joined(self.refusal, refusal, replaces)
        calls = message.get("tool_calls")
        if not (isinstance(calls, list) and calls):
            calls = _other_calls(message)
            if not calls:
                return
        if replaces or (self.whole_messages and message is not delta):
            self.calls.replace(calls)
        else:
            self.calls.add(calls)

    def _add_logprobs(self, logprobs: Any) -> None:
        """Join the lists of each frame's; what the first frame had is kept as ours and grows in place."""
        known = self.logprobs
        if self.cumulative or not (isinstance(known, dict) and isinstance(logprobs, dict)):
            self.logprobs = logprobs
            return
        for name, new in logprobs.items():
            old = known.get(name)
            if isinstance(old, list) and isinstance(new, list):
                old.extend(new)
            elif new:
                known[name] = new

    @property
    def has_words(self) -> bool:
        """Whether there is anything of an answer: text, a refusal, or a tool call."""
        return bool((self.text and any(self.text)) or (self.refusal and any(self.refusal)) or self.calls)

    @property
    def is_whole(self) -> bool:
        """Whether this is an answer that has come to a known good end."""
        return self.has_words and self.error is None and self.ended is not None and read_end(self.ended) in OUR_WORDS

    @property
    def usage(self) -> Mapping[str, Any] | None:
        """What all reports of tokens say together."""
        return last_filled(self.usages) if len(self.usages) > 1 else self.usages[0] if self.usages else None

    def tool_calls(self, request: bytes) -> str | None:
        """Return the tool calls as JSON text; `request` is the body of the request, which names the tools."""
        return json_text(self.calls.whole(lambda: tool_names(request))) if self.calls else None


def said_once(pieces: Sequence[str] | None) -> str | None:
    """Return the text of a stream's pieces, also where they repeat it: each what came before, or the last one all."""
    if pieces is None:
        return None
    filled = [piece for piece in pieces if piece]
    if is_cumulative(filled):
        return whole_text(filled[-1])
    text = "".join(filled)
    last = len(filled[-1]) if len(filled) > 2 else 0
    if last >= REPEATED_LETTERS and len(text) == 2 * last and text.endswith(text[:last]):
        text = filled[-1]
    return whole_text(text)


def split_parts(content: Any) -> tuple[str | None, str | None]:
    """Return a message's text and the thinking among its parts; None for what there is none of."""
    if content is None or type(content) is str:
        return content, None
    if isinstance(content, dict) and isinstance(content.get("role"), str):  # a whole message in the place of its text
        return split_parts(content.get("content", content.get("parts")))
    if isinstance(content, dict) and content.keys() == {"parts"}:
        return split_parts(content["parts"])
    if isinstance(content, dict) and "type" not in content and not content.keys() <= _BESIDE_TEXT:
        return json_text(content), None
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list) or (parts and not any(map(_is_part, parts))):
        return json_text(content), None  # a gateway has parsed the answer
    texts: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            named = "text" not in part and any(name in part for name in _THINKING_MEMBERS)
            if named or part.get("thought") is True or part.get("type") in _THINKING_PARTS:
                thoughts.append(thought_of(part))
            else:
                text = part.get("text", part.get("content") if part.get("type") in _TEXT_PARTS else None)
                text = text.get("value") if isinstance(text, dict) else text
                texts.append(text if isinstance(text, str) else "")
    return "".join(texts), "".join(thoughts) or None


def _is_part(part: Any) -> bool:
    """Whether this is a part of a message, and not a piece of an answer in JSON."""
    if not isinstance(part, dict):
        return isinstance(part, str)
    named = any(name in part for name in (*_THINKING_MEMBERS, "functionCall", "toolUse"))
    return named or isinstance(part.get("text"), str) or part.get("type") in _PARTS


def _said_elsewhere(message: Mapping[str, Any]) -> str | None:
    """Return a message's text where it does not stand in `content`."""
    spoken = message.get("audio")
    return _plain(spoken.get("transcript")) if isinstance(spoken, dict) else _plain(message.get("text"))


def _other_calls(message: Mapping[str, Any]) -> list[Any]:
    """Return the tool calls of a message that has no list of them: the single call of earlier days, one alone, JSON
    text, or parts of the message."""
    legacy = message.get("function_call")
    if isinstance(legacy, dict):
        return [{"type": "function", "function": legacy}]
    calls = message.get("tool_calls")
    if calls:
        calls = parsed(calls)
        return [calls] if isinstance(calls, dict) else calls if isinstance(calls, list) else []
    content = message.get("content")
    if type(content) is str or not content:
        return []
    content = content.get("parts") if isinstance(content, dict) else content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    own = [part["functionCall"] for part in parts if isinstance(part.get("functionCall"), dict)]  # Gemini
    for part in parts:  # Bedrock
        if isinstance(tool := part.get("toolUse"), dict):
            own.append({"id": tool.get("toolUseId"), "name": tool.get("name"), "input": tool.get("input")})
    return own or [part for part in parts if part.get("type") == "tool_use"]


def _refusal_part(content: Any) -> str | None:
    """Return the refusal among the parts of a message."""
    if not isinstance(content, list):
        return None
    said = [part.get("refusal") for part in content if isinstance(part, dict) and part.get("type") == "refusal"]
    return next((text for text in said if isinstance(text, str)), None)


def thought_of(value: Any) -> str:
    """Return the thinking in a field that is a text, a part, or a list of parts; "" where there is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(thought_of, value))
    if isinstance(value, dict):
        return next(filter(None, (thought_of(value.get(name)) for name in _TEXT_OF_PART)), "")
    return ""


def _plain(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _reason(value: Any) -> str | None:
    """Return the word for how an answer ended, also where it stands in an object (SGLang's own form) or in a list."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return word_or_none(value.get("type", value.get("reason")) if isinstance(value, dict) else value)


def _end_elsewhere(document: Mapping[str, Any], choice: Choice) -> Any:
    """Return what says how an answer ended where the choice has no such member: one of another name or place."""
    for name in _ENDS:
        if word_or_none(choice.get(name)):
            return choice[name]
    message = choice.get("message")
    stated = message.get("finish_reason") if isinstance(message, dict) else None
    return stated or document.get("finish_reason")


def _joined(parts: list[str] | None, more: str | None, replaces: bool) -> list[str] | None:
    if more is None:
        return parts
    if parts is None or (replaces and more):
        return [more]
    parts.append(more)
    return parts


def _request_id(document: Mapping[str, Any]) -> str | None:
    """The names it has been seen under: on the wire, in the Java SDK's prints, misspelt in a page's table."""
    return (
        word_or_none(document.get("request_id"))
        or word_or_none(document.get("requestId"))
        or word_or_none(document.get("request_Id"))
    )


def find_chat_choice(document: Mapping[str, Any], index: int | None = 0) -> Choice | None:
    """Return the choice with this index, or without any; None if there is none such. `index` None takes the first."""
    choices = document.get("choices")
    if isinstance(choices, dict):
        choices = list(choices.values()) if all(map(str.isdecimal, choices)) else [choices]
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict) and (index is None or choice.get("index") in (index, None)):
            return choice if len(choices) == 1 else _with_split_calls(choice, choices)
    return None


def _with_split_calls(choice: Choice, choices: Sequence[Any]) -> Choice:
    """Return a choice with the tool calls that it speaks of and does not have, as they stand in choices of their own.

    GitHub Copilot splits one answer so: a text that ends in `tool_calls`, and beside it the calls, without any text
    (https://github.com/SWE-agent/mini-swe-agent/issues/804). Other choices are other answers.
    """
    messages = [one["message"] for one in choices if isinstance(one, dict) and isinstance(one.get("message"), dict)]
    callers = [message for message in messages if message.get("tool_calls") and not message.get("content")]
    others = [message for message in messages if not message.get("tool_calls")]
    if not callers or len(others) != 1 or len(callers) + 1 < len(messages):
        return choice
    ends = [one.get("finish_reason") for one in choices if isinstance(one, dict) and one.get("message") is others[0]]
    if not isinstance(ends[0], str) or read_end(ends[0]) != "tool_calls":
        return choice
    calls = [call for message in callers if isinstance(message["tool_calls"], list) for call in message["tool_calls"]]
    whole = {**others[0], "tool_calls": calls}
    return {**choice, "message": whole, "finish_reason": ends[0]}
