"""What is committed in an output directory, as Parquet files: its parts, and the answers that only the journal has.

Works on finished, stopped, killed and running runs alike and changes nothing there. For each shard that is not finished
the answers in the journal become a part in a temporary folder, which goes with the `Committed`.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import chain
from pathlib import Path

import pyarrow as pa

from batchgen.errors import OutputError, UsageError
from batchgen.files.disk_errors import REPEAT, mend
from batchgen.job.stored import read_stored_job
from batchgen.storage.identity import RunIdentity
from batchgen.storage.journal import Journal
from batchgen.storage.journal_repair import open_journal
from batchgen.storage.journal_rows import in_slices
from batchgen.storage.mirror import local_directory
from batchgen.storage.overflow import read_spill
from batchgen.storage.own_files import JOURNAL_FILE, RESULTS, SPILL_FILE, is_no_run, is_run
from batchgen.storage.parts import DamagedPartError, part_path, published_parts, read_part, write_part
from batchgen.storage.result_schema import Layout, Parsed
from batchgen.storage.run_state import RunState, found_identity, read_run_json
from batchgen.storage.shard_inputs import read_inputs
from batchgen.storage.shards import ShardRecord
from batchgen.storage.snapshot import copy_journal
from batchgen.values import Result

_SLICE_BYTES = 16 * 1024 * 1024


class Committed:
    """The committed rows of an output directory: `parts` hold them in input order, each once.

    `state` is its `run.json`, `job` its `job.json`; `notes` say what could not be read.
    """

    def __init__(self, directory: Path | str) -> None:
        """Raise `OutputError` where the directory holds parts of several runs or cannot be read."""
        path = local_directory(directory)
        if path.is_file():
            raise OutputError(str(is_no_run(path)))
        self.directory = path.parent if path.name == RESULTS and is_run(path.parent) else path
        folder = self.directory / RESULTS
        self._results = folder if folder.is_dir() else self.directory  # a copy of the results alone
        self.notes: list[str] = []
        self.state: RunState | None = read_run_json(self.directory)
        self.job = read_stored_job(self.directory)
        try:
            found = self._unfinished()  # before the parts are listed: a shard that ends meanwhile is in one of both
            for part in published_parts(self._results, self.state.run if self.state is not None else ""):
                found.setdefault(part.name, part)
        except (OSError, sqlite3.Error) as error:
            raise _unreadable(self.directory, error) from error
        self.parts = [found[name] for name in sorted(found)]

    def _unfinished(self) -> dict[str, Path]:
        """Return the parts made of what the journal has, by name."""
        if self.state is not None:
            identity = RunIdentity(self.state.run, self.state.fingerprints, self.state.published)
        else:
            identity = found_identity(self.directory) or RunIdentity()
        if not (self.directory / JOURNAL_FILE).is_file() or not identity.run:
            return {}
        target = Path(tempfile.mkdtemp(prefix="batchgen-"))
        weakref.finalize(self, shutil.rmtree, target, ignore_errors=True)
        copy = copy_journal(self.directory, target)
        if copy is None:
            return {}
        journal = open_journal(copy, identity)
        try:
            self.notes += journal.damage
            return self._parts_of(journal, target)
        finally:
            journal.close()
            for path in target.glob(f"{JOURNAL_FILE}*"):
                path.unlink()

    def _parts_of(self, journal: Journal, target: Path) -> dict[str, Path]:
        made = {}
        spilled = self._spilled(journal)
        parsed = self._parsed()
        for record in journal.shards():
            if record.sealed:
                continue
            results = _merged(journal.results(record.first_row, record.end_row), spilled, record)
            first = next(results, None)
            if first is None:
                continue
            inputs = read_inputs(self.directory, record.number)
            if inputs is not None:
                known = {*inputs.row_numbers}
                every = (result for result in chain([first], results) if result.row in known)
                carried = inputs.table.select(inputs.carried).schema
                write_part(
                    target,
                    inputs.shard(record),
                    in_slices(every, _SLICE_BYTES),
                    Layout(carried, inputs.id, parsed),
                    journal.identity,
                    unfinished=True,
                )
                made[part_path(target, record.number).name] = part_path(target, record.number)
            elif not part_path(self._results, record.number).is_file():
                self.notes.append(
                    f"{self.directory}: the input columns of rows {record.first_row:,} to {record.end_row - 1:,} are "
                    "not at hand, and what is answered of them is left out here. It is kept: run the job again to have "
                    "it shown."
                )
        return made

    def _spilled(self, journal: Journal) -> dict[int, Result]:
        """Return what a run that stopped on a full disk has left beside the journal, by row."""
        path = self.directory / SPILL_FILE
        try:
            spilled = read_spill(path)
        except FileNotFoundError:
            return {}
        if spilled.run != journal.identity.run or journal.has_taken(spilled.name):
            return {}
        return {result.row: result for result in spilled.results}

    def _parsed(self) -> Parsed | None:
        try:
            return None if self.job is None else self.job.parsed()
        except UsageError as error:
            self.notes.append(f"{self.directory}: the answers' fields are not at hand: {error}")
            return None


def _unreadable(path: Path | str, error: Exception) -> OutputError:
    return OutputError(f"The answers in {path} cannot be read: {error}. {mend(error)}")


def _merged(stored: Iterator[Result], spilled: Mapping[int, Result], record: ShardRecord) -> Iterator[Result]:
    """Yield a shard's results in order, from the journal and the spill file."""
    more = sorted(row for row in spilled if record.first_row <= row < record.end_row)
    last = -1
    for result in merge(stored, (spilled[row] for row in more), key=lambda result: result.row):
        if result.row != last:
            yield result
        last = result.row


def read_results(path: Path | str) -> pa.Table:
    """Return the committed rows of an output directory (or of its `results`) in input order, also while a run goes on.

    Raises `OutputError` when there is none yet or a part is damaged.
    """
    committed = Committed(path)
    if not committed.parts:
        raise OutputError(f"{path}: no row is answered there yet")
    try:
        tables = [read_part(part)[1].replace_schema_metadata(None) for part in committed.parts]
    except DamagedPartError as error:
        raise OutputError(f"{path}: {error}. {REPEAT}") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    return pa.concat_tables(tables, promote_options="default")
