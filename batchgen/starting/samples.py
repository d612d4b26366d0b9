"""The sample jobs and their tables: in a checkout beside the package, in a wheel among its installed data files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from batchgen.errors import UsageError
from batchgen.files.replace import named_file

SAMPLES = {
    "email": ("jobs/email_extraction.toml", "jobs/email.schema.json", "sample_data/emails.csv"),
    "labelling": ("jobs/dataset_labelling.toml", "sample_data/texts.parquet"),
    "cost": ("jobs/cost_estimation.toml", "sample_data/emails.csv"),
    "invoices": (
        "jobs/invoices.toml",
        "jobs/invoice.schema.json",
        "sample_data/invoices.jsonl",
        "sample_data/invoices/2041.pdf",
        "sample_data/invoices/a-77.png",
    ),
    "multi-turn": ("jobs/multi_turn.toml", "sample_data/questions.jsonl"),
}
"""The files of each sample; the first is the job."""


def copy_sample(name: str, folder: Path) -> list[Path]:
    """Copy a sample's files below `folder`, in the folders that they have in a checkout; return their new paths.

    Files that are there already with the same content stay. Raises `UsageError` for one with other content, before
    anything is written, and where the installation holds no samples.
    """
    sources = {relative: _installed(relative).read_bytes() for relative in SAMPLES[name]}
    for relative, body in sources.items():
        refuse_other_content(folder / relative, body)
    for relative, body in sources.items():
        write_new(folder / relative, body)
    return [folder / relative for relative in sources]


def refuse_other_content(path: Path, body: bytes) -> None:
    """Raise `UsageError` if there is something else at a path that `init` would write to."""
    if path.exists() and not (path.is_file() and path.read_bytes() == body):
        raise UsageError(f"{path} is there already. Nothing was written: name another folder, or move it away.")


def write_new(path: Path, body: bytes) -> None:
    """Write a file, and the folders above it, where there is none. Raises `OutputError` and `UsageError`."""
    if path.exists():
        return
    make_folder(path.parent)
    with named_file(path) as file:
        file.write(body)
    path.chmod(0o666 & ~_umask())  # the user's own file, to be edited and shared: not private as results are


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises `UsageError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _installed(relative: str) -> Path:
    for path in _places(relative):
        if path.is_file():
            return path
    raise UsageError(f"The sample file {relative} is not part of this installation: install batchgen from its wheel.")


def _places(relative: str) -> Iterator[Path]:
    yield Path(__file__).parents[2] / relative
    try:
        files = metadata.files("batchgen") or []
    except metadata.PackageNotFoundError:
        files = []
    yield from (Path(str(file.locate())) for file in files if file.as_posix().endswith(f"share/batchgen/{relative}"))
