"""The names of batchgen's files in an output directory: they show that it is ours, and are kept private."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from os import readlink
from pathlib import Path

from batchgen.files.modes import LOCK_FILE
from batchgen.files.nearest_path import did_you_mean

STATE_FILE = "run.json"
JOURNAL_FILE = "journal.sqlite"
SPILL_FILE = "journal.spill"
SHARED_FILE = "shared.sqlite"
REPEATED_FILE = "repeated-rows.bin"
SCAN_FILE = "input-scan.json"
"""What reading the whole input has shown, for as long as its files stay the same."""
EARLIER_FILE = "earlier.sqlite"
COST_SUMMARY_FILE = "cost_summary.parquet"
PACE_FILE = "pace.parquet"
ESTIMATE_FILE = "estimate.parquet"
JOB_FILE = "job.json"
TARGET_FILE = "target.json"
"""What is published of the run, where its output is in an object store."""
JOINED_FILE = "joined.parquet"
"""All fields of the answers that `--add-to` has added some to."""
REVIEW_FILE = "review.parquet"
"""What people said of the answers."""
REVIEW_LOCK_FILE = "review.lock"
SHARD_INPUTS = "open-*.arrow"
"""The input columns of shards that are not finished, by the shard's number."""

BATCH_FILES = "batch-[0-9]*.*"
"""What is staged for the vendor's batch queue, and results on their way back: gone when a batch is collected."""

BATCH_JOB_FILE = "batch-job.json"
"""The job whose batches are open, for `batchgen cancel`; without secrets."""

ERROR_FILE = "batchgen-error-*.txt"
RESULTS = "results"
SIMULATED_BATCHES = "simulated-batches"
"""The files and batches of the simulator that `run --simulate --lane batch` starts, until the run is complete."""
SPOOLED_INPUT = f"input-{'[0-9a-f]' * 32}.*"
"""The copy of rows that have no file of their own (standard input, memory), named after its bytes and their format."""
EXAMPLES_FILE = f"examples-{'[0-9a-f]' * 32}.parquet"
"""Few-shot examples that were given in memory."""

WORKING_FILES = (
    f"{SHARED_FILE}*",
    f"{EARLIER_FILE}*",
    f"{JOURNAL_FILE}-*",
    REPEATED_FILE,
    SHARD_INPUTS,
    BATCH_JOB_FILE,
)
"""What is of use only until a run is complete, beside the journal and the spill file."""

_BELOW = ("*/", "*/*/")  # where the output of a job stands below the folder of the job

_SURE = frozenset({LOCK_FILE, STATE_FILE})
"""One of these makes a directory ours, whatever people put beside it later (a report, notes)."""

_OWN = (
    *_SURE,
    *(
        f"{name}*" for name in (JOURNAL_FILE, SPILL_FILE, SHARED_FILE, EARLIER_FILE)
    ),  # with SQLite's companions, and damaged ones
    COST_SUMMARY_FILE,
    PACE_FILE,
    ESTIMATE_FILE,
    JOB_FILE,
    TARGET_FILE,
    JOINED_FILE,
    REPEATED_FILE,
    SCAN_FILE,
    REVIEW_FILE,
    REVIEW_LOCK_FILE,
    SHARD_INPUTS,
    BATCH_FILES,
    BATCH_JOB_FILE,
    ERROR_FILE,
    "part-*.parquet.damaged-*",
    ".*.parquet.partial",
    ".*.json.partial",
    ".*.arrow.partial",
    f".{REPEATED_FILE}.partial",
    SPOOLED_INPUT,
    EXAMPLES_FILE,
    ".*input-*.partial",
    ".*examples-*.partial",
)
_OWN_FOLDERS = (RESULTS, SIMULATED_BATCHES)


def foreign_names(directory: Path) -> list[str]:
    """Return what speaks against `directory` being ours; nothing for an empty or missing one.

    A folder `results` alone is somebody else's, with whatever is in it.
    """
    try:
        names = [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        return []
    return [] if _SURE & {*names} else [name for name in names if not _is_own(name)]


def is_run(directory: Path) -> bool:
    """Return whether a run has begun in `directory`."""
    return any((directory / name).is_file() for name in _SURE)


def own_files(directory: Path) -> Iterator[Path]:
    """Yield the files and folders that batchgen has made in an output directory."""
    for path in directory.iterdir():
        if path.name in _OWN_FOLDERS:
            yield path
            yield from path.glob("part-*.parquet")
        elif _is_own(path.name):
            yield path


def _is_own(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _OWN)


def is_no_run(directory: Path) -> str | None:
    """Return why a directory is none of a run, and which may be meant; None if it is one."""
    if is_run(directory):
        return None
    if directory.exists() and not directory.is_dir():
        return f"{directory} is not an output directory of batchgen: it is a file."
    if directory.is_symlink() and not directory.exists():
        return (
            f"{directory} is not an output directory of batchgen: it is a link to {readlink(directory)}, which is gone."
        )
    if not directory.is_dir():
        return f"{directory} is not an output directory of batchgen: it does not exist.{did_you_mean(directory)}"
    below = next((found for depth in _BELOW for found in sorted(directory.glob(f"{depth}{STATE_FILE}"))), None)
    meant = f" Did you mean {below.parent}?" if below is not None else ""
    return f"{directory} is not an output directory of batchgen: it has no {STATE_FILE}.{meant}"
