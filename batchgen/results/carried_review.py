"""What people said of the answers of earlier runs, kept where an updated run has the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from batchgen.errors import OutputError
from batchgen.files.compute import pc
from batchgen.results.corrections import Correction, ReviewFile, written
from batchgen.results.rows import ResultRows
from batchgen.text.arrow_values import shown_rows

_IDENTITY = ("finished_at", "request_id", "completion")


def carry_review(directory: Path, earlier: Sequence[Path]) -> int:
    """Keep the corrections of `earlier` runs in the run of `directory`; return how many, each once.

    A row is the same if it took the very answer that was checked; or if it has the same id (`input.id`), and all of its
    own columns that both runs carry are the same: what is right for it is so under another prompt, too. Corrections
    that are there already stay. Raises `OutputError`.
    """
    with_review = [one for one in earlier if ReviewFile(one).path.is_file()]
    if not with_review:
        return 0
    rows = ResultRows(directory)
    found: dict[tuple[str, str], Correction] = {}
    for source in reversed(with_review):  # the latest run last
        found |= {(one.row, one.field): one for one in _carried(rows, source)}
    return ReviewFile(directory).add_earlier(list(found.values()))


def _carried(rows: ResultRows, source: Path) -> Iterator[Correction]:
    said = ReviewFile(source).latest()
    try:
        before = ResultRows(source)
    except OutputError:
        return
    shared = [name for name in rows.carried if name in before.carried]
    named = shared if _has_id(rows) and _has_id(before) and len(shared) > 1 else []
    checked = {row["row_id"]: row for row in _rows_of(before, shared, row_id=[*said], finished_at=None)}
    answers = {_identity(row): row_id for row_id, row in checked.items() if row["finished_at"] is not None}
    times = [identity[0] for identity in answers]
    for row in _rows_of(rows, shared, row_id=[*said], finished_at=times):
        then = row["row_id"] if named and _same(row, checked.get(row["row_id"]), named) else None
        then = answers.get(_identity(row)) or then if row["reused"] else then
        for field, one in said.get(then, {}).items() if then is not None else ():
            fields = row.get("parsed") or {}
            was = written(row["completion"] if field == "completion" else fields.get(field))
            yield msgspec.structs.replace(one, row=row["row_id"], was=was)


def _rows_of(
    rows: ResultRows, columns: Sequence[str], *, row_id: list[str], finished_at: Any
) -> Iterator[dict[str, Any]]:
    """Yield the rows of these ids, and those that were finished at these times."""
    wanted = ["row_id", "reused", *_IDENTITY, rows.answer_column, *columns]
    for batch in rows.batches(wanted):
        mask = pc.is_in(batch.column("row_id"), pa.array(row_id, pa.string()))
        if finished_at:
            times = pa.array(finished_at, batch.schema.field("finished_at").type)
            mask = pc.or_(mask, pc.is_in(batch.column("finished_at"), times))
        yield from shown_rows(batch.filter(mask))


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _IDENTITY)


def _same(row: dict[str, Any], other: dict[str, Any] | None, columns: Sequence[str]) -> bool:
    return other is not None and all(written(row[name]) == written(other[name]) for name in columns)


def _has_id(rows: ResultRows) -> bool:
    """Whether rows have ids of their own: a row number says nothing once the input has changed."""
    job = rows.runs[0].job
    return job is not None and job.input.id is not None
