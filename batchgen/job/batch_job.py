"""The job whose batches are open, kept in its output directory so that `batchgen cancel DIR` can end them.

Values of headers that hold secrets are left out; variables of the environment are named.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import OutputError
from batchgen.files.replace import replace_file
from batchgen.job.endpoint import Endpoint
from batchgen.job.export import job_table
from batchgen.job.parts import JobParts, assemble
from batchgen.job.paths import resolve_paths
from batchgen.job.requests import RequestParts, request_parts
from batchgen.job.settings import InputSettings, Job, holds_secret, parse_job
from batchgen.storage.own_files import BATCH_JOB_FILE
from batchgen.stores.address import is_address
from batchgen.text.storable import json_bytes


def store_batch_job(directory: Path, job: Job, parts: RequestParts) -> None:
    """Write the job that runs in `directory`, with the texts of its prompt and its schema. Raises `OSError`."""
    headers = {
        name: value
        for name, value in job.model.headers.items()
        if not isinstance(value, str) or not holds_secret(name, value)
    }
    texts = parts.template.fingerprint_parts()
    prompt = msgspec.structs.replace(
        job.prompt,
        **{name: texts.get(f"prompt.{name}") for name in ("system", "user", "prompt")},
        **dict.fromkeys(("system_file", "user_file")),
    )
    response = job.response
    if response is not None and response.schema is not None and parts.answers is not None:
        response = msgspec.structs.replace(response, schema=json_bytes(parts.answers.written).decode())
    model = msgspec.structs.replace(job.model, headers=headers)
    table = job_table(msgspec.structs.replace(job, model=model, prompt=prompt, response=response))
    path, body = directory / BATCH_JOB_FILE, json_bytes({"folder": os.getcwd(), "job": table})
    if not path.is_file() or path.read_bytes() != body:
        replace_file(path, body)


def read_batch_job(directory: Path) -> Job:
    """Return the job whose batches are open in `directory`. Raises `OutputError` where there is none."""
    table, folder = _stored(directory)
    resolve_paths(table, folder)
    table["output"]["path"] = str(directory.absolute())
    return parse_job(table, str(directory / BATCH_JOB_FILE))


def wanted_at(directory: Path) -> str | None:
    """Return the address in an object store where that job wants its results; None if it wants them in `directory`."""
    path = str(_stored(directory)[0]["output"]["path"])
    return path if is_address(path) else None


def _stored(directory: Path) -> tuple[dict[str, Any], Path]:
    try:
        found: dict[str, Any] = msgspec.json.decode((directory / BATCH_JOB_FILE).read_bytes())
        return found["job"], Path(found["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputError(f"{directory} has no batches that could be cancelled.") from None


@contextmanager
def without_input(job: Job, endpoint: Endpoint) -> Iterator[JobParts]:
    """Give the parts of a job whose input may be gone: with a table in its place that has its columns and no rows.

    They read results; no row can be rendered. Raises `UsageError`.
    """
    job = msgspec.structs.replace(job, prompt=msgspec.structs.replace(job.prompt, examples=None))
    columns = {*request_parts(job, endpoint).template.columns, *([job.input.id] if job.input.id else [])}
    columns |= {*([] if job.output.columns == "all" else job.output.columns)}
    columns |= {*([] if job.evaluate is None else job.evaluate.columns)}
    with TemporaryDirectory(prefix="batchgen-") as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in sorted(columns)}), path)
        parts = assemble(msgspec.structs.replace(job, input=InputSettings(path=str(path), id=job.input.id)), endpoint)
        yield msgspec.structs.replace(parts, dedupe=False)
