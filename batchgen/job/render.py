"""Renders prompts without sending them, for `check` and `estimate`."""

from __future__ import annotations

from collections.abc import Iterator

from batchgen.job.parts import JobParts
from batchgen.source import Batch
from batchgen.values import Failure, Prompt


def prompt_columns(parts: JobParts) -> list[str]:
    """Return the columns that rendering needs, in the input's order."""
    return [name for name in parts.source.columns if name in parts.template.columns]


def loaded(parts: JobParts, prompt: Prompt) -> Prompt | str:
    """Return a prompt with its files in its messages, or the reason why it cannot be asked."""
    if not prompt.attached or parts.attachments is None:
        return prompt
    found = parts.attachments.load(prompt)
    return found.message if isinstance(found, Failure) else found


def rendered(parts: JobParts, batch: Batch) -> Iterator[tuple[int, Prompt | str]]:
    """Yield the number of each row with its prompt, or with the reason why it has none."""
    for row, values in enumerate(batch.values(prompt_columns(parts)), batch.first_row):
        problem = batch.problems.get(row)
        if problem is not None:
            yield row, problem
            continue
        prompt = parts.template.render(values)
        yield row, prompt.message if isinstance(prompt, Failure) else prompt
