"""A row as a person reads it: its input columns, the prompt as it was sent, the answer, its fields, tokens and cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from batchgen.errors import UsageError
from batchgen.prompts.messages import as_messages
from batchgen.prompts.prompt import PromptTemplate
from batchgen.results.cells import jsonable, text_of
from batchgen.results.committed import Committed
from batchgen.results.prompt_values import PromptValues
from batchgen.results.rows import carried_columns
from batchgen.results.select import SelectedRow
from batchgen.results.turns import turns_of
from batchgen.text.arrow_values import shown_rows
from batchgen.text.figures import latency, money, plain
from batchgen.text.storable import json_bytes
from batchgen.text.terminal import harmless
from batchgen.values import Failure, Message

MOST_LETTERS = 2_000
"""Longest text that is shown whole unless it is asked for."""

_MOST_PATH = 4_096
_INDENT = "  "
_TOKENS = ("input", "output", "total", "cached", "reasoning")


class RowViewer:
    """Renders rows of runs; templates are compiled once for each."""

    def __init__(self, *, whole: bool = False) -> None:
        """`whole`: no text is cut."""
        self._most = None if whole else MOST_LETTERS
        self._inputs = PromptValues()
        self._templates: dict[Committed, PromptTemplate | str] = {}

    def as_text(self, row: SelectedRow) -> str:
        """Return the row as lines that are safe on a terminal."""
        values = shown_rows(row.batch)[0]
        kind = f"{values['status']}, simulated" if _is_simulated(row.run) else values["status"]
        lines = [f"── row {plain(values['row_id'])} ({kind}) in {plain(str(row.run.directory), _MOST_PATH)} ──"]
        lines += self._table("input", {name: values[name] for name in carried_columns(row.batch.schema)})
        prompt = self.prompt(row)
        if isinstance(prompt, str):
            lines += ["prompt", *self._indented(f"({prompt})")]
        else:
            for message in prompt:
                lines += [f"prompt, {plain(str(message.get('role')))}", *self._indented(_content(message))]
        for name, title in (("reasoning", "thinking"), ("completion", "answer"), ("tool_calls", "tool calls")):
            if values.get(name) is not None:
                lines += [title, *self._indented(values[name])]
        if values.get("parsed") is not None:
            lines += self._table("fields", values["parsed"])
        turns = turns_of(values)
        if self._most is None:
            lines += [line for title, text in turns for line in (title, *self._indented(text))]
        elif turns:
            lines.append("this row took several answers: --full shows them all")
        if values["error_kind"] is not None:
            lines += ["error", *self._indented(_error(values))]
        lines.append(_figures(values, row.run))
        return harmless("\n".join(lines))

    def as_json(self, row: SelectedRow) -> bytes:
        """Return the row as one JSON object: its columns, the directory, and the prompt where it can be rendered."""
        prompt = self.prompt(row)
        told = {"directory": str(row.run.directory), **shown_rows(row.batch)[0]}
        return json_bytes(jsonable({**told, "prompt": None if isinstance(prompt, str) else prompt}))

    def prompt(self, row: SelectedRow) -> list[Message] | str:
        """Return the messages of the row's first request, or why they cannot be rendered again."""
        template = self._template(row.run)
        if isinstance(template, str):
            return template
        try:
            prompt = template.render(self._inputs.values(row, sorted(template.columns)))
        except UsageError as error:
            return str(error)
        return prompt.message if isinstance(prompt, Failure) else as_messages(prompt)

    def _template(self, run: Committed) -> PromptTemplate | str:
        if run not in self._templates:
            self._templates[run] = "job.json is missing" if run.job is None else run.job.template()
        return self._templates[run]

    def _table(self, title: str, values: Mapping[str, Any]) -> Iterator[str]:
        """Yield names and values; a value of several lines stands below its name."""
        if not values:
            return
        yield title
        width = min(24, max(map(len, values)))
        for name, value in ((plain(name), value) for name, value in values.items()):
            text = self._cut(_as_text(value))
            if "\n" in text:
                yield f"{_INDENT}{name}"
                yield from (f"{_INDENT * 2}{line}" for line in text.splitlines())
            else:
                yield f"{_INDENT}{name:<{width}}  {text}"

    def _indented(self, text: str) -> list[str]:
        return [f"{_INDENT}{line}" for line in self._cut(text).splitlines()] or [f"{_INDENT}(empty)"]

    def _cut(self, text: str) -> str:
        if self._most is None or len(text) <= self._most:
            return text
        return f"{text[: self._most]}… ({len(text) - self._most:,} more letters: --full)"


def _is_simulated(run: Committed) -> bool:
    return run.state is not None and run.state.simulated


def _content(message: Message) -> str:
    """Return a message's text; pieces that are none, and calls, as JSON."""
    content = message.get("content")
    if isinstance(content, list):
        pieces = [piece.get("text") if isinstance(piece, dict) else None for piece in content]
        content = "\n".join(
            text if isinstance(text, str) else _as_text(piece) for text, piece in zip(pieces, content, strict=True)
        )
    others = {name: value for name, value in message.items() if name not in ("role", "content")}
    return "\n".join([*([str(content)] if content is not None else []), *([_as_text(others)] if others else [])])


def _as_text(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else text_of(value)


def _error(values: Mapping[str, Any]) -> str:
    told = [values["error_kind"]]
    if values["http_status"] is not None and values["http_status"] != 200:
        told.append(f"HTTP {values['http_status']}")
    if values["error_code"] is not None:
        told.append(values["error_code"])
    return f"{', '.join(told)}: {values['error_message'] or 'no message'}"


def _figures(values: Mapping[str, Any], run: Committed) -> str:
    """Return the line of tokens, cost and time."""
    tokens = [(values[f"{name}_tokens"], name) for name in _TOKENS]
    told = [f"{count:,} {name}" for count, name in tokens if count is not None and (count or name in _TOKENS[:2])]
    currency = (run.state.summary.currency if run.state is not None else None) or ""
    parts = [f"tokens {', '.join(told) or 'unknown'}"]
    parts.append(f"cost {'unknown' if values['cost'] is None else money(values['cost'], currency)}")
    if values["finish_reason"] not in (None, "stop"):
        parts.append(f"ended by {values['finish_reason']}")
    if values["latency_ms"] is not None:
        parts.append(latency(values["latency_ms"]))
    parts.append(f"{values['attempts']:,} request{'' if values['attempts'] == 1 else 's'}")
    if values["model"] is not None:
        parts.append(values["model"])
    moment = values["finished_at"]
    if isinstance(moment, datetime):
        parts.append(moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    return " · ".join(parts)
