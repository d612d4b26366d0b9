"""The columns of a part: results to Arrow columns, and a part's rows to results again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.files.compute import pc
from batchgen.values import FailureKind, Result, Status

WORD = pa.dictionary(pa.int32(), pa.string())
MONEY = pa.decimal128(20, 12)
"""The cost of a row; twelve decimal places are `values.SMALLEST_AMOUNT`."""

MONEY_SUM = pa.decimal128(38, 12)
"""The cost of any number of rows together."""

RESULT_COLUMNS = pa.schema(
    [
        ("row_id", pa.string()),
        ("status", WORD),
        ("completion", pa.string()),
        ("reasoning", pa.string()),
        ("tool_calls", pa.string()),
        ("finish_reason", WORD),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("total_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("cost", MONEY),
        ("reported_cost", MONEY),
        ("model", pa.string()),
        ("request_id", pa.string()),
        ("attempts", pa.int32()),
        ("latency_ms", pa.float64()),
        ("http_status", pa.int16()),
        ("error_kind", WORD),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("finished_at", pa.timestamp("us", tz="UTC")),
        ("request_key", pa.string()),
        ("reused", pa.bool_()),
    ]
)
"""The result columns in their order; `parsed`, when there is one, comes after `tool_calls`."""


TURNS_COLUMN = pa.field("answer_turns", pa.string())
"""Comes after `parsed`: every answer of a row that took several, as a JSON list."""


ENDPOINT_COLUMN = pa.field("endpoint", WORD)
"""Comes last, where the job has several endpoints: the one that answered. In other jobs a carried column may be called
so."""


OWN_COLUMNS = frozenset({*RESULT_COLUMNS.names, "parsed", TURNS_COLUMN.name})
"""The names that no input column can have."""


_ADDED_SINCE = frozenset({"reported_cost", "request_key", "reused"})


_PARSED_AFTER = "tool_calls"


_FREE_TEXT = frozenset(
    {"row_id", "completion", "reasoning", "tool_calls", "request_id", "request_key", "error_message", "answer_turns"}
)


_LONGEST_WORD = 64  # bytes, on average


_LABEL_MEASURES = ("confidence", "agreement")


class Parsed(Struct, frozen=True):
    """The `parsed` column: its Arrow type and how the answers of a shard become it (same length, null where none)."""

    type: pa.DataType
    read: Callable[[Sequence[Result]], pa.Array]


class Layout(Struct, frozen=True):
    """The columns of a part: `carried` input columns (names and types), `id` the column that gives `row_id`.

    `endpoints`: results say which of several endpoints answered.
    """

    carried: pa.Schema
    id: str | None = None
    parsed: Parsed | None = None
    endpoints: bool = False


class PriceLabel(Struct, frozen=True):
    """Where a model's price comes from; all None when it has none."""

    currency: str | None = None
    date: date | None = None
    source: str | None = None


def portable(kind: pa.DataType) -> pa.DataType:
    """Return a type that all promised readers take, and to which Arrow casts without loss.

    A map is a list of {key, value}, which Hugging Face datasets needs.
    """
    if pa.types.is_map(kind):
        return pa.list_(pa.struct([("key", portable(kind.key_type)), ("value", portable(kind.item_type))]))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, portable(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(portable(kind.value_type))
    return kind


def as_portable(array: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Return a column with its portable type.

    Below a null Arrow may have words that do not exist; a cast would look at them and fail.
    """
    if array.type == kind:
        return array
    if isinstance(array, pa.ChunkedArray):  # of the input, which has no dictionaries
        return array.cast(kind)
    nulls = array.is_null()
    if pa.types.is_struct(kind):
        fields = [as_portable(found, field.type) for found, field in zip(array.flatten(), kind, strict=True)]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=nulls)
    if pa.types.is_map(array.type):
        members = pa.StructArray.from_arrays([array.keys, array.items], names=["key", "value"])
        return pa.ListArray.from_arrays(array.offsets, as_portable(members, kind.value_type), mask=nulls)
    if pa.types.is_list(array.type):
        return pa.ListArray.from_arrays(array.offsets, as_portable(array.values, kind.value_type), mask=nulls)
    return array.cast(kind)


def part_schema(layout: Layout) -> pa.Schema:
    """Return the columns of a part, carried ones first."""
    schema = pa.schema([(field.name, portable(field.type)) for field in layout.carried])
    for field in RESULT_COLUMNS:
        schema = schema.append(field)
        if field.name == _PARSED_AFTER and layout.parsed is not None:
            schema = schema.append(pa.field("parsed", portable(layout.parsed.type))).append(TURNS_COLUMN)
    return schema.append(ENDPOINT_COLUMN) if layout.endpoints else schema


def result_columns(
    rows: pa.Table, results: Sequence[Result], found: Mapping[str, Sequence[Any]], layout: Layout
) -> dict[str, pa.Array]:
    """Return the result columns by name, `rows` being the results' rows of the input, `found` their fields by column.

    Conversion is by column, which costs a third of conversion by row.
    """
    columns = {field.name: pa.array(found[field.name], field.type) for field in RESULT_COLUMNS if field.name in found}
    inputs, outputs = found["input_cost"], found["output_cost"]
    columns["cost"] = pa.array(
        [None if a is None or b is None else a + b for a, b in zip(inputs, outputs, strict=True)], MONEY
    )
    columns["finished_at"] = pa.array(found["finished_at_us"], RESULT_COLUMNS.field("finished_at").type)
    if layout.id is None:
        columns["row_id"] = pa.array(list(map(str, found["row"])), pa.string())
    else:
        columns["row_id"] = as_portable(rows.column(layout.id), pa.string())
    if layout.parsed is not None:
        columns["parsed"] = _parsed(results, layout.parsed)
        columns[TURNS_COLUMN.name] = pa.array(found[TURNS_COLUMN.name], TURNS_COLUMN.type)
    if layout.endpoints:
        columns[ENDPOINT_COLUMN.name] = pa.array(found[ENDPOINT_COLUMN.name], ENDPOINT_COLUMN.type)
    return columns


def _parsed(results: Sequence[Result], parsed: Parsed) -> pa.Array:
    """Return the `parsed` column; where an answer has what no column can hold, that row's is null."""
    try:
        return parsed.read(results)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        if len(results) <= 1:
            return pa.nulls(len(results), parsed.type)
        middle = len(results) // 2
        return pa.concat_arrays([_parsed(results[:middle], parsed), _parsed(results[middle:], parsed)])


def is_worded(name: str, table: pa.Table) -> bool:
    """Whether a column is worth a Parquet dictionary: hashing long texts costs 3 µs a row and saves nothing."""
    short = table.column(name).nbytes <= _LONGEST_WORD * table.num_rows
    return short and name not in _FREE_TEXT and name != "parsed"


def has_result_columns(schema: pa.Schema) -> bool:
    """Whether a part has the result columns in their order; parts of earlier versions lack what was added since."""
    own = [field for field in schema if field.name in RESULT_COLUMNS.names]
    expected = [f for f in RESULT_COLUMNS if f.name not in _ADDED_SINCE or schema.get_field_index(f.name) >= 0]
    after_cost = schema.names[schema.get_field_index("cost") + 1 :][:1]
    added = after_cost in (["reported_cost"], ["model"])
    return added and [(f.name, f.type) for f in own] == [(f.name, f.type) for f in expected]


def table_results(
    table: pa.Table, rows: Sequence[int], input_cost: Callable[[Result], Decimal | None]
) -> Iterator[Result]:
    """Yield a part's rows as results again; `rows` are their numbers.

    A part has only the row's cost: `input_cost` computes the input's share of it anew from the row's tokens; the rest
    is the output's, so that the total never changes. How sure a label is stands in `parsed`.
    """
    own = {*OWN_COLUMNS, *(ENDPOINT_COLUMN.name for name in table.column_names[-1:] if name == ENDPOINT_COLUMN.name)}
    names = [n for n in Result.__struct_fields__ if n in own and n in table.column_names]
    columns = [table.column(name).to_pylist() for name in names]
    kinds = columns[names.index("error_kind")]
    costs = table.column("cost").to_pylist()
    times = table.column("finished_at").cast(pa.int64()).to_pylist()
    measures = _label_measures(table)
    for place, values in enumerate(zip(*columns, strict=True)):
        fields = dict(zip(names, values, strict=True))
        fields["status"] = Status(fields["status"])
        fields.update((name, values[place]) for name, values in measures.items())
        fields["error_kind"] = None if kinds[place] is None else FailureKind(kinds[place])
        result = Result(row=rows[place], finished_at_us=times[place], **fields)
        cost = costs[place]
        if cost is not None:
            result = msgspec.structs.replace(result, input_cost=Decimal(0), output_cost=cost)
            share = min(max(input_cost(result) or Decimal(0), Decimal(0)), cost)
            result = msgspec.structs.replace(result, input_cost=share, output_cost=cost - share)
        yield result


def _label_measures(table: pa.Table) -> dict[str, list[float | None]]:
    """Return what `parsed` says of labels beside the label itself, by field of `Result`."""
    if table.schema.get_field_index("parsed") < 0:
        return {}
    fields = {field.name: field.type for field in table.schema.field("parsed").type}
    if not fields.keys() <= {"label", *_LABEL_MEASURES}:
        return {}  # a schema's own fields
    parsed = table.column("parsed").combine_chunks()
    names = [name for name in _LABEL_MEASURES if fields.get(name) == pa.float64()]
    return {name: pc.struct_field(parsed, name).to_pylist() for name in names}
