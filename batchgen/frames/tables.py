"""Tables of other libraries → Arrow, and results back beside the very rows that came in.

The rows are never rebuilt from Arrow where their library can put columns beside them: index, categories, decimals and
whatever else a column holds stay as they were. No library is imported that the caller has not imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from msgspec import Struct

from batchgen.errors import InputError
from batchgen.frames.refusals import check_names, unreadable

_KINDS = (
    "a pandas or polars data frame, an Arrow table, a DuckDB relation, a Hugging Face dataset, a list of dicts or of "
    "texts, or the path of a file"
)
_REFUSED = (pa.ArrowException, ValueError, TypeError, OverflowError)  # what Arrow says of values that it cannot hold
TEXT_COLUMN = "text"
"""The column that a list of texts becomes."""


class Rows(Struct, frozen=True):
    """Rows as Arrow, and how results are put beside them.

    `join(results, keep)` returns the rows that came in, as the same kind of table, with the columns of `results`;
    `keep` are the row numbers wanted, None for all.
    """

    table: pa.Table
    join: Callable[[pa.Table, Sequence[int] | None], Any]


def read_rows(rows: Any, index: str | None = None) -> Rows:
    """Return what a caller gave as rows. `index` names the column that is the id, which may be a pandas index.

    Raises `InputError` for what is no table, for columns that no file can hold, and for two columns of one name.
    """
    kind = type(rows)
    home = kind.__module__.partition(".")[0]
    if home == "pandas" and hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return _pandas(rows, index)
    if home == "polars":
        if kind.__name__ == "LazyFrame":
            rows = rows.collect()
        if hasattr(rows, "hstack"):
            objects = next((name for name, dtype in rows.schema.items() if str(dtype) == "Object"), None)
            if objects is not None:  # Arrow would get their addresses
                raise unreadable(objects, rows[objects], TypeError("these are Python objects"))
            oldest = sys.modules["polars"].CompatLevel.oldest()  # views of texts are more than files can hold
            try:
                table = _checked(rows.to_arrow(compat_level=oldest))
            except pa.ArrowException as error:  # such as Int128, which Arrow does not know
                raise InputError(f"The data frame cannot be read as a table: {error}. Cast that column.") from None
            return Rows(table, lambda results, keep: _polars_join(rows, results, keep))
    if home in ("duckdb", "_duckdb") and hasattr(rows, "arrow"):
        return _duckdb(rows)
    if home == "datasets" and hasattr(rows, "with_format"):
        return _dataset(rows)
    if isinstance(rows, (str, os.PathLike)):
        raise InputError(f"{rows} is a path; this call takes rows that are in memory.")
    if home in ("pandas", "polars"):
        raise InputError(f"The rows are a {kind.__name__}; make it a frame with a name for its column: .to_frame().")
    if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
        return _arrow(rows)
    if isinstance(rows, Iterable) and not isinstance(rows, (Mapping, bytes)):
        return _list([*rows])
    raise InputError(f"The rows are a {kind.__module__}.{kind.__qualname__}; expected is {_KINDS}.")


def _checked(table: pa.Table) -> pa.Table:
    check_names(table.column_names)
    return table.replace_schema_metadata(None)


def _from_stream(rows: Any) -> pa.Table:
    """Return a table from the Arrow stream interface; texts that are views become plain ones, which files can hold."""
    try:
        table = pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"The rows cannot be read as a table: {error}; expected is {_KINDS}.") from None
    return _checked(table.cast(pa.schema([field.with_type(_plain(field.type)) for field in table.schema])))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        inner = kind.value_field.with_type(_plain(kind.value_type))
        return pa.large_list(inner) if pa.types.is_large_list(kind) else pa.list_(inner)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _plain(kind.value_type), kind.ordered)
    return kind


def _arrow(rows: Any) -> Rows:
    table = _from_stream(rows)
    came = rows if isinstance(rows, pa.Table) else table  # a stream can be read once only

    def join(results: pa.Table, keep: Sequence[int] | None) -> pa.Table:
        joined = came
        for field, column in zip(results.schema, results.columns, strict=True):
            joined = joined.append_column(field, column)
        return joined if keep is None else joined.take(pa.array(keep, pa.int64()))

    return Rows(table, join)


def _pandas(frame: Any, index: str | None) -> Rows:
    pandas = sys.modules["pandas"]
    given = frame
    if index is not None and index not in frame.columns and index in frame.index.names:
        given = frame.reset_index(index)
    names = [str(name) for name in given.columns]
    check_names(names)
    plain = given.set_axis(names, axis="columns")
    sparse = next(
        (name for name, dtype in plain.dtypes.items() if hasattr(dtype, "subtype") and "Sparse" in str(dtype)), None
    )
    if sparse is not None:
        raise InputError(f'Column "{sparse}" is sparse: make it an ordinary one with .sparse.to_dense().')
    try:
        table = pa.Table.from_pandas(plain, preserve_index=False)
    except _REFUSED as whole:
        for name in names:
            try:
                pa.Table.from_pandas(plain[[name]], preserve_index=False)
            except _REFUSED as error:
                raise unreadable(name, plain[name], error) from None
        raise InputError(f"The data frame cannot be read as a table: {whole}.") from None

    def join(results: pa.Table, keep: Sequence[int] | None) -> Any:
        columns = results.to_pandas(types_mapper=_pandas_types(pandas))
        columns.index = frame.index
        joined = pandas.concat([frame, columns], axis="columns")
        return joined if keep is None else joined.iloc[[*keep]]

    return Rows(_checked(table), join)


def _pandas_types(pandas: Any) -> Callable[[pa.DataType], Any]:
    """Whole numbers, truth values and money with gaps must not become floats: those columns are of Arrow's types."""

    def dtype(kind: pa.DataType) -> Any:
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
            return pandas.ArrowDtype(kind)
        return None

    return dtype


def _polars_join(frame: Any, results: pa.Table, keep: Sequence[int] | None) -> Any:
    polars = sys.modules["polars"]
    joined = frame.hstack(polars.from_arrow(results))
    return joined if keep is None else joined[[*keep]]


def _duckdb(relation: Any) -> Rows:
    duckdb = sys.modules["duckdb"]
    rows = _arrow(relation)

    def join(results: pa.Table, keep: Sequence[int] | None) -> Any:
        return duckdb.from_arrow(rows.join(results, keep))

    return Rows(rows.table, join)


def _dataset(dataset: Any) -> Rows:
    datasets = sys.modules["datasets"]
    if isinstance(dataset, Mapping):
        names = ", ".join(map(str, dataset))
        raise InputError(f"The rows are a dictionary of datasets ({names}): give one of them, as in dataset[NAME].")
    if not hasattr(dataset, "select"):
        raise InputError(
            "A streamed dataset has no end that is known: take the rows first, for example with .take(1000)."
        )
    table = dataset.with_format("arrow")[:]  # the rows as selected, shuffled and filtered

    def join(results: pa.Table, keep: Sequence[int] | None) -> Any:
        beside = datasets.Dataset(datasets.table.InMemoryTable(_for_datasets(results)))
        joined = datasets.concatenate_datasets([dataset.with_format(None), beside], axis=1)
        return joined if keep is None else joined.select([*keep])

    return Rows(_from_stream(table), join)


def _for_datasets(results: pa.Table) -> pa.Table:
    """Return results with plain texts: the library takes no dictionary column without a value."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in results.schema
    ]
    return results.cast(pa.schema(fields))


def _list(items: list[Any]) -> Rows:
    """Return a list of dicts, whose keys may differ from row to row, or of texts."""
    if not items:
        raise InputError("There are no rows: the list is empty.")
    texts = bool(items) and all(isinstance(item, str) for item in items)
    rows: list[dict[str, Any]] = [{TEXT_COLUMN: item} for item in items] if texts else items
    wrong = next((place for place, item in enumerate(rows) if not isinstance(item, Mapping)), None)
    if wrong is not None:
        raise InputError(f"Row {wrong} of the rows is a {type(rows[wrong]).__name__}; expected is {_KINDS}.")
    names = [*dict.fromkeys(str(name) for row in rows for name in row)]
    check_names(names)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except _REFUSED as error:
            raise unreadable(name, values, error) from None

    def join(results: pa.Table, keep: Sequence[int] | None) -> list[dict[str, Any]]:
        answers = results.to_pylist()
        return [{**rows[place], **answers[place]} for place in (range(len(rows)) if keep is None else keep)]

    return Rows(_checked(pa.table(columns)), join)
