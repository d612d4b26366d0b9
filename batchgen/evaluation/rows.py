"""The published rows of a run, streamed: only the columns asked for, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import InputError, OutputError
from batchgen.files.arrow import arrow_file
from batchgen.storage.parts import published_parts
from batchgen.storage.result_schema import RESULT_COLUMNS
from batchgen.storage.run_state import read_run_json
from batchgen.text.columns import missing_column

_BATCH_ROWS = 20_000
_BATCH_BYTES = 16 * 1024 * 1024


class PublishedRows:
    """The results of an output directory, in input order; `schema` is that of its parts."""

    def __init__(self, directory: Path | str) -> None:
        """Raise `OutputError` when nothing has been published there or a part cannot be opened."""
        self.directory = Path(directory)
        results = self.directory / "results" if (self.directory / "results").is_dir() else self.directory
        state = read_run_json(self.directory)
        self._parts = published_parts(results, state.run if state is not None else "")
        if not self._parts:
            raise OutputError(f"{directory}: no part has been published there yet; run the job first.")
        self.schema: pa.Schema = _opened(self._parts[0]).schema_arrow
        self.rows = sum(_opened(part).metadata.num_rows for part in self._parts)

    @property
    def carried(self) -> list[str]:
        """The input columns that were carried into the results."""
        return [name for name in self.schema.names if name not in RESULT_COLUMNS.names and name != "parsed"]

    @property
    def answer_column(self) -> str:
        """The column that holds the answers: `parsed`, or the completion when the job had no `[response]`."""
        return "parsed" if "parsed" in self.schema.names else "completion"

    @property
    def parsed_fields(self) -> dict[str, pa.DataType]:
        """The fields of `parsed` and their types, none when the job had no `[response]`."""
        return (
            {field.name: field.type for field in self.schema.field("parsed").type}
            if "parsed" in self.schema.names
            else {}
        )

    def check_carried(self, columns: Sequence[str]) -> None:
        """Raise `InputError` for a column that the results do not have."""
        for column in columns:
            if column not in self.carried:
                raise InputError(
                    f"{self.directory}: {missing_column(column, self.carried)} "
                    "Gold columns have to be among output.columns of the job."
                )

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches of about 16 MB, every page checked. Raises `OutputError` for a damaged part."""
        names = list(dict.fromkeys(name for name in columns if name in self.schema.names))
        for part in self._parts:
            file = _opened(part)
            try:
                for group in range(file.num_row_groups):
                    found = file.metadata.row_group(group)
                    at_once = max(1, min(_BATCH_ROWS, _BATCH_BYTES * found.num_rows // max(1, found.total_byte_size)))
                    yield from file.iter_batches(at_once, row_groups=[group], columns=names)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise OutputError(f"{part} is damaged ({error}). Run the job again to do its rows anew.") from None


def _opened(part: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(arrow_file(part), page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OutputError(f"{part} cannot be read ({error}). Run the job again to do its rows anew.") from None
