"""The job whose batches are open, kept in its output directory so that `batchgen cancel DIR` can end them.

Values of headers that hold secrets are left out; variables of the environment are named.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from batchgen.errors import OutputError
from batchgen.files.replace import replace_file
from batchgen.job.export import job_table
from batchgen.job.paths import resolve_paths
from batchgen.job.settings import Job, holds_secret, parse_job
from batchgen.storage.own_files import BATCH_JOB_FILE
from batchgen.text.storable import json_bytes


def store_batch_job(directory: Path, job: Job) -> None:
    """Write the job that runs in `directory`. Raises `OSError`."""
    headers = {
        name: value
        for name, value in job.model.headers.items()
        if not isinstance(value, str) or not holds_secret(name, value)
    }
    table = job_table(msgspec.structs.replace(job, model=msgspec.structs.replace(job.model, headers=headers)))
    path, body = directory / BATCH_JOB_FILE, json_bytes({"folder": os.getcwd(), "job": table})
    if not path.is_file() or path.read_bytes() != body:
        replace_file(path, body)


def read_batch_job(directory: Path) -> Job:
    """Return the job whose batches are open in `directory`. Raises `OutputError` where there is none."""
    try:
        found: dict[str, Any] = msgspec.json.decode((directory / BATCH_JOB_FILE).read_bytes())
        table, folder = found["job"], Path(found["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputError(f"{directory} has no batches that could be cancelled.") from None
    resolve_paths(table, folder)
    table["output"]["path"] = str(directory.absolute())
    return parse_job(table, str(directory / BATCH_JOB_FILE))
