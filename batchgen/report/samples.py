"""Single rows of a report with their own texts: the first answer, the first failures, the rows that are named.

`parts` are those of a run (`results.committed`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.files.arrow import arrow_file
from batchgen.files.compute import pc
from batchgen.report.values import SampleRow
from batchgen.storage.result_schema import OWN_COLUMNS
from batchgen.text.figures import plain

_MOST_LETTERS = 1_500


def first_answer(parts: Iterable[Path], *, without: Collection[str] = ()) -> list[SampleRow]:
    """Return the first row that has an answer, as a list of one; an empty list where no part can be read."""
    for file, group, texts in _groups(parts):
        table = file.read_row_group(group, ["row_id", "status", "completion", *texts])
        succeeded = pc.equal(table["status"].cast(pa.string()), "succeeded")
        answered = table.filter(pc.and_(succeeded, pc.is_valid(table["completion"])))
        if answered.num_rows:
            return list(_samples(answered.slice(0, 1), without))
    return []


def first_failed(parts: Iterable[Path], wanted: int = 5) -> list[str]:
    """Return a line for each of the first rows that failed, with why; none where no part has them."""
    lines: list[str] = []
    columns = ["row_id", "status", "error_kind", "error_message"]
    for file, group, _ in _groups(parts):
        table = file.read_row_group(group, columns)
        failed = table.filter(pc.equal(table["status"].cast(pa.string()), "failed")).slice(0, wanted - len(lines))
        lines += [
            f"row {plain(row['row_id'], 60)}: {row['error_kind']}: {plain(row['error_message'] or '', 160)}"
            for row in failed.to_pylist()
        ]
        if len(lines) >= wanted:
            break
    return lines


def texts_of(parts: Iterable[Path], row_ids: Collection[str], *, without: Collection[str] = ()) -> dict[str, str]:
    """Return what was asked in the rows of these ids, as far as their input columns are carried: all but `without`."""
    wanted = pa.array(sorted(row_ids), pa.string())
    found: dict[str, str] = {}
    for file, group, texts in _groups(parts):
        named = pc.is_in(file.read_row_group(group, ["row_id"])["row_id"], value_set=wanted)
        if pc.any(named).as_py():
            chosen = file.read_row_group(group, ["row_id", "completion", *texts]).filter(named)
            found |= {one.row_id: one.asked for one in _samples(chosen, without) if one.asked}
        if len(found) == len(wanted):
            break
    return found


def _groups(parts: Iterable[Path]) -> Iterator[tuple[pq.ParquetFile, int, list[str]]]:
    """Yield the row groups of the parts in order, each with its file and the names of the carried text columns."""
    for path in parts:
        try:
            with pq.ParquetFile(arrow_file(path)) as file:
                texts = [
                    field.name
                    for field in file.schema_arrow
                    if field.name not in OWN_COLUMNS and pa.types.is_string(field.type)
                ]
                for group in range(file.num_row_groups):
                    yield file, group, texts
        except (OSError, pa.ArrowException, KeyError):
            return  # a damaged part is named where its figures are read


def _samples(table: pa.Table, without: Collection[str]) -> Iterator[SampleRow]:
    for row in table.to_pylist():
        texts = {
            name: text.strip()[:_MOST_LETTERS]
            for name, text in row.items()
            if name not in OWN_COLUMNS and name not in without and text and text.strip()
        }
        asked = (
            "\n".join(f"{name}: {text}" for name, text in texts.items()) if len(texts) > 1 else "".join(texts.values())
        )
        yield SampleRow(row["row_id"], asked or None, (row["completion"] or "")[:_MOST_LETTERS])
