"""Parquet: columns as they are typed, except that a column is never wider than it says.

Types are made plain, so that files of different writers agree: dictionaries are decoded, large and view strings become
strings. UUIDs and JSON become strings too; other extension types are carried as they are stored, and no prompt is made
of them. Files whose types differ get one that holds both. A string that is not UTF-8 costs its row only.

Memory: row groups are read page by page, in batches as small as the average row asks for. A column chunk that
repeats long values (a 50 KB file can mean 300 GB) is read as a dictionary and cut before it is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import sub
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.errors import InputError
from batchgen.files.compute import pc
from batchgen.source.file import File, check_unchanged
from batchgen.source.reader import BATCH_BYTES, BATCH_ROWS, Piece, check_agreement, check_names
from batchgen.stores.remote_file import RemoteReadError
from batchgen.text.arrow_values import map_type
from batchgen.text.figures import quantity

_PAGE_BUFFER_BYTES = 1 << 20
_REMOTE_BUFFER_BYTES = 4 << 20  # a request to a store takes as long as a few megabytes
_DICTIONARY_BYTES = 8 * 1024 * 1024
"""A chunk with a dictionary and no more than this beside 4 bytes an index may be nothing but repetition."""

_LONG_BYTES = BATCH_BYTES // BATCH_ROWS
"""Shorter values cannot pass the bound of a batch, however often they are repeated."""


class ParquetReader:
    """Parquet files."""

    proven = False
    whole: frozenset[str] = frozenset()

    def __init__(self, files: Sequence[File]) -> None:
        self._metadata: dict[str, pq.FileMetaData] = {}
        self.unreadable: dict[str, str] = {}
        self._own = {file.name: self._open(file) for file in files}
        self.schema = self._own[files[0].name]
        for file in files[1:]:
            self.schema = _united(self.schema, self._own[file.name])
            check_agreement((files[0], self.schema), (file, _fitted(self._own[file.name], self.schema)))

    def rows(self, file: File) -> int | None:
        rows: int = self._metadata[file.name].num_rows
        return rows

    def how(self, file: File) -> str:
        return "Parquet"

    def read(self, file: File, skip: int, most: int, columns: Sequence[str]) -> Iterator[Piece]:
        metadata = self._metadata[file.name]
        schema = pa.schema([self.schema.field(name) for name in columns])
        own = pa.schema([self._own[file.name].field(name) for name in columns])
        first = 0  # row of the file that the group begins with
        try:
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                if first + rows > skip and first < skip + most:
                    place = max(skip, first)
                    for table in _group(file, metadata, group, place - first, columns):
                        if place >= skip + most:
                            return
                        table = table.slice(0, skip + most - place)  # noqa: PLW2901
                        for piece in _pieces(table, own, f"{file.name}, row ", place):
                            yield piece if own == schema else _widened(piece, schema, file)
                        place += table.num_rows
                    if place < min(first + rows, skip + most):
                        raise InputError(
                            f"{file.path} is damaged: its row group {group} should have {quantity(rows, 'row')}, and "
                            f"{place - first:,} can be read. Write it anew."
                        )
                first += rows
        except RemoteReadError as error:
            raise InputError(f"{error} Leave the input alone during a run." if error.changed else str(error)) from error
        except (pa.ArrowException, OSError) as error:
            check_unchanged(file)
            raise InputError(f"{file.path} is damaged: {_first_line(error)}. Write it anew.") from error

    def _open(self, file: File) -> pa.Schema:
        try:
            with pq.ParquetFile(file.arrow()) as parquet:
                self._metadata[file.name] = parquet.metadata
                found = parquet.schema_arrow
        except RemoteReadError as error:
            raise InputError(str(error)) from error
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file.path} is not a readable Parquet file: {_first_line(error)}.") from error
        check_names(found.names, file.path)
        for field in found:
            if (name := _foreign_extension(field)) is not None:
                self.unreadable[field.name] = f'column "{field.name}" of {file.path} has the extension type {name}'
        return pa.schema([(field.name, map_type(field.type, _plain_leaf)) for field in found])


def _plain_leaf(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, (pa.UuidType, pa.JsonType)):
        return pa.string()
    if isinstance(kind, pa.Bool8Type):
        return pa.bool_()
    if isinstance(kind, pa.BaseExtensionType):
        return map_type(kind.storage_type, _plain_leaf)
    if pa.types.is_dictionary(kind):
        return _plain_leaf(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return kind


def _foreign_extension(field: pa.Field) -> str | None:
    """Return the extension type in a column, at any depth, whose values only its own program can read."""
    kind = field.type
    if isinstance(kind, (pa.UuidType, pa.JsonType, pa.Bool8Type)):
        return None
    if isinstance(kind, pa.BaseExtensionType):
        return str(kind.extension_name)
    name = (field.metadata or {}).get(b"ARROW:extension:name")
    if name is not None:
        return str(name.decode("utf-8", "replace"))
    below = (_foreign_extension(kind.field(index)) for index in range(kind.num_fields))
    return next((name for name in below if name is not None), None)


def _common_type(first: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return a type that holds the values of both, or None.

    Parts of one table differ where a column is empty in one of them, has no fraction, or has its fields in another
    order.
    """
    if first == other:
        return first
    try:
        pair = [pa.schema([("x", first)]), pa.schema([("x", other)])]
        found = pa.unify_schemas(pair, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None
    return None if _holds_binary(found) and not (_holds_binary(first) and _holds_binary(other)) else found


def _united(first: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Return `first` with each type made wide enough for the column of that name in `other`, where that is possible."""
    return pa.schema(
        [
            (field.name, (_common_type(field.type, other.field(field.name).type) or field.type))
            if field.name in other.names
            else field
            for field in first
        ]
    )


def _fitted(own: pa.Schema, united: pa.Schema) -> pa.Schema:
    """Return a file's schema with the united type in each column that fits it."""
    return pa.schema(
        [
            (field.name, united.field(field.name).type)
            if field.name in united.names and _common_type(united.field(field.name).type, field.type) is not None
            else field
            for field in own
        ]
    )


def _holds_binary(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_binary(kind.field(index).type) for index in range(kind.num_fields))
    return bool(pa.types.is_binary(kind))


def _widened(piece: Piece, schema: pa.Schema, file: File) -> Piece:
    """Give a piece the types that all files share."""
    arrays = []
    for array, field in zip(piece.table.columns, schema, strict=True):
        try:
            arrays.append(pc.cast(array, field.type))
        except pa.ArrowException as error:
            raise InputError(
                f'{file.path}: column "{field.name}" does not fit the type {field.type} that the other files need '
                f"({_first_line(error)}). Write all files with one type."
            ) from error
    return Piece(pa.RecordBatch.from_arrays(arrays, schema=schema), piece.problems)


def _group(
    file: File, metadata: pq.FileMetaData, group: int, skip: int, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield one row group after its first `skip` rows, in bounded batches, repeated strings still as dictionaries."""
    facts = metadata.row_group(group)
    chunks = [facts.column(index) for index in range(facts.num_columns)]
    wanted = [
        chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in {name.split(".")[0] for name in columns}
    ]
    repeated = [
        chunk.path_in_schema
        for chunk in wanted
        if _may_repeat(chunk) and _has_long_values(file, metadata, group, chunk.path_in_schema)
    ]
    size = sum(chunk.total_uncompressed_size for chunk in wanted)
    batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES * facts.num_rows // max(1, size)))
    # pre_buffer would load the whole row group, and without a buffer size each column chunk would be loaded whole
    with pq.ParquetFile(
        file.arrow(),
        metadata=metadata,
        read_dictionary=repeated,
        buffer_size=_PAGE_BUFFER_BYTES if file.remote is None else _REMOTE_BUFFER_BYTES,
        pre_buffer=False,
    ) as parquet:
        for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=list(columns), use_threads=False):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            yield batch.slice(skip).select(columns)
            skip = 0


def _may_repeat(chunk: Any) -> bool:
    return bool(
        chunk.physical_type == "BYTE_ARRAY"
        and chunk.has_dictionary_page
        and chunk.total_uncompressed_size <= _DICTIONARY_BYTES + 4 * chunk.num_values
    )


def _has_long_values(file: File, metadata: pq.FileMetaData, group: int, path: str) -> bool:
    """Whether a chunk's dictionary, which comes before its first value, holds a long one.

    Reading every dictionary column as such would do too, but costs 50 MB for a column of unique ids, measured.
    """
    with pq.ParquetFile(
        file.arrow(), metadata=metadata, read_dictionary=[path], buffer_size=_PAGE_BUFFER_BYTES, pre_buffer=False
    ) as parquet:
        first = next(parquet.iter_batches(1, row_groups=[group], columns=[path], use_threads=False), None)
    return first is not None and any(
        _longest(dictionary) > _LONG_BYTES for array in first.columns for dictionary in _dictionaries(array)
    )


def _dictionaries(array: pa.Array) -> Iterator[pa.Array]:
    """Yield the dictionaries in an array, at any depth."""
    if pa.types.is_dictionary(array.type):
        yield array.dictionary
    elif pa.types.is_struct(array.type):
        for index in range(array.type.num_fields):
            yield from _dictionaries(array.field(index))
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from _dictionaries(array.values)


def _longest(texts: pa.Array) -> int:
    """Return the bytes of a dictionary's longest text; without `pyarrow.compute`, as nearly all inputs have one."""
    if not len(texts):
        return 0
    wide = pa.types.is_large_string(texts.type) or pa.types.is_large_binary(texts.type)
    ends: Any = memoryview(texts.buffers()[1]).cast("q" if wide else "i")
    ends = ends[texts.offset : texts.offset + len(texts) + 1]
    return int(max(map(sub, ends[1:], ends)))


def _pieces(batch: pa.RecordBatch, schema: pa.Schema, where: str, place: int) -> Iterator[Piece]:
    """Cut a batch until its parts are small when decoded, then give the parts their plain types and check them."""
    if batch.num_rows > 1 and _decoded_bytes(batch) > BATCH_BYTES:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half), schema, where, place)
        yield from _pieces(batch.slice(half), schema, where, place + half)
        return
    problems: dict[int, str] = {}
    arrays = []
    for name, array, kind in zip(schema.names, batch.columns, schema.types, strict=True):
        plain = _plain(array, kind)
        try:
            plain.validate(full=True)
        except pa.ArrowInvalid:
            plain = _mended(plain, name, where, place, problems)
        arrays.append(plain)
    yield Piece(pa.RecordBatch.from_arrays(arrays, schema=schema), problems)


def _plain(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if _holds_extension(array.type):
        return _without_extensions(array, kind)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    elif pa.types.is_nested(array.type):
        with suppress(pa.ArrowNotImplementedError):  # of lists of string views
            array = pc.take(array, pa.array(range(len(array))))  # a cast would decode all that the slice was cut from
    return array if array.type == kind else pc.cast(array, kind, safe=False)  # unsafe: bad UTF-8 is found afterwards


def _holds_extension(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) or (
        pa.types.is_nested(kind) and any(_holds_extension(kind.field(index).type) for index in range(kind.num_fields))
    )


def _without_extensions(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the values of the extension types that are known here as text or boolean, of others as they are stored."""
    if isinstance(array.type, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], kind)
    if isinstance(array.type, pa.BaseExtensionType):
        return _plain(array.storage, kind)
    return pa.array(_stored(array.to_pylist()), kind)


def _stored(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: _stored(member) for key, member in value.items()}
    return [_stored(member) for member in value] if isinstance(value, list) else value


def _decoded_bytes(batch: pa.RecordBatch) -> int:
    return sum(_array_bytes(array) for array in batch.columns)


def _array_bytes(array: pa.Array) -> int:
    """Return how many bytes an array has once its dictionaries, at any depth, are decoded."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if _plain_leaf(kind) not in (pa.string(), pa.binary()):
            return int(array.nbytes)
        lengths = pc.binary_length(pc.cast(array.dictionary, pa.large_binary()))
        return int(pc.sum(lengths.cast(pa.int64()).take(array.indices)).as_py() or 0) + 4 * len(array)
    if pa.types.is_struct(kind):
        return sum(_array_bytes(member) for member in array.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _array_bytes(array.flatten()) + 4 * len(array)
    return int(array.nbytes)


def _mended(array: pa.Array, column: str, where: str, place: int, problems: dict[int, str]) -> pa.Array:
    """Return a column without the text that is not UTF-8 (U+FFFD for it, null for a nested value); note its rows."""
    values: list[Any] = []
    for index in range(len(array)):
        one = pc.take(array, pa.array([index]))  # a slice of a list would still hold its neighbours' values
        detail = None
        if pa.types.is_string(array.type):
            data = one.view(pa.binary())[0].as_py()
            try:
                value = None if data is None else data.decode()
            except UnicodeDecodeError as error:
                value = data.decode("utf-8", "replace")
                detail = f"byte {error.start} of the text is not UTF-8"
        elif (broken := _broken(one)) is not None:
            what = "a text in it is not UTF-8" if "UTF8" in broken else f"its type does not allow its value ({broken})"
            value, detail = None, what
        else:
            value = one[0].as_py()
        values.append(value)
        if detail:
            problems.setdefault(
                index, f'{where}{place + index} (counted from 0), column "{column}": {detail}. Write the file anew.'
            )
    return pa.array(values, array.type)


def _broken(array: pa.Array) -> str | None:
    """Return what is wrong with the values of an array, or None."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
