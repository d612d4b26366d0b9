"""Thinking that a server has left in the answer's text: taken out of it.

Reasoning models write their thinking between marks before the answer. A server with a parser for it gives the thinking
in a field of its own; one without leaves it in the text, often without the opening mark: the prompt's template had
that. The marks are those that https://docs.vllm.ai/en/latest/features/reasoning_outputs.html and llama.cpp know, and
the channels of https://github.com/openai/harmony/blob/main/docs/format.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from msgspec import Struct


class _Marks(Struct, frozen=True):
    """The marks round one thinking.

    `special`: made for thinking, so that one of the two shows it alone; the others are words of ordinary XML. `asked`:
    a prompt may have asked for it, so that it stays in the text of an answer; only readers pass over it.
    """

    opening: str
    closing: str
    special: bool = True
    asked: bool = False


_NAMES = ("think", "seed:think", "mm:think", "longcat_think", "antthinking")
_WORDS = (
    *("thinking", "thought", "thoughts", "reasoning", "reflection", "scratchpad", "thought_process", "cot", "ponder"),
    *("pondering", "inner_thoughts", "inner_monologue", "internal_monologue", "chain_of_thought"),
)
_ASKED = ("analysis", "deliberation", "rationale", "brainstorm", "thinking_process", "reasoning_process")
_TOKENS = (
    _Marks("[think]", "[/think]"),
    _Marks("◁think▷", "◁/think▷"),
    _Marks("<|start_thinking|>", "<|end_thinking|>"),
    _Marks("<|begin_of_thought|>", "<|end_of_thought|>"),
    _Marks("<|inner_prefix|>", "<|inner_suffix|>"),
    _Marks("<|channel>", "<channel|>"),
    _Marks("<|think|>", "<|/think|>"),
    _Marks("[unused16]", "[unused17]"),
    _Marks("<unused94>", "<unused95>"),
)
_MARKS = (
    *_TOKENS,
    *(_Marks(f"<{name}>", f"</{name}>") for name in _NAMES),
    *(_Marks(f"<{name}>", f"</{name}>", special=False) for name in _WORDS),
    *(_Marks(f"<{name}>", f"</{name}>", special=False, asked=True) for name in _ASKED),
)
_OPENED = {marks.opening: marks for marks in _MARKS}
_CLOSED = {marks.closing: marks for marks in _MARKS}


def _beginning_with(first: str) -> str:
    tokens = [mark for marks in _TOKENS for mark in (marks.opening, marks.closing) if mark[0] == first]
    others = [re.escape(mark[1:]) for mark in tokens]
    if first == "<":  # with blanks or attributes too
        names = "|".join((*_NAMES, *_WORDS, *_ASKED))
        others.append(rf"\s{{0,3}}(?P<slash>/?)\s{{0,3}}(?P<name>{names})(?:\s++\w++=[^<>]{{0,60}}+)?\s{{0,3}}>")
    return f"{re.escape(first)}(?i:{'|'.join(others)})"


_MARK = re.compile("|".join(map(_beginning_with, "<[◁")))
"""Each first letter apart: a search that may skip to these takes a tenth of the time."""

_CHANNEL = re.compile(r"<\|channel\|>\s*+(\w*+)[^<]*+(?:<\|constrain\|>[^<]*+)?<\|message\|>")
_END_OF_CHANNEL = re.compile(r"<\|(?:end|return|call|start)\|>")
_ANSWER = re.compile(
    r"\s*+(?:<(answer|response)>(?P<tagged>.*)</\1>"
    r"|<\|(?:START_RESPONSE|begin_of_solution)\|>(?P<marked>.*?)(?:<\|(?:END_RESPONSE|end_of_solution)\|>)?)\s*",
    re.DOTALL,
)
"""What some models write round the answer that follows their thinking."""

_PROCESS = re.compile(r"\s*+here(?: is|'s|’s) my thought process:", re.IGNORECASE)
_RESPONSE = re.compile(r"here(?: is|'s|’s) my response:", re.IGNORECASE)
_MOST_BLOCKS = 20  # one after the other at the beginning of a text
_QUOTES = ("`", '"', "'", "“", "‘")


def _written(match: re.Match[str]) -> str:
    """Return a mark in the form of the tables."""
    return f"<{match['slash']}{match['name'].lower()}>" if match["name"] else match[0].lower()


def may_have_thinking(text: str) -> bool:
    """Whether a text needs a closer look; true for hardly any answer, so single letters are looked for first."""
    first = text[:1]
    return (
        ("<" in text and (_MARK.search(text) is not None or "<|channel|>" in text))
        or ("]" in text and ("THINK]" in text or "[unused16]" in text))
        or "▷" in text
        or (text.startswith("analysis") and "assistantfinal" in text)
        or ((first in "hH" or first.isspace()) and _PROCESS.match(text) is not None)
    )


def split_thinking(text: str | None, reasoning: str | None, end: str | None) -> tuple[str | None, str | None]:
    """Return the answer and the thinking of a message; `reasoning` is what its own field has, `end` how it ended.

    Thinking is only taken from the beginning of the text: between marks, before a closing mark that was never opened,
    or all of the text if its end never comes (a word of XML shows that only in an answer that was cut). The answer is
    then empty: what thinking tries out is none.
    """
    if text is None or not may_have_thinking(text) or _is_json(text):
        return text, reasoning
    found = _channels(text) or _process(text)
    if found is None:
        thoughts: list[str] = []
        rest = text
        while len(thoughts) < _MOST_BLOCKS:
            block = _first_block(rest, end, open_only=bool(thoughts) or reasoning is not None)
            if block is None:
                break
            thought, rest = block
            thoughts.append(thought.strip())
        if not thoughts:
            return text, reasoning
        found = rest, "\n".join(filter(None, thoughts))
    answer, thought = found
    wrapped = _ANSWER.fullmatch(answer)
    if wrapped is not None:
        answer = wrapped["tagged"] if wrapped["tagged"] is not None else wrapped["marked"]
    return answer.strip() if wrapped else answer.lstrip(), _both(reasoning, thought.strip())


def outside_thinking(text: str, value_round: Callable[[str, int, int], int] | None = None) -> tuple[str, bool]:
    """Return what of a text is no thinking, wherever that stands, and whether the last thinking has an end.

    For readers that look for an answer in prose: what a model tries out while thinking is none. `value_round` returns
    the end of a value that begins between two places and goes on behind the second, where a mark stands: a mark in a
    value is text. It returns the second place where there is no such value.
    """
    if not may_have_thinking(text):
        return text, True
    channels = _channels(text) or _process(text)
    if channels is not None:
        text = channels[0]
    pieces: list[str] = []
    start = seen = 0
    within: _Marks | None = None
    for match in _MARK.finditer(text):
        mark = _written(match)
        if within is not None:
            if _CLOSED.get(mark) is within:
                within, start = None, match.end()
                seen = start
        elif match.start() >= seen:
            seen = match.start() if value_round is None else value_round(text, seen, match.start())
            if seen > match.start():
                continue
            if mark in _OPENED:
                pieces.append(text[start : match.start()])
                within = _OPENED[mark]
            elif _CLOSED[mark].special:
                pieces.clear()
                start = match.end()
    if within is None:
        pieces.append(text[start:])
    return "".join(pieces), within is None


def _is_json(text: str) -> bool:
    """Whether a text is one JSON object or list: marks in its values are the values' own."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        return isinstance(msgspec.json.decode(text), dict | list)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def _first_block(text: str, cut: str | None, *, open_only: bool) -> tuple[str, str] | None:
    """Return the thinking at the beginning of a text, and the rest; None if it begins with none.

    `open_only`: an end without a beginning is none, since the thinking has been found elsewhere.
    """
    begun = text.lstrip()
    first = _MARK.search(begun)
    if first is None:
        return None
    marks = _OPENED.get(_written(first))
    place = first.end()
    if marks is None:
        marks, place = _CLOSED[_written(first)], 0
        in_value = begun.startswith(("{", "[", "```")) and not begun[first.end() :].lstrip().startswith(
            ("{", "[", "```")
        )
        if open_only or not marks.special or in_value or _is_mention(begun, first):
            return None
    elif first.start() or marks.asked:
        return None
    end: re.Match[str] | None = None
    for match in _MARK.finditer(begun, place):  # thinking that speaks of its own closing mark goes on behind it
        closes = _written(match) == marks.closing
        if end is not None and (not closes or _is_mention(begun, match)):
            break
        end = match if closes else end
    if end is not None:
        return begun[place : end.start()], begun[end.end() :]
    return (begun[place:], "") if marks.special or cut == "length" else None


def _is_mention(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence only speaks of a closing mark: in quotes, or with blanks on both sides."""
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
    return before in _QUOTES or (before in (" ", "\t") and after in (" ", "\t"))


def _channels(text: str) -> tuple[str, str] | None:
    """Return answer and thinking of a text in gpt-oss's channels, also where the marks themselves have been lost."""
    starts = list(_CHANNEL.finditer(text))
    if not starts:
        if text.startswith("analysis") and "assistantfinal" in text:
            thought, _, answer = text.removeprefix("analysis").rpartition("assistantfinal")
            return answer, thought
        return None
    answers: list[str] = []
    thoughts = [_END_OF_CHANNEL.split(text[: starts[0].start()], maxsplit=1)[0]]
    for place, start in enumerate(starts):
        stop = starts[place + 1].start() if place + 1 < len(starts) else len(text)
        body = _END_OF_CHANNEL.split(text[start.end() : stop], maxsplit=1)[0]
        (answers if start[1] == "final" else thoughts).append(body)
    return "".join(answers), "\n".join(thought.strip() for thought in thoughts if thought.strip())


def _process(text: str) -> tuple[str, str] | None:
    """Return answer and thinking of a text with Granite's two headings."""
    heading = _PROCESS.match(text)
    response = _RESPONSE.search(text, heading.end()) if heading else None
    if heading is None or response is None:
        return None
    return text[response.end() :], text[heading.end() : response.start()]


def _both(reasoning: str | None, thought: str) -> str | None:
    """Return the thinking of the field and of the text together, once where they are the same."""
    if reasoning is None or not thought or thought in reasoning:
        return reasoning or thought or None
    return f"{reasoning}\n{thought}"
