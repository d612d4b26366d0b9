"""The answers of a run as columns to stand beside the rows that were asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batchgen.job.stored import read_stored_job
from batchgen.results.committed import Committed
from batchgen.results.flat import FlatRows
from batchgen.results.rows import ResultRows
from batchgen.storage.parts import row_numbers
from batchgen.storage.result_schema import RESULT_COLUMNS, Parsed
from batchgen.values import Result

_LEFT_OUT = ("row_id", "request_key")
_STREAMED = [
    name for name in RESULT_COLUMNS.names if name in Result.__struct_fields__ and name not in (*_LEFT_OUT, "status")
]


def answers_of(output: Path, asked: pa.Table) -> pa.Table:
    """Return the columns of the answers, a row for each row of `asked`; nulls where there is none yet."""
    if not Committed(output).parts:
        columns = [field for field in RESULT_COLUMNS if field.name not in _LEFT_OUT]
        found = pa.table([pa.nulls(asked.num_rows, field.type) for field in columns], schema=pa.schema(columns))
        return found.rename_columns(_free_names(found.column_names, asked.column_names))
    rows = ResultRows(output)
    flat = FlatRows(rows)
    wanted = [
        column.name for column in flat.columns if column.field is not None or column.column in RESULT_COLUMNS.names
    ]
    wanted = [name for name in wanted if name not in _LEFT_OUT]
    found = pa.Table.from_batches(flat.batches(), flat.schema).select(wanted)
    numbers = [number for run in rows.runs for part in run.parts for number in row_numbers(pq.ParquetFile(part))]
    if numbers != list(range(asked.num_rows)):
        places = pc.index_in(pa.array(range(asked.num_rows), pa.int64()), pa.array(numbers, pa.int64()))
        found = found.take(places)
    return found.rename_columns(_free_names(wanted, asked.column_names))


def _free_names(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Return names that none of the rows' own columns has: one that is taken gets `batchgen_` before it."""
    used = {*taken}
    free = []
    for name in names:
        new = name
        while new in used:
            new = f"batchgen_{new}"
        used.add(new)
        free.append(new)
    return free


class StoredAnswers:
    """Makes rows of results as they are stored, each with its row's own columns and its place `row` in the input."""

    def __init__(self, output: Path, asked: pa.Table) -> None:
        self._output = output
        self._asked = asked
        self._parsed: Parsed | None = None
        self._known = False

    def rows(self, results: Sequence[Result]) -> Iterator[dict[str, Any]]:
        """Yield the results in the order in which they were stored."""
        if not self._known:  # the run's `job.json` is there before its first result
            job = read_stored_job(self._output)
            self._parsed = None if job is None else job.parsed()
            self._known = True
        fields = [None] * len(results) if self._parsed is None else self._parsed.read(results).to_pylist()
        for result, parsed in zip(results, fields, strict=True):
            own = self._asked.slice(result.row, 1).to_pylist()[0]
            answer = {name: getattr(result, name) for name in _STREAMED}
            answer["cost"] = result.cost
            answer |= {"status": str(result.status), **(parsed or {})}
            names = _free_names([*answer], [*own, "row"])
            yield {"row": result.row, **own, **dict(zip(names, answer.values(), strict=True))}
