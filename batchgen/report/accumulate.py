"""Published rows → sums, spreads and rows that stand out: a column at a time, one part in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import OutputError
from batchgen.files.arrow import arrow_file
from batchgen.files.compute import pc
from batchgen.files.disk_errors import REPEAT, unreadable
from batchgen.report.distribution import Distribution
from batchgen.report.timeline import Timeline
from batchgen.report.values import AttemptFigures, ErrorLine, Line, RowLine, Truncated
from batchgen.storage.result_schema import ENDPOINT_COLUMN, MONEY_SUM

_GROUP = ["model", "status", "finish_reason", "error_kind"]
_TOKENS = ["input_tokens", "output_tokens", "total_tokens", "cached_tokens", "reasoning_tokens"]
_SUMMED = ["attempts", *_TOKENS, "cost", "reported_cost"]
_ERROR = ["error_kind", "http_status", "error_code"]
COLUMNS = [
    "row_id",
    *_GROUP,
    *_SUMMED,
    "latency_ms",
    "http_status",
    "error_code",
    "error_message",
    "finished_at",
    "reused",
]
"""What is read of a part; the answers are not."""

_BATCH_ROWS = 50_000
_ROWS_SHOWN = 10
_IDS_SHOWN = 20
_MOST_ERRORS = 40
_MESSAGE_CAP = 300


def part_batches(paths: Iterable[Path]) -> Iterator[pa.Table]:
    """Yield the columns of the parts in order, dictionaries as plain text. Raises `OutputError` for a damaged part."""
    for path in paths:
        try:
            with pq.ParquetFile(arrow_file(path)) as file:
                own = file.schema_arrow.names[-1:] == [ENDPOINT_COLUMN.name]  # else it is a column of the input
                columns = [*COLUMNS, ENDPOINT_COLUMN.name] if own else COLUMNS
                for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                    yield _plain(pa.Table.from_batches([batch]))
        except FileNotFoundError:
            continue  # taken back by a run that goes on
        except (pa.ArrowException, OSError, KeyError) as error:
            raise OutputError(unreadable(path, error, REPEAT)) from None


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with dictionaries resolved (those of two batches differ) and money wide enough for sums.

    Parts of earlier versions have no reported costs, and do not say which answers are reused: none.
    """
    if "reused" not in table.column_names:
        table = table.append_column("reused", pa.repeat(False, table.num_rows))
    if "reported_cost" not in table.column_names:
        table = table.append_column("reported_cost", pa.nulls(table.num_rows, MONEY_SUM))
    fields = []
    for field in table.schema:
        if pa.types.is_dictionary(field.type):
            fields.append(field.with_type(field.type.value_type))
        else:
            fields.append(field.with_type(MONEY_SUM) if field.name in ("cost", "reported_cost") else field)
    return table.cast(pa.schema(fields))


class Fold:
    """Sums over batches of result rows, of constant size.

    `slowest` rows are those whose last attempt took longest, `truncated` answers those that were cut at their longest
    allowed length.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.timeline = Timeline()
        self.input_tokens = Distribution(whole=True)
        self.output_tokens = Distribution(whole=True)
        self.latency_ms = Distribution(whole=False)
        self.cost = Distribution(whole=False)
        self.slowest: list[RowLine] = []
        self.most_expensive: list[RowLine] = []
        self.truncated = Truncated()
        self._lines: dict[tuple[str | None, ...], Line] = {}
        self._errors: dict[tuple[str | None, int | None, str | None], ErrorLine] = {}
        self._by_attempts: dict[int, int] = {}

    def add(self, batch: pa.Table) -> None:
        """Count the rows of a batch from `part_batches`."""
        self.rows += batch.num_rows
        # What an earlier run was answered says nothing of this one.
        asked = batch.filter(pc.invert(pc.fill_null(batch["reused"], False)))
        self.timeline.add(asked)
        self.input_tokens.add(batch["input_tokens"])
        self.output_tokens.add(batch["output_tokens"])
        self.latency_ms.add(asked["latency_ms"])
        self.cost.add(asked["cost"])
        self._add_lines(batch)
        self._add_errors(batch.filter(pc.equal(batch["status"], "failed")))
        self.slowest = _top(self.slowest, asked, "latency_ms", lambda row: row.latency_ms)
        self.most_expensive = _top(self.most_expensive, batch, "cost", lambda row: row.cost)
        self._add_truncated(batch.filter(pc.equal(batch["finish_reason"], "length")))
        for pair in pc.value_counts(asked["attempts"].drop_null()).to_pylist():
            self._by_attempts[pair["values"]] = self._by_attempts.get(pair["values"], 0) + pair["counts"]

    def _add_lines(self, batch: pa.Table) -> None:
        group = [*_GROUP, ENDPOINT_COLUMN.name] if batch.column_names[-1] == ENDPOINT_COLUMN.name else _GROUP
        sums = batch.group_by(group).aggregate([([], "count_all"), *((name, "sum") for name in _SUMMED)])
        for found in sums.to_pylist():
            line = Line(
                **{name: found[name] for name in group},
                **{name: found[f"{name}_sum"] for name in _SUMMED},
                rows=found["count_all"],
            )
            key = (line.model, line.status, line.finish_reason, line.error_kind, line.endpoint)
            self._lines[key] = added(self._lines[key], line) if key in self._lines else line

    def _add_errors(self, failed: pa.Table) -> None:
        if not failed.num_rows:
            return
        grouped = failed.group_by(_ERROR, use_threads=False).aggregate(
            [([], "count_all"), ("row_id", "first"), ("error_message", "first")]
        )
        for found in grouped.to_pylist():
            message = found["error_message_first"]
            line = ErrorLine(
                kind=found["error_kind"],
                http_status=found["http_status"],
                code=found["error_code"],
                rows=found["count_all"],
                row_id=found["row_id_first"],
                message=message[:_MESSAGE_CAP] if message else message,
            )
            key = (line.kind, line.http_status, line.code)
            if key not in self._errors and len(self._errors) >= _MOST_ERRORS:  # a vendor that puts an id into its codes
                line = msgspec.structs.replace(line, http_status=None, code="(other codes)")
                key = (line.kind, None, line.code)
            before = self._errors.get(key)
            self._errors[key] = (
                line if before is None else msgspec.structs.replace(before, rows=before.rows + line.rows)
            )

    def _add_truncated(self, rows: pa.Table) -> None:
        if rows.num_rows:
            before = self.truncated
            ids = [*before.first_ids, *rows["row_id"].slice(0, _IDS_SHOWN - len(before.first_ids)).to_pylist()]
            self.truncated = Truncated(before.rows + rows.num_rows, ids)

    def lines(self) -> list[Line]:
        """Return the sums by model, status, finish reason and error kind."""
        return list(self._lines.values())

    def errors(self) -> list[ErrorLine]:
        """Return the failed rows by kind, HTTP status and code, most frequent first."""
        return sorted(self._errors.values(), key=lambda line: (-line.rows, str(line.kind), str(line.code)))

    def attempts(self) -> AttemptFigures:
        """Return the requests that the rows took."""
        numbers = sorted(self._by_attempts.items())
        return AttemptFigures(
            sent=sum(number * rows for number, rows in numbers),
            wasted=sum((number - 1) * rows for number, rows in numbers if number > 1),
            retried_rows=sum(rows for number, rows in numbers if number > 1),
            by_number=dict(numbers),
        )


def added(one: Line, other: Line) -> Line:
    """Return the sums of both, under the words of the first; None counts as nothing, as SQL's `sum` has it."""

    def plus(a: Any, b: Any) -> Any:
        return b if a is None else a if b is None else a + b

    sums = {name: plus(getattr(one, name), getattr(other, name)) for name in (*_SUMMED, "rows")}
    return msgspec.structs.replace(one, **sums)


def _top(
    before: list[RowLine], batch: pa.Table, column: str, rank: Callable[[RowLine], float | Decimal | None]
) -> list[RowLine]:
    """Return the rows with the largest values so far, largest first; rows without a value never count."""
    valued = batch.filter(pc.is_valid(batch[column]))
    if not valued.num_rows:
        return before  # before pyarrow 26, `select_k_unstable` fails on an empty table
    chosen = valued.take(pc.select_k_unstable(valued, _ROWS_SHOWN, [(column, "descending")]))
    lines = [RowLine(**row) for row in chosen.select(RowLine.__struct_fields__).to_pylist()]
    return sorted([*before, *lines], key=lambda row: (-(rank(row) or 0), row.row_id))[:_ROWS_SHOWN]
