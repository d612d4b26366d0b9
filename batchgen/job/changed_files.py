"""Files of rows that have changed since a run began: its input names them only, so that it looks the same.

Times tell which files may have changed, and the key of the request whether an answer is to other bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
from msgspec import Struct

from batchgen.attachments.cells import changed_since
from batchgen.errors import OutputError
from batchgen.files.arrow import arrow_file
from batchgen.job.parts import JobParts
from batchgen.job.render import prompt_columns, rendered
from batchgen.source import Batch
from batchgen.storage.batch_files import StagedRows
from batchgen.storage.batch_table import BatchRecord, read_batches
from batchgen.storage.identity import RunIdentity
from batchgen.storage.journal import Journal
from batchgen.storage.journal_repair import open_journal
from batchgen.storage.move_aside import begun_state
from batchgen.storage.open_batches import collect_first
from batchgen.storage.own_files import RESULTS
from batchgen.storage.parts import part_path, published_parts
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import RunState, read_run_json
from batchgen.storage.snapshot import copy_journal
from batchgen.text.figures import quantity
from batchgen.values import Status


def files_changed(parts: JobParts) -> bool:
    """Whether a file of the rows has been written or moved since the run in the output directory began."""
    state = begun_state(Path(parts.job.output.path))
    return state is not None and any(rows for _, rows in _touched(parts, state, list(_column(parts))))


class _Copy(Struct, frozen=True):
    """An output directory that nothing is written to: its journal is a copy. Named as in `RunDirectory`."""

    path: Path
    state: RunState | None
    copied: Journal | None

    @property
    def complete(self) -> bool:
        return self.copied is None

    @property
    def results_path(self) -> Path:
        return self.path / RESULTS

    @property
    def journal(self) -> Journal:
        assert self.copied is not None
        return self.copied


def changed_files_problem(parts: JobParts) -> str | None:
    """Return why `refuse_changed_files` would refuse to go on with the run in the output directory, which may be in
    progress. Raises `OutputError`, `sqlite3.Error` or `OSError` where it cannot be read."""
    path = parts.job.output.directory.absolute()
    state = read_run_json(path)
    if state is None or not any(rows for _, rows in _touched(parts, state, list(_column(parts)))):
        return None
    with TemporaryDirectory(prefix="batchgen-") as folder:
        copy = copy_journal(path, Path(folder))
        identity = RunIdentity(state.run, state.fingerprints, state.published)
        with nullcontext() if copy is None else closing(open_journal(copy, identity)) as journal:
            try:
                refuse_changed_files(parts, _Copy(path, state, journal))
            except OutputError as error:
                return str(error)
    return None


def refuse_changed_files(parts: JobParts, directory: RunDirectory | _Copy) -> None:
    """Raise `OutputError` where rows have an answer to files that are others now, or wait for one in an open batch.

    The other rows, and those that failed, are asked with the files as they are.
    """
    batches = [] if directory.complete else [batch for batch in read_batches(directory.journal) if batch[0].unfinished]
    if changed := _changed(parts, directory, directory.state, batches):
        if batches:
            rows = quantity(len(changed), "row that is answered or handed in", "rows that are answered or handed in")
        else:
            rows = quantity(len(changed), "answered row")
        which = f"the files of {rows} (of row {min(changed):,} first, counted from 0)"
        problem = (
            f"{directory.path} holds a run of other input: {which} have changed since. Use --update to move that run "
            "aside and ask only for what is new, --fresh to move it aside and ask for everything, or choose another "
            "--output."
        )
        raise OutputError(collect_first(problem, sum(batch.at_vendor for batch, _ in batches), directory.path))


def changed_meanwhile(parts: JobParts, directory: RunDirectory) -> str | None:
    """Return a sentence where files have changed while their rows waited in batches, which may take a day."""
    changed = _changed(parts, directory, read_run_json(directory.path), []) if parts.in_batches else None
    if not changed:
        return None
    return (
        f"The files of {quantity(len(changed), 'row')} (of row {min(changed):,} first, counted from 0) have changed "
        "since they were handed in: their answers are to the files as they were. --update asks these rows again."
    )


def _changed(
    parts: JobParts,
    directory: RunDirectory | _Copy,
    state: RunState | None,
    batches: list[tuple[BatchRecord, array[int]]],
) -> set[int]:
    """Return the rows that have an answer to files which are others now, or are in one of the batches with such."""
    keys: dict[int, bytes] = {}
    for batch, rows in _touched(parts, state, prompt_columns(parts)) if state is not None else ():
        keys |= {
            row: parts.keys.of(prompt)
            for row, prompt in rendered(parts, batch)
            if row in rows and not isinstance(prompt, str)
        }
    return (
        {
            row
            for row, key in (*_answered(directory, keys), *_handed_in(directory, batches, keys))
            if len(key) == len(keys[row]) and key not in parts.keys.all(keys[row])
        }
        if keys
        else set()
    )


def _column(parts: JobParts) -> Iterator[str]:
    if parts.job.attach is not None:
        yield parts.job.attach.column


def _touched(parts: JobParts, state: RunState, columns: list[str]) -> Iterator[tuple[Batch, set[int]]]:
    """Yield the batches of the input in which files were written or moved since a run began, with the rows of these."""
    if parts.job.attach is None or parts.attachments is None:
        return
    column, folder = parts.job.attach.column, parts.attachments.folder
    began = datetime.fromisoformat(state.started_at).timestamp()
    for batch in parts.source.batches(0, columns):
        cells = batch.table[column].to_pylist()
        rows = {row for row, cell in enumerate(cells, batch.first_row) if changed_since(cell, folder, began)}
        if rows:
            yield batch, rows


def _handed_in(
    directory: RunDirectory | _Copy, batches: list[tuple[BatchRecord, array[int]]], wanted: dict[int, bytes]
) -> Iterator[tuple[int, bytes]]:
    """Yield those of some rows that wait in batches, with the keys of their requests."""
    for batch, members in batches:
        with suppress(OSError), StagedRows(directory.path, batch.number) as rows:
            for line, row in enumerate(members[: len(rows)]):
                if row in wanted and (key := rows[line].key) is not None:
                    yield row, key


def _answered(directory: RunDirectory | _Copy, wanted: dict[int, bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield those of some rows that have succeeded, with the keys of their requests."""
    parts = []
    if directory.complete:
        row = 0
        for path in published_parts(directory.results_path):
            parts.append((row, path))
            row += pq.read_metadata(arrow_file(path)).num_rows
    else:
        for record in directory.journal.shards():
            if record.sealed:
                parts.append((record.first_row, part_path(directory.results_path, record.number)))
        for result in directory.journal.unpublished():
            if result.row in wanted and result.status is Status.SUCCEEDED and result.request_key is not None:
                yield result.row, bytes.fromhex(result.request_key)
    for first, path in parts:
        with pq.ParquetFile(arrow_file(path)) as file:
            if not any(first <= row < first + file.metadata.num_rows for row in wanted):
                continue
            table = file.read(["request_key", "status"])
            rows = zip(table["request_key"].to_pylist(), table["status"].to_pylist(), strict=True)
            for row, (key, status) in enumerate(rows, first):
                if row in wanted and status == "succeeded" and key is not None:
                    yield row, bytes.fromhex(key)
