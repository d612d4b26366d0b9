"""What the simulated model answers. It depends only on the prompt and the seed, so that a test can check every row.

- By default prose: `Answer`, a digest of the last user message, then words. Lengths have a lognormal distribution.
- A JSON object, if the request has a schema (`response_format`), or if its messages mention JSON and show a schema or
  an example object. Its values are extracted from the last user message.
- A JSON list of the labels that share a word with the last user message, if the messages ask for those that apply.
- One label, if the messages list labels after a word such as "Labels:", in one line or behind dashes.
- A tool call, if tools are offered and one is required or shares a word with the last user message.
- After a message that asks to answer again, the answer to the user message before it.

A token is four bytes of UTF-8; every text has at least one token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.simulator.blemishes import blemished
from batchgen.simulator.demo.fitting import Fitter, choose, like_example, stems
from batchgen.values import Message

_MESSAGE_OVERHEAD = 5  # ChatML: start, role, newline, end, newline
_REPLY_OVERHEAD = 3
_READ_CHARACTERS = 20_000  # so much of a text is searched for labels, examples and values
_PROSE = (
    "the request names a product and a date and asks for a short reply that a person can check at once "
    "so the first part repeats what was said while the second part adds a reason and a next step for the reader "
    "who may want to compare several rows and therefore expects the same form each time without any surprise "
) * 40
_SPREAD = [NormalDist(0, 0.6).inv_cdf((i + 0.5) / 64) for i in range(64)]  # logarithms of 64 equally likely lengths
_LABEL_WORDS = r"\b(?:labels?|categor(?:y|ies)|class(?:es)?|one of)\b"
_LABELS_BELOW = re.compile(rf"(?im)^[^\n]*{_LABEL_WORDS}[^:\n]*:[ \t]*\n+((?:[ \t]*[-*•][ \t]+[^\n]+(?:\n|\Z)){{2,}})")
_LABELS_BESIDE = re.compile(rf"(?im){_LABEL_WORDS}[^:\n]{{0,60}}:[ \t]*([^\n]+)$")
_LIST_OF_LABELS = re.compile(
    r'(?i)\blist of (?:those|all|any)\b[^\n]*\blabels\b[^\n]*?(\["(?:[^"\\\n]|\\.)*"(?:, ?"(?:[^"\\\n]|\\.)*")*\])'
)
_AGAIN = re.compile(r"(?i)\b(?:answer|reply|try|write it) (?:once )?again\b|\bcorrect (?:it|that|your answer)\b")
_KEYS_BESIDE = re.compile(r"(?im)\b(?:keys|fields)\b[^:\n]{0,60}:[ \t]*([^\n]+)$")


class ToolCall(Struct, frozen=True):
    """A call of an offered tool; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class SimulatedAnswer(Struct, frozen=True):
    """An answer, independent of the wire format. `output_tokens` includes `reasoning_tokens`.

    `blemish` names the setting whose defect the answer has; empty for a good answer.
    """

    text: str
    finish_reason: str
    output_tokens: int
    reasoning: str = ""
    reasoning_tokens: int = 0
    tool_calls: tuple[ToolCall, ...] = ()
    blemish: str = ""


class Task(Struct, frozen=True):
    """What a text asks for instead of prose: at most one of the first four fields is set.

    `labels` maps each label to its explanation; of `several` labels any number may be given; `listing` is the text in
    which the labels are listed.
    """

    labels: Mapping[str, str] | None = None
    several: Sequence[str] | None = None
    schema: Mapping[str, Any] | None = None
    example: Mapping[str, Any] | None = None
    listing: str = ""


def count_tokens(text: str) -> int:
    """Return the number of tokens of `text`: its bytes in UTF-8 divided by four, rounded up, at least 1."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return max(1, (size + 3) // 4)


def count_input_tokens(messages: Sequence[Message], tools: Sequence[Any] = ()) -> int:
    """Return the tokens of a prompt: those of the contents and of the tools' JSON, 5 for each message, 3 for the
    reply."""
    tokens = _REPLY_OVERHEAD + (count_tokens(msgspec.json.encode(tools).decode()) if tools else 0)
    for message in messages:
        content = text_of(message.get("content"))
        tokens += _MESSAGE_OVERHEAD + (count_tokens(content) if content else 0)
    return tokens


def text_of(content: Any) -> str:
    """Return the text of a message's content: itself, or its text parts joined."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or () if isinstance(part.get("text"), str))


def expected_answer(messages: Sequence[Message] | str, *, seed: int = 0, **asked: Any) -> str:
    """Return the text that a simulator with `seed` answers to these messages, or to one user message.

    `asked` are further arguments of `compose`. For a tool call the text is the JSON of its arguments.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    answer = compose(messages, seed=seed, **asked)
    return answer.tool_calls[0].arguments if answer.tool_calls else answer.text


def compose(
    messages: Sequence[Message],
    *,
    seed: int,
    response_format: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    tool_choice: Any = "auto",
    max_tokens: int | None = None,
    stop: Sequence[str] = (),
    answer_tokens: float = 40,
    thinking_budget: int | None = None,
    cut: bool = False,
    blemish: str = "",
) -> SimulatedAnswer:
    """Return the answer to a prompt.

    `thinking_budget` (tokens) is the most it may reason, None for no reasoning. `cut` ends the answer in its middle
    with finish_reason `length`, as `max_tokens` does if the answer is longer. `blemish` (one of `BLEMISHES`) is the
    defect that an answer gets that is JSON or a label.
    """
    asked = _asked(messages)
    digest = blake2b(
        asked.encode("utf-8", "replace"), digest_size=12, key=seed.to_bytes(8, "big", signed=True)
    ).digest()
    number = int.from_bytes(digest[6:])
    reasoning = ""
    if thinking_budget is not None:
        reasoning = _prose("Considering", digest, number // 64, answer_tokens)[: 4 * thinking_budget]
    reasoning_tokens = count_tokens(reasoning) if reasoning else 0

    called = _called_tool(tools, tool_choice, messages, asked)
    if called is not None:
        arguments = _dump(
            Fitter(called.get("parameters") or {}, asked[:_READ_CHARACTERS], seed).fit(
                called.get("parameters") or {"type": "object"}
            )
        )
        good, arguments = arguments, blemished(blemish, arguments, (), number)
        call = ToolCall(id=f"call_{digest.hex()}", name=called["name"], arguments=arguments)
        tokens = reasoning_tokens + count_tokens(call.name + arguments)
        befallen = blemish if arguments != good else ""
        return SimulatedAnswer("", "tool_calls", tokens, reasoning, reasoning_tokens, (call,), befallen)

    text = _text(messages, asked, response_format, seed, number)
    befallen = ""
    if text is None:
        text = _prose("Answer", digest, number, answer_tokens)
    elif blemish:
        labels = _asked_for(messages, asked[:_READ_CHARACTERS], as_json=False).labels or {}
        good, text = text, blemished(blemish, text, list(labels), number)
        befallen = blemish if text != good else ""
    for mark in stop:
        text = text.split(mark, 1)[0]
    finish_reason = "stop"
    allowed = max(1, count_tokens(text) // 2) if cut else max_tokens
    if cut or (allowed is not None and count_tokens(text) > allowed):
        finish_reason = "length"
        text = text.encode("utf-8", "replace")[: 4 * (allowed or 1)].decode("utf-8", "ignore")
    tokens = reasoning_tokens + count_tokens(text)
    return SimulatedAnswer(text, finish_reason, tokens, reasoning, reasoning_tokens, blemish=befallen)


def _asked(messages: Sequence[Message]) -> str:
    """Return the last user message, or the one before it if the last one only asks to answer again."""
    said = [text_of(message.get("content")) for message in messages if message["role"] == "user"]
    while len(said) > 1 and _AGAIN.search(said[-1][:_READ_CHARACTERS]):
        said.pop()
    return said[-1] if said else ""


def _prose(opening: str, digest: bytes, number: int, median_tokens: float) -> str:
    tokens = max(1, round(median_tokens * 2.718281828 ** _SPREAD[number % 64]))
    start = _PROSE.index(" ", number // 64 % (len(_PROSE) // 2))
    return f"{opening} {digest[:6].hex()}:{_PROSE[start : start + 4 * tokens]}".rstrip()


def _text(
    messages: Sequence[Message], asked: str, response_format: Mapping[str, Any] | None, seed: int, number: int
) -> str | None:
    """Return the structured answer that is asked for, None for prose."""
    form = (response_format or {}).get("type")
    read = asked[:_READ_CHARACTERS]
    if response_format is not None and form == "json_schema":
        schema = response_format["json_schema"]["schema"]
        return _dump(Fitter(schema, read, seed).fit(schema))
    task = _asked_for(messages, read, as_json=form == "json_object")
    if task.schema is not None:
        return _dump(Fitter(task.schema, read, seed).fit(task.schema))
    if task.example is not None:
        return _dump(like_example(task.example, read, seed))
    if task.several is not None:
        return _dump([label for label in task.several if stems(label) & stems(read.replace(task.listing, ""))])
    if task.labels is not None:
        label = choose(task.labels, read.replace(task.listing, ""), number)
        return label if form != "json_object" else _dump({"label": label})
    return _dump({"answer": f"{number:016x}"}) if form == "json_object" else None


def _asked_for(messages: Sequence[Message], read: str, *, as_json: bool) -> Task:
    for message in messages:
        if message["role"] in ("system", "developer"):
            task = _task(text_of(message.get("content"))[:_READ_CHARACTERS], as_json)
            if task is not _NOTHING:
                return task
    return _read_task(read, as_json)


_NOTHING = Task()


@lru_cache(maxsize=64)
def _task(text: str, as_json: bool) -> Task:
    return _read_task(text, as_json)


def _read_task(text: str, as_json: bool) -> Task:
    """Return what a text asks for: JSON that it mentions and shows, else labels that it lists, else `_NOTHING`."""
    lower = text.lower()
    if match := _LIST_OF_LABELS.search(text):
        return Task(several=json.loads(match[1]), listing=match[0])
    if as_json or "json" in lower:
        for shown in _objects(text):
            return Task(schema=shown) if isinstance(shown.get("properties"), dict) else Task(example=shown)
        if match := _KEYS_BESIDE.search(text):
            return Task(example=dict.fromkeys(_split(match[1]), ""))
    # so for most texts, which saves two searches
    if not any(word in lower for word in ("label", "categor", "class", "one of")):
        return _NOTHING
    if match := _LABELS_BELOW.search(text):
        lines = (line.strip().lstrip("-*•").strip() for line in match[1].splitlines())
        pairs = (line.partition(":") for line in lines if line)
        return Task(labels={_bare(name): told for name, _, told in pairs}, listing=match[0])
    for match in _LABELS_BESIDE.finditer(text):
        labels = _split(match[1])
        if len(labels) > 1 and all(len(label.split()) <= 3 for label in labels):
            return Task(labels=dict.fromkeys(labels, ""), listing=match[0])
    return _NOTHING


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the first JSON object of the text that has keys, in a list of at most one."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(20):
        if start < 0:
            break
        try:
            value, _ = decoder.raw_decode(text, start)
        except ValueError:
            value = None
        if value:
            return [value]
        start = text.find("{", start + 1)
    return []


def _split(line: str) -> list[str]:
    return [label for part in re.split(r"[,;|/]|\bor\b|\band\b", line) if (label := _bare(part))]


def _bare(label: str) -> str:
    return label.strip(" \t.\"'`*[]()")


def _called_tool(
    tools: Sequence[Mapping[str, Any]], tool_choice: Any, messages: Sequence[Message], asked: str
) -> Mapping[str, Any] | None:
    """Return the function to call: the required one, or after a user message the one that shares most words with it."""
    if not tools or tool_choice == "none":
        return None
    functions: list[Mapping[str, Any]] = [tool["function"] for tool in tools]
    if isinstance(tool_choice, Mapping):
        wanted = tool_choice["function"]["name"]
        return next((f for f in functions if f["name"] == wanted), None)
    if messages[-1]["role"] != "user":
        return None
    said = stems(asked[:_READ_CHARACTERS])
    scores = [len(stems(f"{f['name']} {f.get('description', '')}") & said) for f in functions]
    best = max(scores)
    return functions[scores.index(best)] if best > 0 or tool_choice == "required" else None


def _dump(value: Any) -> str:
    return msgspec.json.encode(value).decode()
