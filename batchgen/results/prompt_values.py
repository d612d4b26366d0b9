"""A row's values as its prompt was rendered from: from the results where they have them, else from the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from batchgen.errors import InputError, UsageError
from batchgen.job.stored import StoredJob
from batchgen.results.committed import Committed
from batchgen.results.rows import carried_columns
from batchgen.results.select import SelectedRow
from batchgen.source import Reading, Source
from batchgen.source.row_values import mark_whole, row_values


class PromptValues:
    """Reads the values of rows; the input of a run is opened once, and only where the results do not have all."""

    def __init__(self) -> None:
        self._sources: dict[Committed, Source] = {}

    def values(self, row: SelectedRow, columns: Sequence[str]) -> dict[str, Any]:
        """Return the row's values in these columns. Raises `UsageError` saying why they are not at hand."""
        assert row.run.job is not None
        schema = row.batch.schema
        missing = [name for name in columns if name not in carried_columns(schema)]
        if not missing and not any(pa.types.is_nested(schema.field(name).type) for name in columns):
            batch = row.batch.select(columns) if columns else row.batch
            return row_values(mark_whole(batch, row.run.job.whole_columns), columns)[0]
        try:
            return self._from_input(row, row.run.job, columns)
        except (UsageError, OSError, pa.ArrowException) as error:
            if missing:
                raise InputError(
                    f"not at hand: it needs the column {missing[0]}, which is not in the results (output.columns), and "
                    f"of the input is said: {error}"
                ) from None
            # an object's keys that were missing are nulls here
            return row_values(row.batch.select(columns), columns)[0]

    def _from_input(self, row: SelectedRow, job: StoredJob, columns: Sequence[str]) -> dict[str, Any]:
        source = self._sources.get(row.run)
        if source is None:
            source = self._sources[row.run] = _open(row.run, job)
        found = next(iter(source.batches(row.number, [name for name in source.columns if name in columns])), None)
        if found is None:
            raise InputError(f"{job.input.path} has no row {row.number} any more.")
        return row_values(found.table.slice(row.number - found.first_row, 1), columns)[0]


def _open(run: Committed, job: StoredJob) -> Source:
    """Open the input of a run. Raises `UsageError` where it is not the same any more."""
    reading = Reading(job.input.delimiter, job.input.encoding, job.input.quotes)
    source = Source.open(job.input.path, id_column=job.input.id, limit=job.input.limit, reading=reading)
    stamps = [tuple(stamp) for stamp in job.input_stamps]
    known = run.state.fingerprints.get("input") if run.state is not None else None
    if source.stamps != stamps and source.scan().fingerprint != known:
        raise InputError(f"{job.input.path} has changed since the run.")
    return source
