"""Standard input (`input.path = "-"`) and tables in memory are copied to a file first, since an input is read twice.

A run keeps the copy in its output directory, named by the SHA-256 of its bytes, until every row has succeeded. So an
unfinished run can be continued, and failed rows can be retried, without the input being piped in again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import structs

from batchgen.errors import InputError, OutputError, UsageError
from batchgen.files.modes import make_directory
from batchgen.files.replace import replacing
from batchgen.job.settings import Job
from batchgen.source.content import extension_by_content
from batchgen.storage.lock import holder, refuse_foreign
from batchgen.storage.own_files import SPOOLED_INPUT

STANDARD_INPUT = "-"
_PIECE_BYTES = 1 << 20
_TRIES = 5


@contextmanager
def input_for_run(job: Job, rows: pa.Table | None = None) -> Iterator[Job]:
    """Give the job with `input.path` set to a copy in its output directory; a job with another input is unchanged.

    `rows` are a table in memory, which is read instead of `input.path`. If the block raises `UsageError`, a copy that
    was made here is removed, and so is a directory made for it.
    """
    if rows is None and job.input.path != STANDARD_INPUT:
        yield job
        return
    output = job.output.directory.absolute()
    refuse_foreign(output)
    existed = output.exists()
    found = spooled_input(output)
    try:
        make_directory(output)
        path, made = _spool(output, job) if rows is None else _spool_rows(output, rows)
    except OSError as error:
        raise OutputError(f"The rows cannot be copied to {output}: {error}.") from error
    try:
        yield _reading(job, path or found)
    except UsageError:
        if path is not None and made and holder(output) is None:
            path.unlink(missing_ok=True)
        if not existed:
            with suppress(OSError):
                output.rmdir()
        raise


@contextmanager
def input_for_reading(job: Job, rows: pa.Table | None = None) -> Iterator[Job]:
    """Give the job with `input.path` set to a temporary copy, or to its run's; a job with another input is unchanged.

    `rows` are a table in memory, which is read instead of `input.path`.
    """
    if rows is None and job.input.path != STANDARD_INPUT:
        yield job
        return
    with TemporaryDirectory(prefix="batchgen-") as folder:
        try:
            path, _ = _spool(Path(folder), job) if rows is None else _spool_rows(Path(folder), rows)
        except OSError as error:
            raise InputError(f"The rows cannot be copied to a temporary file: {error}.") from error
        yield _reading(job, path or spooled_input(job.output.directory))


def spooled_input(directory: Path) -> Path | None:
    """Return the copy of the input that belongs to the run in `directory`.

    After a kill there may also be a newer copy, of an input that was about to be refused.
    """
    return min(directory.glob(SPOOLED_INPUT), key=lambda path: path.stat().st_mtime_ns, default=None)


def _reading(job: Job, path: Path | None) -> Job:
    if path is None:
        raise InputError(
            'input.path is "-", but nothing comes in on standard input, and '
            f"{job.output.path} keeps no copy of what came in earlier: pipe the rows into the command."
        )
    return structs.replace(job, input=structs.replace(job.input, path=str(path)))


def _spool(directory: Path, job: Job) -> tuple[Path | None, bool]:
    """Copy standard input to `directory`. Return the copy and whether it is new; None if standard input was empty."""
    stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    first = b"" if stream is None or stream.isatty() else stream.read(_PIECE_BYTES)
    if stream is None or not first:
        return None, False
    digest = hashlib.sha256()
    aside = directory / f".input-{os.getpid()}.partial"
    try:
        with replacing(aside) as file:
            while first:
                digest.update(first)
                file.write(first)
                first = stream.read(_PIECE_BYTES)
        extension = extension_by_content(aside, job.input.delimiter is not None)
        path = directory / f"input-{digest.hexdigest()[:32]}{extension}"
        if path.exists():
            return path, False
        aside.rename(path)
        return path, True
    finally:
        aside.unlink(missing_ok=True)


def _spool_rows(directory: Path, rows: pa.Table) -> tuple[Path, bool]:
    """Write rows to a file in `directory`, unless it exists; return the file and whether it is new. Raises
    `InputError`."""
    for found in directory.glob(SPOOLED_INPUT):
        if found.suffix == ".parquet" and _holds(found, rows):
            return found, False
    return write_table(directory, "input", rows)


def write_table(directory: Path, word: str, rows: pa.Table) -> tuple[Path, bool]:
    """Write a table as a private file `WORD-DIGEST.parquet`, which appears complete or not at all; return its path and
    whether it is new. A file of that name is left as it is: a run may be reading it.

    Raises `InputError` for a column that Parquet cannot hold, `OSError` if the file cannot be written.
    """
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError):  # a run that opens the directory meanwhile clears what is half written
            return _written(directory, word, rows)
    return _written(directory, word, rows)


def _written(directory: Path, word: str, rows: pa.Table) -> tuple[Path, bool]:
    aside = directory / f".{word}-{secrets.token_hex(8)}.partial"
    try:
        with replacing(aside) as file:
            pq.write_table(rows, pa.PythonFile(file, "w"), compression="zstd")
        path = directory / f"{word}-{_digest(aside)}.parquet"
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            return path, False
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links
            aside.rename(path)
        return path, True
    except pa.ArrowException as error:
        raise InputError(f"The rows cannot be written to a file: {error}. Give that column another type.") from None
    finally:
        aside.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _holds(path: Path, rows: pa.Table) -> bool:
    """Whether a file holds these rows. Its bytes may differ: versions of Arrow write the same rows in different
    ways."""
    try:
        file = pq.ParquetFile(path)
        return file.metadata.num_rows == rows.num_rows and bool(file.read().equals(rows))
    except (pa.ArrowException, OSError):
        return False
