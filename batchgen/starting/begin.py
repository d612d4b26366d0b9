"""`batchgen init` from end to end: the input is looked at, then job, schema and rows are written."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from batchgen.errors import InputError, UsageError
from batchgen.job.settings import parse_job
from batchgen.mail.convert import convert_mails, summary_text
from batchgen.source import Reading
from batchgen.source.remote import find_input
from batchgen.starting.first_job import (
    JOB_FILE,
    MAILS_FILE,
    OWN_ROWS,
    ROWS_FILE,
    SCHEMA_FILE,
    Wish,
    job_text,
    look_at,
    schema_text,
)
from batchgen.starting.samples import make_folder, refuse_other_content, write_new
from batchgen.stores.address import is_address


def begin(folder: Path, input_path: str | None, wish: Wish) -> tuple[list[Path], list[str]]:
    """Write a first job into `folder`; return the new files and what is to be said of them.

    `input_path`: a table, or mails in any form that `batchgen mail` reads, which become a table beside the job; None
    writes three rows to begin with. Nothing that is there already is replaced. Raises `InputError` for an input that
    cannot be read, `UsageError` for a file that is in the way, `OutputError` where nothing can be written.
    """
    job, mails, said = folder / JOB_FILE, folder / MAILS_FILE, []
    if job.exists():
        raise UsageError(f"{job} is there already. Nothing was written: name another folder, or move it away.")
    bodies = {} if wish.labels else {folder / SCHEMA_FILE: schema_text(wish.fields).encode()}
    if input_path is None:
        bodies[folder / ROWS_FILE] = OWN_ROWS.encode()
    for path, body in bodies.items():
        refuse_other_content(path, body)
    written = [job, *bodies]
    if input_path is None:
        table = str(folder / ROWS_FILE)
        write_new(folder / ROWS_FILE, OWN_ROWS.encode())
    elif _is_table(input_path):
        table = input_path
    else:
        refuse_other_content(mails, b"")
        make_folder(folder)
        said.append(summary_text(convert_mails([input_path], mails)))
        written.append(mails)
        table = str(mails)
    named = table if is_address(table) or os.path.isabs(table) else os.path.relpath(table, folder)
    text = job_text(look_at(table, named), wish)
    parse_job(tomllib.loads(text), str(job))  # a mistake of ours is found here, not by the user
    for path, body in {**bodies, job: text.encode()}.items():
        write_new(path, body)
    return written, said


def _is_table(path: str) -> bool:
    """Whether this is a table. Raises `InputError` for what is neither a table nor mails."""
    try:
        find_input(path, Reading())
    except InputError:
        if os.path.exists(path):
            return False
        raise
    return True
