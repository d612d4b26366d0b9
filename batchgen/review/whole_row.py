"""One row whole, as the page and a static page show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow.types as pt
from msgspec import Struct

from batchgen.results.corrections import Correction, written
from batchgen.results.rows import ResultRows, carried_columns
from batchgen.results.select import SelectedRow
from batchgen.results.show import RowViewer
from batchgen.results.turns import turns_of
from batchgen.text.arrow_values import shown_rows

_FIGURES = (
    "status", "finish_reason", "error_kind", "http_status", "error_code", "error_message", "attempts", "input_tokens",
    "output_tokens", "cached_tokens", "reasoning_tokens", "cost", "model", "latency_ms", "finished_at", "request_id",
)  # fmt: skip
"""Columns shown as name and value."""


class ShownField(Struct, frozen=True):
    """A field of the answer: what the run said, what a person said (`checked`), and the words that it may be."""

    name: str
    was: str | None
    value: str | None
    checked: bool
    words: list[str] = []


class WholeRow(Struct, frozen=True):
    """All of a row: its own columns as (name, text), the prompt as (role, text), the answer and its fields.

    `turns` are all its answers as (title, text), where it took several.
    """

    row_id: str
    source: list[tuple[str, str | None]]
    prompt: list[tuple[str, str]]
    reasoning: str | None
    answer: str | None
    tool_calls: str | None
    turns: list[tuple[str, str]]
    fields: list[ShownField]
    figures: list[tuple[str, str]]
    history: list[Correction]


class RowReader:
    """Reads rows of a run; `words` are the words that each field may be."""

    def __init__(self, rows: ResultRows, words: Mapping[str, list[str]]) -> None:
        self._rows = rows
        self._words = words
        self._viewer = RowViewer(whole=True)
        self.editable = [*rows.parsed_fields] or ["completion"]

    def read(self, place: int, said: Mapping[str, Mapping[str, Correction]]) -> WholeRow | None:
        """Return the row at a place, None if there is none."""
        run = self._rows.runs[0]
        for _, number, batch in self._rows.at(run, [place]):
            return self._whole(SelectedRow(run, number, batch), said)
        return None

    def _whole(self, row: SelectedRow, said: Mapping[str, Mapping[str, Correction]]) -> WholeRow:
        values = shown_rows(row.batch)[0]
        prompt = self._viewer.prompt(row)
        if isinstance(prompt, str):
            told = [("not at hand", prompt)]
        else:
            told = [(str(message.get("role")), message_text(message)) for message in prompt]
        here = said.get(values["row_id"], {})
        answers = values.get("parsed") or {}
        if self.editable == ["completion"]:
            answers = values
        fields = []
        for name in self.editable:
            was, one = written(answers.get(name)), here.get(name)
            fields.append(
                ShownField(name, was, was if one is None else one.value, one is not None, self._words.get(name, []))
            )
        return WholeRow(
            row_id=values["row_id"],
            source=[(name, written(values[name])) for name in carried_columns(row.batch.schema)],
            prompt=told,
            reasoning=values.get("reasoning"),
            answer=values.get("completion"),
            tool_calls=values.get("tool_calls"),
            turns=turns_of(values),
            fields=fields,
            figures=[(name, str(written(values[name]))) for name in _FIGURES if values.get(name) is not None],
            history=[*here.values()],
        )


def words_of(rows: ResultRows, counted: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return field → the words that it may be: those of the schema, then those that were answered."""
    job = rows.runs[0].job
    properties: Any = (job.schema or {}).get("properties", {}) if job is not None else {}
    labels = getattr(job.response, "labels", None) if job is not None and job.response is not None else None
    found: dict[str, list[str]] = {}
    for name, kind in rows.parsed_fields.items():
        known = properties.get(name, {}) if isinstance(properties, dict) else {}
        words = known.get("enum", []) if isinstance(known, dict) else []
        if name == "label" and labels:
            words = [*labels]
        if not words and pt.is_boolean(kind):
            words = ["true", "false"]
        if not words and pt.is_dictionary(kind):
            words = counted.get(name, [])
        found[name] = [text for text in map(written, words) if text is not None]
    return found


def message_text(message: Mapping[str, Any]) -> str:
    """Return a message of a prompt as text; pieces that are none as JSON."""
    content = message.get("content")
    if not isinstance(content, list):
        return written(content) or ""
    pieces = [piece.get("text") if isinstance(piece, dict) and "text" in piece else piece for piece in content]
    return "\n".join(written(piece) or "" for piece in pieces)
