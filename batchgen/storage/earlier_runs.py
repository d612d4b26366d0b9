"""Earlier runs whose answers a run may take: their directories, and every answer in them, a row group at a time.

Nothing is changed there. What is damaged is said and asked again; a disk that does not give what it has stops the run.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from batchgen.errors import OutputError, StorageStop
from batchgen.files.arrow import arrow_file
from batchgen.files.compute import pc
from batchgen.files.disk_errors import is_refusal, mend
from batchgen.storage.identity import RunIdentity
from batchgen.storage.journal_repair import open_journal
from batchgen.storage.overflow import read_spill
from batchgen.storage.own_files import JOURNAL_FILE, RESULTS, SPILL_FILE
from batchgen.storage.parts import DamagedPartError, part_identity, part_numbers, part_path
from batchgen.storage.result_schema import TURNS_COLUMN
from batchgen.storage.run_state import RunState, found_identity, is_simulated, read_run_json
from batchgen.storage.snapshot import copy_journal
from batchgen.values import Result, Status

MOST_SOURCES = 8
"""Earlier directories that an updated run keeps looking into, the latest first, if one of them is complete."""

_LABEL_MEASURES = ("confidence", "agreement")


class EarlierAnswer(Struct, frozen=True, gc=False, array_like=True):
    """A succeeded row of an earlier run, by the key of its request. `source` is the number of that run."""

    key: bytes
    source: int
    finished_at_us: int
    completion: str | None
    reasoning: str | None
    tool_calls: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    model: str | None
    request_id: str | None
    latency_ms: float | None
    http_status: int | None
    confidence: float | None = None
    agreement: float | None = None
    answer_turns: str | None = None

    @property
    def identity(self) -> tuple[int, str | None, str | None]:
        """What two copies of one answer share, and two answers to one request do not."""
        return self.finished_at_us, self.request_id, self.completion


_NOT_EVERYWHERE = (*_LABEL_MEASURES, TURNS_COLUMN.name)
_COLUMNS = [name for name in EarlierAnswer.__struct_fields__ if name not in ("key", "source", *_NOT_EVERYWHERE)]
_STORED = [name if name != "finished_at_us" else "finished_at" for name in _COLUMNS]


class EarlierRun(Struct, frozen=True):
    """A directory with a run in it; `state` is None where its `run.json` is gone."""

    path: Path
    identity: RunIdentity
    state: RunState | None

    @property
    def simulated(self) -> bool:
        """Whether the built-in simulator has answered there."""
        return is_simulated(self.identity.fingerprints)

    def answers(self, source: int, note: Callable[[str], None]) -> Iterator[EarlierAnswer]:
        """Yield all its answers: first those of its parts, in order, then those that only its journal has.

        A row may come twice, as the same answer. `note` takes a sentence for what is damaged. Raises `StorageStop`
        where the disk does not give what is there: nothing is asked again for that.
        """
        for number in part_numbers(self.path / RESULTS):
            path = part_path(self.path / RESULTS, number)
            try:
                if part_identity(path).run != self.identity.run:
                    raise DamagedPartError(f"{path.name} is a part of another run")
                yield from _part_answers(path, source)
            except (DamagedPartError, pa.ArrowException, OSError, ValueError) as error:
                if is_refusal(error) and not isinstance(error, FileNotFoundError):
                    raise self._stop(error) from error
                note(f"{self.path}: {error}; what cannot be read of it is asked again.")
        yield from self._unpublished(source, note)

    def _stop(self, error: Exception) -> StorageStop:
        return StorageStop(
            f"Answers in {self.path} cannot be read ({error}). Nothing is asked again for that.", mend(error)
        )

    def _unpublished(self, source: int, note: Callable[[str], None]) -> Iterator[EarlierAnswer]:
        with TemporaryDirectory(prefix="batchgen-") as folder:
            try:
                copy = copy_journal(self.path, Path(folder))
                if copy is None:
                    return
                journal = open_journal(copy, self.identity)
            except OutputError as error:
                note(f"{self.path / JOURNAL_FILE} cannot be read ({error}); what it alone has is asked again.")
                return
            except (sqlite3.Error, OSError) as error:
                raise self._stop(error) from error
            try:
                for damage in journal.damage:
                    note(f"{self.path}: {damage}")
                yield from _result_answers(journal.unpublished(), source)
                spill = self.path / SPILL_FILE
                if spill.is_file():
                    spilled = read_spill(spill)
                    if spilled.run == self.identity.run and not journal.has_taken(spilled.name):
                        yield from _result_answers(spilled.results, source)
            except (sqlite3.Error, OSError) as error:
                raise self._stop(error) from error
            finally:
                journal.close()


def _part_answers(path: Path, source: int) -> Iterator[EarlierAnswer]:
    with pq.ParquetFile(arrow_file(path), page_checksum_verification=True) as file:
        names = file.schema_arrow.names
        if "request_key" not in names or "reused" not in names:
            return  # of a version that kept no keys
        measures = _measures(file.schema_arrow)
        columns = ["status", "request_key", "attempts", "reused", *_STORED]
        columns += [f"parsed.{name}" for name in measures]
        columns += [TURNS_COLUMN.name] if TURNS_COLUMN.name in names else []
        for group in range(file.num_row_groups):
            yield from _table_answers(file.read_row_group(group, columns=columns), source, measures)


def _measures(schema: pa.Schema) -> list[str]:
    """Return which figures on a label `parsed` has; a schema's own fields of these names are none."""
    if schema.get_field_index("parsed") < 0:
        return []
    fields = {field.name: field.type for field in schema.field("parsed").type}
    if "label" not in fields or not fields.keys() <= {"label", *_LABEL_MEASURES}:
        return []
    return [name for name in _LABEL_MEASURES if fields.get(name) == pa.float64()]


def _table_answers(table: pa.Table, source: int, measures: Sequence[str]) -> Iterator[EarlierAnswer]:
    """Yield the answers of succeeded rows; one that another row of the same run was given too comes once."""
    wanted = pc.and_(
        pc.and_(pc.equal(table["status"].cast(pa.string()), Status.SUCCEEDED.value), pc.is_valid(table["request_key"])),
        pc.or_(pc.greater(table["attempts"], 0), pc.fill_null(table["reused"], False)),
    )
    table = table.filter(wanted)
    keys = table["request_key"].to_pylist()
    columns = []
    for name in _STORED:
        column = table[name]
        columns.append((column.cast(pa.int64()) if name == "finished_at" else column).to_pylist())
    parsed = table["parsed"].combine_chunks() if measures else None
    for name in _LABEL_MEASURES:
        columns.append(pc.struct_field(parsed, name).to_pylist() if name in measures else [None] * len(keys))
    turns = TURNS_COLUMN.name
    columns.append(table[turns].to_pylist() if turns in table.column_names else [None] * len(keys))
    for key, *values in zip(keys, *columns, strict=True):
        yield EarlierAnswer(bytes.fromhex(key), source, *values)


def _result_answers(results: Iterable[Result], source: int) -> Iterator[EarlierAnswer]:
    for result in results:
        if result.status is Status.SUCCEEDED and result.request_key and (result.attempts or result.reused):
            values = [getattr(result, name) for name in (*_COLUMNS, *_NOT_EVERYWHERE)]
            yield EarlierAnswer(bytes.fromhex(result.request_key), source, *values)


def earlier_run(path: Path) -> EarlierRun:
    """Return the run in a directory. Raises `OutputError` where there is none, or it cannot be read."""
    found = _run_in(path)
    if found is None:
        raise OutputError(f"{path} holds no run whose answers could be reused: it is no output directory of batchgen.")
    return found


def _run_in(path: Path) -> EarlierRun | None:
    try:
        state = read_run_json(path)
        known = found_identity(path) if state is None else RunIdentity(state.run, state.fingerprints, state.published)
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error}. {mend(error)}") from error
    return EarlierRun(path, known, state) if known is not None and known.run else None


def stored_path(source: Path, directory: Path) -> str:
    """Return how `run.json` of `directory` names an earlier run: relative to the folder that both are in, if it is
    one folder, so that it may be moved."""
    return source.name if source.parent == directory.parent else str(source)


def stored_runs(names: Iterable[str], directory: Path, note: Callable[[str], None]) -> list[EarlierRun]:
    """Return the earlier runs that `run.json` of `directory` names; `note` is told of those that are gone.

    Raises `OutputError` for one that is there and cannot be read.
    """
    found = []
    for name in names:
        path = Path(os.path.normpath(directory.parent / name))
        run = _run_in(path)
        if run is not None:
            found.append(run)
        else:
            note(f"{path} is gone: what only it had an answer to is asked again.")
    return found
