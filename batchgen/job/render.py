"""Rows → prompts before a run: what `check` and `estimate` share. Nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

from batchgen.errors import UsageError
from batchgen.job.endpoint import Endpoint, endpoint_of
from batchgen.job.parts import JobParts
from batchgen.job.settings import Job
from batchgen.providers import PROVIDERS
from batchgen.source import Batch
from batchgen.values import Failure, Prompt


def keyless_endpoint(job: Job) -> tuple[Endpoint, str | None]:
    """Return the job's endpoint; where a run would refuse it (no key set), one without a key and why."""
    try:
        return endpoint_of(job), None
    except UsageError as error:
        base_url = (job.model.base_url or PROVIDERS[job.model.provider].base_url).rstrip("/")
        return Endpoint(base_url, None, base_url), str(error)


def prompt_columns(parts: JobParts) -> list[str]:
    """Return the columns that rendering needs, in the input's order."""
    return [name for name in parts.source.columns if name in parts.template.columns]


def rendered(parts: JobParts, batch: Batch) -> Iterator[tuple[int, Prompt | str]]:
    """Yield each row's number and its prompt, or the reason why it cannot be asked."""
    for row, values in enumerate(batch.values(prompt_columns(parts)), batch.first_row):
        problem = batch.problems.get(row)
        if problem is not None:
            yield row, problem
            continue
        prompt = parts.template.render(values)
        yield row, prompt.message if isinstance(prompt, Failure) else prompt
