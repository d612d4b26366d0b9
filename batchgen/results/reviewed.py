"""Committed rows with what people said of them: corrected answers, and gold columns of the values they confirmed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from batchgen.errors import OutputError
from batchgen.results.committed import Committed
from batchgen.results.corrections import Correction, ReviewFile, read_value
from batchgen.results.rows import ResultRows
from batchgen.storage.own_files import REVIEW_FILE
from batchgen.text.arrow_values import python_values

Corrections = dict[str, dict[str, Correction]]


class ReviewedRows(ResultRows):
    """The rows of runs, their answers as people corrected them."""

    def __init__(self, *named: Path | str) -> None:
        super().__init__(*named)
        self._reviews = {run.directory: ReviewFile(run.directory).latest() for run in self.runs}

    def batches_of(self, run: Committed, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one of the runs."""
        for batch in super().batches_of(run, [*columns, "row_id"]):
            places = _places(batch, self._reviews[run.directory])
            corrected = _corrected(batch, places, self.answer_column) if places else batch
            yield _only(corrected, columns)


class GoldRows(ResultRows):
    """The rows of runs with a gold column for each field that people checked, named by `gold_name`.

    A row has gold where all of the fields that are asked for were checked.
    """

    def __init__(self, *named: Path | str) -> None:
        """Raise `OutputError` where nobody has checked anything."""
        super().__init__(*named)
        self._reviews = {run.directory: ReviewFile(run.directory).latest() for run in self.runs}
        types = self.parsed_fields or {"completion": pa.string()}
        checked = {field for review in self._reviews.values() for fields in review.values() for field in fields}
        self.checked = [field for field in types if field in checked]
        if not self.checked:
            raise OutputError(f"{self.name}: nothing is checked there yet ({REVIEW_FILE}); see batchgen view.")
        self._types = {
            gold_name(field): (field, kind.value_type if pa.types.is_dictionary(kind) else kind)
            for field, kind in types.items()
            if field in checked
        }
        for name, (_, kind) in self._types.items():
            self.schema = self.schema.append(pa.field(name, kind))

    def batches_of(self, run: Committed, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one of the runs."""
        wanted = [name for name in columns if name in self._types]
        fields = [self._types[name][0] for name in wanted]
        review = {
            row: found for row, found in self._reviews[run.directory].items() if all(field in found for field in fields)
        }
        for batch in super().batches_of(run, [*(name for name in columns if name not in self._types), "row_id"]):
            places = _places(batch, review)
            gold = [
                _replaced(pa.nulls(batch.num_rows, kind), places, field)
                for field, kind in (self._types[name] for name in wanted)
            ]
            whole = pa.RecordBatch.from_arrays([*batch.columns, *gold], names=[*batch.schema.names, *wanted])
            yield _only(whole, columns)


def gold_name(field: str) -> str:
    """Return the name of the gold column of what people said of a field."""
    return f"{REVIEW_FILE}: {field}"


def _only(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Return the columns that were asked for, in that order."""
    return batch.select([name for name in dict.fromkeys(columns) if name in batch.schema.names])


def _places(batch: pa.RecordBatch, review: Corrections) -> dict[int, dict[str, Correction]]:
    """Return place in the batch → what people said of that row."""
    if not review:
        return {}
    ids = batch.column("row_id")
    places = pc.indices_nonzero(pc.is_in(ids, pa.array([*review], pa.string()))).to_pylist()
    return {place: review[ids[place].as_py()] for place in places}


def _corrected(batch: pa.RecordBatch, places: dict[int, dict[str, Correction]], answer: str) -> pa.RecordBatch:
    index = batch.schema.get_field_index(answer)
    if index < 0:
        return batch
    column = batch.column(index)
    if answer == "completion":
        values = _replaced(column, places, answer)
    else:
        fields = [_replaced(pc.struct_field(column, one.name), places, one.name) for one in column.type]
        answered = [known or place in places for place, known in enumerate(column.is_valid().to_pylist())]
        values = pa.StructArray.from_arrays(fields, fields=[*column.type], mask=pc.invert(pa.array(answered)))
    return batch.set_column(index, batch.schema.field(index), values)


def _replaced(column: pa.Array, places: dict[int, dict[str, Correction]], field: str) -> pa.Array:
    said = {place: found[field] for place, found in places.items() if field in found}
    if not said:
        return column
    values = python_values(column)
    for place, one in said.items():
        values[place] = read_value(one.value, column.type)[0].as_py()
    return pa.array(values, column.type)
