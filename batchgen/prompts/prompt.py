"""Renders the prompt of a row. Values of a row are data: they are never compiled or expanded as templates.

Templates are Jinja2, sandboxed and without escaping; an undefined name is an error. Other differences from Jinja2:

- A null value that would enter the text fails the row, with the column's name, also within filters and `~`. It can be
  tested for: `{% if x is none %}`, `{% if x %}`, `{{ x | default("-") }}`.
- `{{ row["Customer Name"] }}` gives a column whose name is not an identifier.
- Lists and objects are rendered as JSON with non-ASCII characters; `tojson` does not escape for HTML.
- `{{ order.items }}` is the field `items` rather than the method of dict.
- Templates can include and import nothing.

As in Jinja2 the last line break of a template is dropped. The length of the text and the number of steps are bounded
(`template_bounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.attachments.cells import AttachmentError
from batchgen.errors import InputError, JobError
from batchgen.prompts.messages import read_history, read_messages, without_nulls
from batchgen.prompts.template import PromptError, Template
from batchgen.text.columns import in_template, missing_column
from batchgen.values import Attachment, Failure, FailureKind, Message, Prompt, Row, Verdict

_TEXT_PARAMETERS = frozenset({"stop", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
"""Parameters whose value is text, even if it looks like a number."""


class PromptSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[prompt]` of a job: templates (inline or from UTF-8 files), or the column that holds the conversation.

    One of `user`, `user_file`, `messages` or `prompt` is needed. `prompt` with `history` (a column of
    {user, bot} lists) is the older form that only DashScope's native API takes. `examples` is a table with the
    prompt's columns and the wanted answer (column `examples_answer`, by default "answer"), put before every row as
    turns. `drop_last_answer` leaves off an answer that ends a conversation of `messages`.
    """

    system: str | None = None
    user: str | None = None
    system_file: str | None = None
    user_file: str | None = None
    messages: str | None = None
    prompt: str | None = None
    history: str | None = None
    examples: str | None = None
    examples_answer: str | None = None
    drop_last_answer: bool = False


class PromptTemplate:
    """Renders the prompts of a job. It is compiled once, and `render` keeps no state."""

    def __init__(
        self,
        settings: PromptSettings,
        parameter_columns: Mapping[str, str] | None = None,
        model_column: str | None = None,
    ) -> None:
        """Compile the templates. `parameter_columns` maps parameters to the columns that give them for each row.

        Raises `JobError`, with the key and the template's line, for syntax errors, contradictory keys and files that
        cannot be read.
        """
        _check_keys(settings)
        self._settings = settings
        self._parameters = dict(parameter_columns or {})
        self._model = model_column
        self._system = _template("system", settings.system, settings.system_file)
        self._user = _template("user", settings.user, settings.user_file)
        self._prompt = _template("prompt", settings.prompt, None)
        constant = None if self._system is None else self._system.constant
        self._leading: list[Message] = [] if constant is None else [{"role": "system", "content": constant}]
        # Nearly all jobs have one template and at most a constant text before it, and are rendered without detours.
        others = self._parameters or model_column is not None or settings.messages is not None
        has_one = not others and (self._system is None or constant is not None)
        self._only_user = self._user if has_one else None
        self._finish: Callable[[Prompt], Prompt] | None = None
        self._attach: tuple[str, Callable[[Any], tuple[Attachment, ...]]] | None = None
        self._asked: dict[str, str] = {}  # column → the key that asks for it
        self._literals: dict[str, str] = {}  # what a template prints, that may be a column's name → the template's key
        for template in (self._system, self._user, self._prompt):
            if template is not None:
                self._asked |= dict.fromkeys(sorted(template.columns), template.key)
                self._literals |= dict.fromkeys(sorted(template.literals), template.key)
        for key, column in (("prompt.messages", settings.messages), ("prompt.history", settings.history)):
            if column is not None:
                self._asked[column] = key
        self._asked |= {column: f"model.parameters.{name}" for name, column in self._parameters.items()}
        if model_column is not None:
            self._asked[model_column] = "model.name"
        self.columns = frozenset(self._asked)

    def check_columns(self, available: Collection[str], where: str) -> None:
        """Raise `InputError` if the input `where` lacks a column; the message names the job key and the nearest
        column."""
        for column, key in self._asked.items():
            if column not in available:
                raise InputError(f'{where}: {key} needs column "{column}", but {missing_column(column, available)}')
        for word, key in self._literals.items():
            if word in available:
                raise InputError(
                    f'{where}: {{{{ {word} }}}} in {key} is no column, but the text "{word}" in every row: write '
                    f"{{{{ {in_template(word)} }}}} for the column of that name."
                )

    def fingerprint_parts(self) -> dict[str, str]:
        """Return all that decides the prompt of a row, by job key. Templates are given as text, also those from
        files."""
        templates = {"prompt.system": self._system, "prompt.user": self._user, "prompt.prompt": self._prompt}
        parts = {key: template.source for key, template in templates.items() if template is not None}
        parts |= {f"model.parameters.{name}": f"column {column}" for name, column in sorted(self._parameters.items())}
        columns = {
            "prompt.messages": self._settings.messages,
            "prompt.history": self._settings.history,
            "model.name": self._model,
        }
        if self._settings.drop_last_answer:
            parts["prompt.drop_last_answer"] = "true"
        return parts | {key: f"column {column}" for key, column in columns.items() if column is not None}

    def attach_with(self, column: str, read: Callable[[Any], tuple[Attachment, ...]]) -> None:
        """Give every prompt the files that `read` finds in a column; it raises `AttachmentError`."""
        self._attach = column, read
        self._asked[column] = "attach.column"
        self.columns = frozenset(self._asked)

    def finish_with(self, finish: Callable[[Prompt], Prompt]) -> None:
        """Pass every prompt through `finish` from now on, which adds the instruction and the examples."""
        self._finish = finish

    def render(self, values: Mapping[str, Any]) -> Prompt | Failure:
        """Return the prompt of a row that has at least `columns`, or a failure of kind `prompt` with the reason."""
        exact: Collection[str] = ()
        if type(values) is Row:
            if values.problem is not None:
                return Failure(FailureKind.PROMPT, Verdict.FAIL, values.problem)
            exact = values.exact
        try:
            if self._only_user is None:
                prompt = self._prompt_of(values, exact)
            else:
                prompt = Prompt([*self._leading, {"role": "user", "content": _filled(self._only_user, values)}])
        except PromptError as error:
            return Failure(FailureKind.PROMPT, Verdict.FAIL, str(error))
        if self._attach is not None:
            column, read = self._attach
            try:
                prompt = msgspec.structs.replace(prompt, attached=read(values[column]))
            except AttachmentError as error:
                return Failure(FailureKind.PROMPT, Verdict.FAIL, f'column "{column}": {error}')
        return prompt if self._finish is None else self._finish(prompt)

    @property
    def ends_in_texts(self) -> bool:
        """Whether the prompts that `asking` makes are plain messages with the row's text of the user at the end."""
        return self._finish is None

    def texts(self, table: pa.Table) -> list[str] | None:
        """Return the texts that `asking` makes the rows' prompts of, which takes half the time of rendering them one by
        one; None where only `render` can tell.

        The table has its values as prompts see them.
        """
        if self._only_user is None or self._attach is not None:
            return None
        found = self._only_user.texts(table)
        if found is None or (not self._only_user.has_fixed_text and any(map(_is_blank, found))):
            return None
        return found

    def asking(self, text: str) -> Prompt:
        """Return the prompt with one of the `texts`."""
        prompt = Prompt([*self._leading, {"role": "user", "content": text}])
        return prompt if self._finish is None else self._finish(prompt)

    def row_hashes(self, table: pa.RecordBatch) -> list[int] | None:
        """Return a hash for each row, the same where the prompts are, in a tenth of the time of rendering them; None
        where that cannot be told from the columns alone. It is of this process only."""
        if self._parameters or self._model is not None or self._settings.messages or self._settings.history:
            return None
        if self._system is not None and self._system.columns and not self._system.has_fixed_text:
            return None  # a blank one is left off, whatever it is made of
        templates = [each for each in (self._system, self._user, self._prompt) if each is not None and each.columns]
        texts = [each.differing(table) for each in templates]
        if not texts or any(text is None for text in texts):
            return None
        values = [text.to_pylist() for text in texts if text is not None]
        return list(map(hash, values[0] if len(values) == 1 else zip(*values, strict=True)))

    def _prompt_of(self, values: Mapping[str, Any], exact: Collection[str]) -> Prompt:
        model = None if self._model is None else _model(values[self._model], self._model)
        parameters = self._row_parameters(values, exact) if self._parameters else None
        if self._prompt is not None:
            column = self._settings.history
            return Prompt(
                text=_filled(self._prompt, values),
                history=() if column is None else read_history(values[column], column),
                model=model,
                parameters=parameters,
            )
        return Prompt(messages=self._messages(values, exact), model=model, parameters=parameters)

    def _row_parameters(self, values: Mapping[str, Any], exact: Collection[str]) -> dict[str, Any] | None:
        parameters = {
            name: _parameter(name, values[column], column in exact) for name, column in self._parameters.items()
        }
        return {name: value for name, value in parameters.items() if value is not None} or None

    def _messages(self, values: Mapping[str, Any], exact: Collection[str]) -> list[Message]:
        column = self._settings.messages
        messages = (
            []
            if column is None
            else read_messages(
                values[column], column, exact=column in exact, drop_last_answer=self._settings.drop_last_answer
            )
        )
        if self._system is not None and not (messages and messages[0]["role"] in ("system", "developer")):
            if self._leading:
                messages.insert(0, self._leading[0])
            elif not _is_blank(system := self._system.render(values)):
                messages.insert(0, {"role": "system", "content": system})
        if self._user is not None:
            messages.append({"role": "user", "content": _filled(self._user, values)})
        return messages


def _check_keys(settings: PromptSettings) -> None:
    for key in ("system", "user"):
        if getattr(settings, key) is not None and getattr(settings, f"{key}_file") is not None:
            raise JobError(f"prompt.{key} and prompt.{key}_file exclude each other: keep one.")
    forms = [key for key in ("user", "user_file", "messages", "prompt") if getattr(settings, key) is not None]
    if not forms:
        raise JobError("[prompt] says nothing to ask: give user, user_file, messages or prompt.")
    if len(forms) > 1:
        raise JobError(f"prompt.{forms[0]} and prompt.{forms[1]} exclude each other: keep one.")
    if settings.history is not None and settings.prompt is None:
        raise JobError("prompt.history goes with prompt.prompt only; with chat messages, use prompt.messages.")
    if settings.drop_last_answer and settings.messages is None:
        raise JobError("prompt.drop_last_answer goes with prompt.messages only.")
    if settings.examples_answer is not None and settings.examples is None:
        raise JobError("prompt.examples_answer goes with prompt.examples only: name the table.")
    if settings.prompt is not None and (settings.system is not None or settings.system_file is not None):
        raise JobError("prompt.prompt has no system message: use prompt.user with prompt.system, or one text.")


def _template(key: str, text: str | None, path: str | None) -> Template | None:
    key = f"prompt.{key}"
    if path is not None:
        key = f"{key}_file ({path})"
        try:
            text = Path(path).read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise JobError(f"{key}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error
        except OSError as error:
            raise JobError(f"{key} cannot be read: {error.strerror}.") from error
    if text is None:
        return None
    if _is_blank(text):
        raise JobError(f"{key} is empty.")
    return Template(key, text)


def _filled(template: Template, values: Mapping[str, Any]) -> str:
    text = template.render(values)
    if not text or text.isspace():
        raise PromptError(f"{template.key}: the prompt is empty")
    return text


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def _model(value: Any, column: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise PromptError(f'column "{column}" gives the model and holds no text but {value!r}')
    return value or None


def _parameter(name: str, value: Any, exact: bool) -> Any:
    """Return the value of a parameter from a column; None if it is null or empty. Nulls within a struct are removed.

    A CSV cell is always text: text that is a JSON number, true, false, list or object is decoded. Parameters whose
    value is text are decoded only if they hold a list or an object.
    """
    if not isinstance(value, str):
        return value if exact else without_nulls(value)
    try:
        found = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value or None
    if isinstance(found, str) or (name in _TEXT_PARAMETERS and not isinstance(found, (list, dict))):
        return value
    return found
