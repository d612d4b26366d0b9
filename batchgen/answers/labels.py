"""Answer text → the job's labels in it.

The rule, in its order; letters' case, how accents are encoded, `_` or `-` for a space between words, and blanks at a
slash never matter, other signs always do:

1. The whole text is a label, after layers of quotes, brackets, Markdown marks, known tags, a chat template's tokens and
   final punctuation are taken off.
2. The text holds one JSON object that gives a label (`label_objects`).
3. A line gives a label in one of the frames of `label_frames`. A marker outweighs lines that hold a label alone.

In steps 2 and 3 what stands beside must be known as well (`may_precede`, `may_follow`): it might take the label back.
A label is never found inside other words, numbers or sentences. Two different labels are ambiguous: the answer is
invalid. Thinking is never searched, and an answer that was cut at its limit counts by step 2 only, if the object is
whole. Where a row may have several labels the answer is a list of them, in JSON or between commas or line breaks. The
time is linear in the text's length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from batchgen.answers.label_frames import (
    LineKind,
    frame,
    label_first,
    last_sentence,
    line_kind,
    may_follow,
    may_precede,
    mentions,
    without_confidence,
)
from batchgen.answers.label_layers import in_answer_tag, layers, tags_apart, without_tokens
from batchgen.answers.label_objects import given_labels, text_of
from batchgen.answers.reading import Found, answer_in, read_object
from batchgen.answers.same_word import composed, word_key
from batchgen.errors import JobError
from batchgen.providers.thinking import may_have_thinking

_SEPARATORS = re.compile(r"[,;、，；|]")
_MOST_FOUND = 1_000  # short answers whose label is remembered
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
            key = word_key(label)
            if not key:
                raise JobError(f"response.labels: {label!r} is empty.")
            if may_have_thinking(label):
                raise JobError(f"response.labels: {label!r} would be cut from an answer with the model's thoughts.")
            if key in self._by_key:
                raise JobError(f"response.labels: {label!r} and {self._by_key[key]!r} cannot be told apart.")
            self._by_key[key] = label
        self._found: dict[str, str | NoLabel] = {}
        self._longest = max(map(len, labels)) + _MORE

    def find(self, text: str, *, complete: bool = True) -> str | NoLabel:
        """Return the label in an answer's text. `complete`: the provider did not cut the answer."""
        if not complete or len(text) > self._longest:
            return self._find(text, complete=complete)
        found = self._found.get(text)  # short answers repeat
        if found is None:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            found = self._found[text] = self._find(text, complete=True)
        return found

    def _find(self, text: str, *, complete: bool) -> str | NoLabel:
        answer = _answer(text)
        if isinstance(answer, NoLabel):
            return answer
        if complete and (whole := self._whole(answer)) is not None:
            return whole
        answer = without_tokens(answer)
        if complete and (whole := self._whole(answer)) is not None:
            return whole
        if "{" in answer and (given := self._given(answer, complete=complete)) is not None:
            return given
        if not complete:
            return NoLabel("the answer was cut off at its limit before the label was complete", cut=True)
        return self._framed(answer)

    def find_several(self, text: str, *, complete: bool = True) -> tuple[str, ...] | NoLabel:
        """Return the labels in an answer's text, each once, in its order; none for an empty JSON list."""
        answer = _answer(text)
        if isinstance(answer, NoLabel):
            return answer
        if self._whole(answer) is None:
            answer = without_tokens(answer)
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
            label = self._by_key.get(word_key(inner))
            if label is not None:
                others = {self._by_key.get(word_key(before.strip() + inner)), self._by_key.get(word_key(inner + after))}
                return label if others <= {label, None} else None
        return None

    def _given(self, text: str, *, complete: bool) -> str | None:
        """Step 2."""
        found = read_object(text, complete=complete)
        if not isinstance(found, Found) or not isinstance(found.value, dict):
            return None
        values = given_labels(found.value) or ()
        labels = {None if (value_text := text_of(value)) is None else self._whole(value_text) for value in values}
        if len(labels) != 1 or not _stands_free(text, "{", "}"):
            return None
        return labels.pop()

    def _framed(self, text: str) -> str | NoLabel:
        """Step 3."""
        lines = tags_apart(text).splitlines()
        marked: dict[str, int] = {}
        alone: dict[str, int] = {}
        other = -1
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            label = self._whole(line) or self._whole(without_confidence(line))
            if label is not None:
                (marked if in_answer_tag(line) else alone)[label] = number
                continue
            label, marker = self._in_line(line)
            if label is not None:
                marked[label] = number
            elif marker and line_kind(line) is not LineKind.SURENESS:
                other = number
        named = marked or alone
        if marked and not alone.keys() <= marked.keys() and (first := self._whole(text.strip().splitlines()[0])):
            named = {first: 0, **marked}  # an answer, and then another text that the model has made up
        if len(named) > 1:
            return NoLabel(f"the answer names several labels: {', '.join(named)}")
        for label, number in named.items():
            before = lines[:number] if marked else [line for line in lines[:number] if self._whole(line) != label]
            last = other < number if marked else other < 0
            if last and may_precede(before, alone=not marked) and may_follow(lines[number + 1 :]):
                return label
        return NoLabel(f"the answer is not just one of the labels {', '.join(self.labels)}")

    def _in_line(self, line: str) -> tuple[str | None, bool]:
        """Return the label that a line gives in a frame, and whether it is a frame, with this label or another text."""
        _, sentence = last_sentence(line, 4 * self._longest)
        marker = False
        for part in dict.fromkeys((line, sentence)):
            if len(part) > 4 * self._longest:
                continue
            for opening, inner, _ in layers(part):
                if opening in ("{", "["):
                    break
                found = frame(inner)
                for rest, named in found.rests:
                    for mention in mentions(rest, named=named):
                        if (label := self._whole(mention)) is not None:
                            return label, True
                for mention in label_first(inner):
                    label = self._whole(mention)
                    if label is not None and self._whole(inner[len(mention) :]) is None:
                        return label, True
                marker = marker or found.named
        return None, marker

    def _separated(self, text: str) -> list[str]:
        """Return the items of a list that is written as text, in brackets or not."""
        tried = [self._split(inner) for _, inner, _ in layers(text)]
        return next((items for items in tried if all(map(self._whole, items))), tried[0])

    def _split(self, text: str) -> list[str]:
        if self._whole(text) is not None:
            return [text]
        items: list[str] = []
        for line in text.splitlines():
            found = frame(line) if len(line) <= self._longest * (len(self.labels) + 1) else None
            rests = [rest for rest, named in found.rests if named] if found is not None else []
            if rests or line_kind(line) is not LineKind.HEADING:
                listed = next((rest for rest in rests if self._known(rest)), rests[-1] if rests else line)
                items += [listed] if self._whole(listed) is not None else _SEPARATORS.split(listed)
        return [item.strip() for item in items if item.strip(" .。")]

    def _known(self, text: str) -> bool:
        return all(self._whole(item) is not None for item in _SEPARATORS.split(text) if item.strip(" .。"))


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


def _answer(text: str) -> str | NoLabel:
    """Return an answer without the model's thinking."""
    answer, ended = answer_in(text)
    if not ended:
        return NoLabel("the model's thinking has no end", cut=True)
    answer = composed(answer).strip().strip("\ufeff\u200b").strip()
    return answer or NoLabel("the answer is empty")


def _stands_free(text: str, opening: str, closing: str) -> bool:
    """Whether what stands round the objects of a text says nothing about them."""
    before, after = text[: text.find(opening)].rstrip("[( \t"), text[text.rfind(closing) + 1 :].lstrip("]) \t")
    lines = before.splitlines()
    if lines and not before.endswith("\n") and not may_precede(["", lines[-1], ""], alone=True):
        return False  # the line in which the object begins
    return may_precede(lines, alone=False) and may_follow(after.splitlines())


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
        values = given_labels(value)
        value = values[0] if values is not None and len(values) == 1 and _stands_free(text, "{", "}") else None
        value = [value] if isinstance(value, str) else value
    return [text_of(item) for item in value] if isinstance(value, list) else None
