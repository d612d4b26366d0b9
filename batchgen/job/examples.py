"""Few-shot examples: rows of a table with their expected answers, sent as turns before each row's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchgen.errors import InputError
from batchgen.prompts.prompt import PromptTemplate
from batchgen.source import Source
from batchgen.text.columns import missing_column
from batchgen.values import Message

if TYPE_CHECKING:
    from batchgen.answers.structured import StructuredAnswers

MOST_EXAMPLES = 100
"""The most examples: each is sent, and paid for, with every row."""


def load_examples(
    path: str, answer_column: str, template: PromptTemplate, answers: StructuredAnswers | None
) -> list[Message]:
    """Return the rows of a table (Parquet, CSV or JSONL) as turns: each row's prompt and its expected answer.

    With `answers` the expected answer must be valid: an object (or its JSON text), or a label. Raises `InputError` with
    file, column or row.
    """
    source = Source.open(path)
    template.check_columns(source.columns, f"prompt.examples ({path})")
    source.check_readable(template.columns)
    if answer_column not in source.columns:
        raise InputError(f"prompt.examples ({path}): {missing_column(answer_column, source.columns)}")
    rows = source.scan().rows
    if not 0 < rows <= MOST_EXAMPLES:
        raise InputError(f"prompt.examples: {path} has {rows:,} rows; give 1 to {MOST_EXAMPLES}, sent with every row.")
    columns = [name for name in source.columns if name in template.columns or name == answer_column]
    examples: list[dict[str, Any]] = []
    for batch in source.batches(0, columns):
        for row, problem in batch.problems.items():
            raise InputError(f"prompt.examples: row {row}: {problem}")
        examples += batch.values(columns)

    def wanted(values: Mapping[str, Any]) -> str:
        value = values[answer_column]
        if answers is not None:
            return answers.example_answer(value)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f'column "{answer_column}" holds no text')
        return value

    from batchgen.answers.conversation import example_turns

    return example_turns(examples, template.render, wanted)
