"""Answer text → the job's labels in it.

The rule, in its order; letters' case, and `_` or `-` for a space between words, never matter, other signs always do:

1. The whole text is a label, after layers of quotes, brackets, Markdown marks and final punctuation are taken off.
2. The text holds one JSON object: its `label`, or its only value, is a label.
3. A line gives a label in one of the frames of `label_frames`. A marker outweighs lines that hold a label alone.

A label is never found inside other words, numbers or sentences. Two different labels are ambiguous: invalid. Thinking
is looked at nowhere, and an answer that was cut at its limit counts by step 2 only, if the object is whole. Where a row
may have several labels the answer is a list of them, in JSON or between commas or line breaks. The time is linear in
the text's length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from batchgen.answers.label_frames import after_frame, is_heading, is_reply, layers
from batchgen.answers.reading import Found, read_object
from batchgen.errors import JobError
from batchgen.providers.thinking import may_have_thinking, outside_thinking

GAP = re.compile(r"(?<=[^\W_])[\s_-]++(?=[^\W_])")
_BLANKS = re.compile(r"\s++")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-") | {0xFE0F: None}
_SEPARATORS = re.compile(r"[,;、，；|]")
_MORE = 80  # characters round a label that layers may take off


class NoLabel(Struct, frozen=True):
    """Why an answer has no one label."""

    message: str
    cut: bool = False


class LabelSet:
    """The labels of a job, made ready to be found in answers."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Raise `JobError` for labels that cannot be told apart."""
        if len(labels) < 2:
            raise JobError("response.labels needs at least two labels.")
        self.labels = tuple(labels)
        self._by_key: dict[str, str] = {}
        for label in labels:
            key = _key(label)
            if not key:
                raise JobError(f"response.labels: {label!r} is empty.")
            if may_have_thinking(label):
                raise JobError(f"response.labels: {label!r} would be cut from an answer with the model's thoughts.")
            if key in self._by_key:
                raise JobError(f"response.labels: {label!r} and {self._by_key[key]!r} cannot be told apart.")
            self._by_key[key] = label
        self._longest = max(map(len, labels)) + _MORE

    def find(self, text: str, *, complete: bool = True) -> str | NoLabel:
        """Return the label in an answer's text. `complete`: the provider did not cut the answer."""
        answer = _answer(text)
        if isinstance(answer, NoLabel):
            return answer
        if complete and (whole := self._whole(answer)) is not None:
            return whole
        if "{" in answer:
            value = _labelled_value(read_object(answer, complete=complete), "label")
            if value is not None and (inner := self._whole(value)) is not None:
                return inner
        if not complete:
            return NoLabel("the answer was cut off at its limit before the label was complete", cut=True)
        return self._framed(answer)

    def find_several(self, text: str, *, complete: bool = True) -> tuple[str, ...] | NoLabel:
        """Return the labels in an answer's text, each once, in its order; none for an empty JSON list."""
        answer = _answer(text)
        if isinstance(answer, NoLabel):
            return answer
        items = _listed(answer, complete=complete)
        if items is None and not complete:
            return NoLabel("the answer was cut off at its limit before the list of labels was complete", cut=True)
        found: dict[str, None] = {}
        for item in self._separated(answer) if items is None else items:
            label = None if item is None else self._whole(item)
            if label is None:
                named = "a value that is no text" if item is None else repr(item[:100])
                return NoLabel(f"{named} is none of the labels {', '.join(self.labels)}")
            found[label] = None
        return tuple(found)

    def _whole(self, text: str) -> str | None:
        """Return the label that a text is, after layers are taken off; None where a layer may be a label's own sign."""
        text = text.strip()
        if len(text) > self._longest:
            return None
        for before, inner, after in layers(text):
            label = self._by_key.get(_key(inner))
            if label is not None:
                others = {self._by_key.get(_key(before.strip() + inner)), self._by_key.get(_key(inner + after))}
                return label if others <= {label, None} else None
        return None

    def _framed(self, text: str) -> str | NoLabel:
        """Step 3."""
        marked: dict[str, None] = {}
        alone: dict[str, None] = {}
        other_marker = reply = False
        for line in text.splitlines():
            if not line.strip():
                continue
            label = self._whole(line)
            if label is not None:
                alone[label] = None
                continue
            rest = after_frame(line) if len(line) <= 4 * self._longest else None
            if rest is None:
                reply = reply or is_reply(line)
            elif (label := self._whole(rest)) is not None:
                marked[label] = None
            elif rest:
                other_marker = True
        named = list(marked or alone)
        if len(named) > 1:
            return NoLabel(f"the answer names several labels: {', '.join(named)}")
        if named and (marked or not (other_marker or reply)):
            return named[0]
        return NoLabel(f"the answer is not just one of the labels {', '.join(self.labels)}")

    def _separated(self, text: str) -> list[str]:
        """Return the items of a list that is written as text, in brackets or not."""
        tried = [self._split(inner) for _, inner, _ in layers(text)]
        return next((items for items in tried if all(map(self._whole, items))), tried[0])

    def _split(self, text: str) -> list[str]:
        if self._whole(text) is not None:
            return [text]
        items: list[str] = []
        for line in text.splitlines():
            rest = after_frame(line) if len(line) <= self._longest * (len(self.labels) + 1) else None
            listed = line if rest is None else rest
            if rest is not None or not is_heading(line):
                items += [listed] if self._whole(listed) is not None else _SEPARATORS.split(listed)
        return [item.strip() for item in items if item.strip(" .。")]


def labels_schema(labels: Sequence[str], *, multiple: bool = False) -> dict[str, Any]:
    """Return the schema of an answer as JSON, for the means that need one."""
    one = {"type": "string", "enum": list(labels)}
    name, value = ("labels", {"type": "array", "items": one}) if multiple else ("label", one)
    return {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}


def labels_instruction(labels: Sequence[str], *, multiple: bool = False) -> str:
    """Return the text that asks for a label, or for a list of them."""
    if not multiple:
        return f"Answer with exactly one of these labels and nothing else: {', '.join(labels)}"
    return (
        "Answer with a JSON list of those of these labels that apply, each at most once, and nothing else "
        f"([] if none applies): {json.dumps(list(labels), ensure_ascii=False)}"
    )


def _key(text: str) -> str:
    """Return the form in which spellings of one label are the same text."""
    text = text.translate(_DASHES).casefold().strip()
    return _BLANKS.sub(" ", GAP.sub(" ", text))


def _answer(text: str) -> str | NoLabel:
    """Return an answer without the model's thinking."""
    answer, ended = outside_thinking(text)
    if not ended:
        return NoLabel("the model's thinking has no end", cut=True)
    answer = answer.strip()
    return answer or NoLabel("the answer is empty")


def _labelled_value(found: Any, name: str) -> str | None:
    """Return what a JSON object gives as label: under its name, or as its only value."""
    if not isinstance(found, Found) or not isinstance(found.value, dict):
        return None
    values = list(found.value.values())
    value = found.value.get(name, values[0] if len(values) == 1 else None)
    return _text_of(value[0] if isinstance(value, list) and len(value) == 1 else value)


def _text_of(value: Any) -> str | None:
    """Return a text, number or boolean as text."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else None


def _listed(text: str, *, complete: bool) -> list[str | None] | None:
    """Return the items of a JSON list in the text, or of an object's `labels` or only value; None if there is none."""
    if not {"[", "{"} & set(text):
        return None
    found = read_object(text, complete=complete, lists=True)
    if not isinstance(found, Found):
        if not complete or "{" in text or not 0 <= text.find("[") < text.rfind("]"):
            return None
        found = read_object(text[text.find("[") : text.rfind("]") + 1], lists=True)
    value = found.value if isinstance(found, Found) else None
    if isinstance(value, dict):
        values = list(value.values())
        value = value.get("labels", value.get("label", values[0] if len(values) == 1 else None))
        value = [value] if isinstance(value, str) else value
    return [_text_of(item) for item in value] if isinstance(value, list) else None
