"""Columns that hold a conversation: `messages` ({role, content, ...} or ShareGPT's {from, value}) and `history`.

The rules are those that both wire formats share (Alibaba's "Text generation" and OpenAI's "Chat completions"): a system
or developer message only at the beginning; then user, assistant and tool messages, the last with `tool_call_id`; at the
end a user or tool message, or an assistant message that is to be continued (`partial`, or DeepSeek's `prefix`).

Images, videos and sounds are passed on by their URL and never fetched here. The path of a file is refused: rows come
from elsewhere, and a server on this machine might open any file that a row names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from batchgen.prompts.template import PromptError
from batchgen.text.literal import python_literal
from batchgen.values import Message, Prompt

_LEADING_ROLES = ("system", "developer")
_ROLES = (*_LEADING_ROLES, "user", "assistant", "tool")
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
_MEDIA = ("image", "video", "audio", "image_url", "video_url", "input_audio", "file")
_PATH = re.compile(r"/|\.{1,2}/|~|\\\\|[A-Za-z]:[\\/]")
_LONGEST_PATH = 1024  # a longer text is base64 data, which may begin with a slash


def read_messages(value: Any, column: str, *, exact: bool = False, drop_last_answer: bool = False) -> list[Message]:
    """Return the messages of one cell, null fields left out. Raises `PromptError` naming column and message.

    `drop_last_answer`: an assistant message at the end, as in files for fine-tuning, is dropped. `exact`: nulls inside
    the arguments of tool calls are kept, as they always are in JSON text.
    """
    kept = frozenset({"arguments"} if exact or isinstance(value, str) else ())
    items = _read_list(value, column)
    if not items:
        raise PromptError(f'column "{column}" holds no messages')
    messages: list[Message] = []
    for number, item in enumerate(items):
        where = f'column "{column}", message {number + 1}'
        if not isinstance(item, dict):
            raise PromptError(f"{where} is no object with role and content")
        message = _from_sharegpt(without_nulls(item, kept))
        _check_message(message, where, first=number == 0)
        messages.append(message)
    if drop_last_answer:
        while messages and messages[-1]["role"] == "assistant":
            messages.pop()
        if not messages:
            raise PromptError(f'column "{column}" holds nothing but answers')
    last = messages[-1]
    role = last["role"]
    if role not in ("user", "tool") and not (role == "assistant" and (last.get("partial") or last.get("prefix"))):
        hint = " (prompt.drop_last_answer leaves a last answer off)" if role == "assistant" else ""
        raise PromptError(f'column "{column}": the last message has the role "{role}"; it has to be user or tool{hint}')
    if role == "user" and not _has_content(last["content"]):
        raise PromptError(f'column "{column}": the prompt is empty (the last message)')
    return messages


def _from_sharegpt(message: dict[str, Any]) -> dict[str, Any]:
    """Return a ShareGPT turn, {from, value}, as a message; anything else unchanged."""
    if message.keys() >= {"from", "value"} and not message.keys() & {"role", "content"}:
        role = message["from"]
        return {"role": _SHAREGPT_ROLES.get(role, role) if isinstance(role, str) else role, "content": message["value"]}
    return message


def read_history(value: Any, column: str) -> list[Mapping[str, str]]:
    """Return the turns of one cell as {user, bot}; null or empty means none. Raises `PromptError`."""
    if value is None or value == "":
        return []
    turns: list[Mapping[str, str]] = []
    for number, turn in enumerate(_read_list(value, column), 1):
        if not (isinstance(turn, dict) and isinstance(turn.get("user"), str) and isinstance(turn.get("bot"), str)):
            raise PromptError(f'column "{column}", turn {number} is no object with the texts user and bot')
        turns.append({"user": turn["user"], "bot": turn["bot"]})
    return turns


def _read_list(value: Any, column: str) -> list[Any]:
    if value is None:
        raise PromptError(f'column "{column}" is null')
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            found = python_literal(value)
            if found is None:
                raise PromptError(f'column "{column}" is not valid JSON: {error}') from error
            value = found
    if isinstance(value, dict) and isinstance(value.get("messages"), list):  # a whole line of a file for fine-tuning
        value = value["messages"]
    if not isinstance(value, list):
        raise PromptError(f'column "{column}" holds no list')
    return value


def _check_message(message: dict[str, Any], where: str, *, first: bool) -> None:
    role = message.get("role")
    if role not in _ROLES:
        raise PromptError(f'{where} has the role "{role}"; known are {", ".join(_ROLES)}')
    if role in _LEADING_ROLES and not first:
        raise PromptError(f"{where} has the role {role}, which only the first may have")
    if role == "tool" and not message.get("tool_call_id"):
        raise PromptError(f"{where} has the role tool and no tool_call_id")
    content = message.get("content")
    if content is None and role == "assistant" and message.get("tool_calls"):
        return
    if not isinstance(content, str) and not (
        isinstance(content, list) and all(isinstance(part, dict) and part for part in content)
    ):
        raise PromptError(f"{where} has no content; it has to be a text or a list of parts")
    if isinstance(content, list):
        path = next((place for part in content for place in _media_places(part) if _is_file(place)), None)
        if path is not None:
            raise PromptError(f"{where} names the file {path!r}; files are not sent: give an https:// or data: URL")


def _media_places(part: Mapping[str, Any]) -> Iterator[str]:
    """Yield the addresses of the images, videos and sounds in a part, in either wire format's form."""
    for name in _MEDIA:
        shown = part.get(name)
        for place in shown if isinstance(shown, list) else [shown]:
            url = place.get("url", place.get("data")) if isinstance(place, dict) else place
            if isinstance(url, str):
                yield url


def _is_file(place: str) -> bool:
    return place[:5].lower() == "file:" or (len(place) <= _LONGEST_PATH and _PATH.match(place) is not None)


def _has_content(content: str | list[Any]) -> bool:
    return bool(content) and not (isinstance(content, str) and content.isspace())


def without_nulls(value: Any, kept: Collection[str] = ()) -> Any:
    """Remove null fields at any depth, but not below the keys `kept`. An Arrow struct has every field in every row."""
    if isinstance(value, dict):
        return {
            key: member if key in kept else without_nulls(member, kept)
            for key, member in value.items()
            if member is not None
        }
    if isinstance(value, list):
        return [without_nulls(member, kept) for member in value]
    return value


def as_messages(prompt: Prompt) -> list[Message]:
    """Return a prompt in the older form, text and history, as chat messages."""
    messages: list[Message] = list(prompt.messages)
    for turn in prompt.history:
        messages.append({"role": "user", "content": turn.get("user", "")})
        messages.append({"role": "assistant", "content": turn.get("bot", "")})
    if prompt.text is not None:
        messages.append({"role": "user", "content": prompt.text})
    return messages
