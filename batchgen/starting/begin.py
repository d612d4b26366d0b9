"""`batchgen init` from end to end: the input is looked at, then job, schema and rows are written."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from batchgen.errors import InputError, UsageError
from batchgen.job.settings import parse_job
from batchgen.mail.convert import convert_mails, summary_text
from batchgen.source import Reading
from batchgen.source.files import is_table_name
from batchgen.source.other_formats import is_mail, remedy
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


def begin(
    folder: Path,
    input_path: str | None,
    wish: Wish,
    reading: Reading = Reading(),  # noqa: B008 (frozen)
) -> tuple[list[Path], list[str]]:
    """Write a first job into `folder`; return the new files and what is to be said of them.

    `input_path`: a table, or mails in any form that `batchgen mail` reads, which become a table beside the job; None
    writes three rows to begin with. `reading`: what is known of a delimited file, which the job will say. Nothing that
    is there already is replaced. Raises `InputError` for an input that cannot be read, `UsageError` for a file that is
    in the way, `OutputError` where nothing can be written.
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
    elif (no_table := _no_table(input_path, reading)) is None:
        table = input_path
    else:
        if _is_named_as_table(input_path, reading):
            raise _with_options(no_table)
        refuse_other_content(mails, b"")
        make_folder(folder)
        try:
            said.append(summary_text(convert_mails([input_path], mails)))
        except InputError as error:
            if is_mail(os.path.splitext(input_path)[1]):
                raise
            raise InputError(f"{error} As a table: {_with_options(no_table)}") from error
        written.append(mails)
        table = str(mails)
    named = table if is_address(table) or os.path.isabs(table) else os.path.relpath(table, folder)
    try:
        text = job_text(look_at(table, named, reading), wish)
    except InputError as error:
        raise _with_options(error) from error
    parse_job(tomllib.loads(text), str(job))  # a mistake of ours is found here, not by the user
    for path, body in {**bodies, job: text.encode()}.items():
        write_new(path, body)
    return written, said


def _no_table(path: str, reading: Reading) -> InputError | None:
    """Return why this is no table, None if it is one. Raises `InputError` for what is not there at all."""
    try:
        find_input(path, reading)
    except InputError as error:
        if os.path.exists(path):
            return error
        raise
    return None


def _is_named_as_table(path: str, reading: Reading) -> bool:
    """Whether a file is meant as a table, by its name or by what is said of it, though it cannot be read as one."""
    if reading != Reading():
        return True
    extension = os.path.splitext(path)[1]
    return os.path.isfile(path) and (is_table_name(path) or (remedy(extension) is not None and not is_mail(extension)))


def _with_options(error: InputError) -> InputError:
    """Return an error with the options in place of the keys that it names: there is no job file yet."""
    said = str(error)
    if "[input]" not in said and "input.delimiter" not in said and "input.encoding" not in said:
        return error
    return InputError(f"{said} For batchgen init these are the options --delimiter, --encoding and --quotes.")
