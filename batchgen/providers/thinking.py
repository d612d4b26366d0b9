"""Thinking that a server has left in the answer's text, between tags: taken out of it.

Reasoning models write `<think>...</think>` before the answer. A server with a parser for it gives the thinking in a
field of its own; one without leaves it in the text, often without the opening tag: the prompt's template had that.
"""

from __future__ import annotations

from msgspec import Struct


class _Tags(Struct, frozen=True):
    opening: str
    closing: str


_TAGS = (
    _Tags("<think>", "</think>"),
    _Tags("<thinking>", "</thinking>"),
    _Tags("<thought>", "</thought>"),
    _Tags("<reasoning>", "</reasoning>"),
    _Tags("<seed:think>", "</seed:think>"),
    _Tags("[THINK]", "[/THINK]"),
    _Tags("◁think▷", "◁/think▷"),
)
_UNOPENED = ("</think>", "</seed:think>", "[/THINK]", "◁/think▷")
"""Ends of thinking that come without a beginning, since templates write that; the others are ordinary XML."""

_BEGINNINGS = ("<thin", "<thou", "<reas")


def may_have_thinking(text: str) -> bool:
    """Whether a text needs a closer look; true for hardly any answer."""
    return any(mark in text for mark in ("think>", "think▷", "THINK]")) or text.lstrip()[:5] in _BEGINNINGS


def split_thinking(text: str | None, reasoning: str | None, end: str | None) -> tuple[str | None, str | None]:
    """Return the answer and the thinking of a message; `reasoning` is what its own field has, `end` how it ended.

    Thinking is only taken from the beginning of the text: between tags, before a closing tag on a line that ends there,
    or all of it if it was cut off (`length`) before its end.
    """
    if text is None or not may_have_thinking(text):
        return text, reasoning
    begun = text.lstrip()
    for tags in _TAGS:
        if begun.startswith(tags.opening):
            thought, closed, rest = begun[len(tags.opening) :].partition(tags.closing)
            if closed:
                return rest.lstrip(), _both(reasoning, thought.strip())
            return ("", _both(reasoning, thought.strip())) if end == "length" else (text, reasoning)
    if reasoning is None:
        for closing in _UNOPENED:
            thought, closed, rest = text.partition(closing)
            if closed and (rest[:1] in ("", "\n", "\r") or thought.endswith("\n")):
                return rest.lstrip(), thought.strip() or None
    return text, reasoning


def _both(reasoning: str | None, thought: str) -> str | None:
    """Return the thinking of the field and of the text together, once where they are the same."""
    if reasoning is None or not thought or thought in reasoning:
        return reasoning or thought or None
    return f"{reasoning}\n{thought}"
