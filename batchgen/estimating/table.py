"""`estimate.parquet`: a row for each input row, and the estimate as a whole in the file's metadata.

The rows are counted before it is known how long answers are; until then they are kept in a temporary file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import OutputError
from batchgen.estimating.histogram import Asked, CountedRow
from batchgen.estimating.values import Estimate
from batchgen.files.arrow import arrow_file
from batchgen.files.modes import make_directory
from batchgen.files.replace import named_file
from batchgen.storage.own_files import ESTIMATE_FILE
from batchgen.storage.result_schema import MONEY
from batchgen.values import SMALLEST_AMOUNT

Expected = Callable[[int, CountedRow], tuple[float | None, Decimal | None]]
"""Takes the number of a row and its count; returns its expected output tokens and cost."""

_METADATA = b"batchgen.estimate"
_SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.float64()),
        ("cost", MONEY),
    ]
)
_COUNTED = pa.schema(
    [
        ("row_id", pa.string()),
        ("tokens", pa.int64()),
        ("answer", pa.int64()),
        ("asked", pa.int32()),
        ("spoken", pa.int64()),
    ]
)


class EstimateTable:
    """Collects counted rows (`add`), then writes each with its expected cost (`write`)."""

    def __init__(self, directory: Path) -> None:
        """Create the directory. Raises `OutputError` if it cannot be written to."""
        self._directory = directory
        self._asked: dict[Asked, int] = {}
        try:
            make_directory(directory)
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  (closed by __exit__)
        except OSError as error:
            raise OutputError(f"{directory} cannot be written: {error}. Choose another --output.") from error
        self._writer = pa.ipc.new_stream(self._file, _COUNTED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._file.close()

    def add(self, ids: pa.Array, rows: list[CountedRow | str | None]) -> None:
        """Add consecutive rows; a string stands for a row without a prompt, None for one with an earlier answer."""
        known = [row if isinstance(row, CountedRow) else None for row in rows]
        columns = [
            ids,
            pa.array([row and row.tokens for row in known], pa.int64()),
            pa.array([row and row.answer for row in known], pa.int64()),
            pa.array([row and self._asked.setdefault(row.asked, len(self._asked)) for row in known], pa.int32()),
            pa.array([row and row.spoken for row in known], pa.int64()),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=_COUNTED))

    def write(self, estimate: Estimate, expected: Expected) -> Path:
        """Write the file, which appears complete, and return its path; `expected` gives the output tokens and cost of a
        row."""
        self._writer.close()
        self._file.seek(0)
        asked = list(self._asked)
        path = self._directory / ESTIMATE_FILE
        with (
            named_file(path) as file,
            pa.ipc.open_stream(self._file) as counted,
            pq.ParquetWriter(pa.PythonFile(file, "w"), _SCHEMA, compression="zstd") as writer,
        ):
            first_row = 0
            for batch in counted:
                writer.write_batch(_priced(batch, first_row, asked, expected))
                first_row += batch.num_rows
            writer.add_key_value_metadata({_METADATA: estimate.to_json()})
        return path


def _priced(batch: pa.RecordBatch, first_row: int, asked: list[Asked], expected: Expected) -> pa.RecordBatch:
    tokens: list[float | None] = []
    costs: list[Decimal | None] = []
    columns = [batch.column(place).to_pylist() for place in (1, 2, 3, 4)]
    for number, (count, answer, index, spoken) in enumerate(zip(*columns, strict=True), first_row):
        if count is None:
            tokens.append(None)
            costs.append(None)
            continue
        output_tokens, cost = expected(number, CountedRow(asked[index], count, answer, spoken=spoken))
        tokens.append(output_tokens)
        costs.append(None if cost is None else cost.quantize(SMALLEST_AMOUNT))
    put_in = [
        None if count is None else count * asked[index].votes
        for count, index in zip(columns[0], columns[2], strict=True)
    ]
    arrays = [
        batch.column(0),
        pa.array(put_in, pa.int64()),
        pa.array(tokens, pa.float64()),
        pa.array(costs, _SCHEMA.field(3).type),
    ]
    return pa.record_batch(arrays, schema=_SCHEMA)


def read_table_estimate(directory: Path) -> Estimate | None:
    """Return the estimate in a directory's table; None if it has no table. Raises `OutputError` for a damaged one."""
    path = directory / ESTIMATE_FILE
    if not path.is_file():
        return None
    try:
        metadata: Mapping[bytes, bytes] = pq.read_metadata(arrow_file(path)).metadata or {}
        return msgspec.json.decode(metadata[_METADATA], type=Estimate)
    except (pa.ArrowException, OSError, KeyError, msgspec.MsgspecError) as error:
        raise OutputError(f"{path} is not an estimate of batchgen ({error}).") from None
