"""The part of a job that its answers cannot be shown without, kept in the output directory as `job.json`.

From it and a row's own columns the prompt is rendered again as it was sent, and the answer read again into its fields.
No secrets are in it: no key, no headers, no address.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.answers.settings import ResponseSettings
from batchgen.errors import OutputError, UsageError
from batchgen.files.disk_errors import mend
from batchgen.files.replace import replace_file
from batchgen.job.parts import JobParts
from batchgen.job.settings import ColumnReference, InputSettings
from batchgen.prompts.prompt import PromptSettings, PromptTemplate
from batchgen.providers.request_parts import from_column
from batchgen.source import Scan
from batchgen.storage.own_files import JOB_FILE, SCAN_FILE
from batchgen.storage.result_schema import Parsed
from batchgen.stores.address import is_address, shown
from batchgen.text.storable import json_bytes
from batchgen.values import Message


class StoredJob(Struct, frozen=True, kw_only=True):
    """`prompt` has its templates as text, wherever they stood; `schema` is `response.schema` as it was written.

    `examples` and `instruction` are what every prompt gets beside the row's own; `model` is a name or a column's;
    `whole_columns` are columns of floats that are shown as whole numbers; `input` has an absolute path, and
    `input_stamps` (`Source.stamps`) tell whether its files are still the same.
    """

    prompt: PromptSettings
    input: InputSettings
    input_stamps: Sequence[tuple[str, int, int]]
    provider: str
    model: str | ColumnReference
    parameters: Mapping[str, Any] = {}
    examples: Sequence[Message] = ()
    instruction: str | None = None
    response: ResponseSettings | None = None
    schema: Mapping[str, Any] | None = None
    whole_columns: Sequence[str] = ()

    def template(self) -> PromptTemplate:
        """Return what renders a row's prompt as it was sent."""
        columns = {name: value["column"] for name, value in self.parameters.items() if from_column(value)}
        template = PromptTemplate(
            self.prompt, columns, self.model.column if isinstance(self.model, ColumnReference) else None
        )
        if self.instruction is not None or self.examples:
            from batchgen.answers.conversation import instructed

            template.finish_with(partial(instructed, instruction=self.instruction, examples=self.examples))
        return template

    def parsed(self) -> Parsed | None:
        """Return how answers become their fields; None where the job has no `[response]`."""
        if self.response is None:
            return None
        from batchgen.answers.enforcement import Target
        from batchgen.answers.schema import AnswerSchema
        from batchgen.answers.structured import StructuredAnswers

        target = Target(
            provider=self.provider,
            base_url="",
            model=self.model if isinstance(self.model, str) else None,
            parameters=self.parameters,
        )
        schema = None if self.schema is None else AnswerSchema(self.schema, JOB_FILE)
        answers = StructuredAnswers(self.response, target, schema)
        return Parsed(answers.type, answers.column)


def store_job(directory: Path, parts: JobParts) -> None:
    """Write `job.json`; the input has been scanned. Raises `OSError`."""
    texts = parts.template.fingerprint_parts()
    prompt = msgspec.structs.replace(
        parts.job.prompt,
        **{name: texts.get(f"prompt.{name}") for name in ("system", "user", "prompt")},
        **dict.fromkeys(("system_file", "user_file", "examples", "examples_answer")),
    )
    answers = parts.answers
    body = json_bytes(
        StoredJob(
            prompt=prompt,
            input=msgspec.structs.replace(parts.job.input, path=_lasting(parts.job.input.path)),
            input_stamps=parts.source.stamps,
            provider=parts.job.model.provider,
            model=parts.job.model.name,
            parameters=parts.job.model.parameters,
            examples=parts.examples,
            instruction=None if answers is None else answers.shaping.instruction,
            response=None if answers is None else answers.settings,
            schema=None if answers is None else answers.written,
            whole_columns=parts.source.whole_columns,
        )
    )
    path = directory / JOB_FILE
    if not path.is_file() or path.read_bytes() != body:
        replace_file(path, body)


def _lasting(path: str) -> str:
    """Return a path that means the same from any working directory."""
    return shown(path) if is_address(path) else os.path.abspath(path)


def scanned(parts: JobParts) -> Scan:
    """Scan the input of a job; an output directory of it that knows the files already saves reading them."""
    with suppress(OSError):
        parts.source.take_scan((parts.job.output.directory / SCAN_FILE).read_bytes())
    return parts.source.scan()


def keep_scan(directory: Path, parts: JobParts) -> None:
    """Keep the scan of a job's input for the next start in its output directory. Raises `OSError`."""
    kept = parts.source.kept_scan()
    path = directory / SCAN_FILE
    if kept is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != kept:
        replace_file(path, kept)


def read_stored_job(directory: Path) -> StoredJob | None:
    """Return what `job.json` of an output directory says; None if there is none, or a damaged one.

    Raises `OutputError` where the disk does not give it.
    """
    try:
        return msgspec.json.decode((directory / JOB_FILE).read_bytes(), type=StoredJob)
    except (FileNotFoundError, NotADirectoryError, UsageError, ValueError):
        return None
    except OSError as error:
        raise OutputError(f"{directory / JOB_FILE} cannot be read: {error}. {mend(error)}") from error
