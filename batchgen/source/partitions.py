"""Folders that are named after a column's value (`lang=de/part-0.parquet`), as Spark, Hive and pandas write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from urllib.parse import unquote

import pyarrow as pa

from batchgen.errors import InputError
from batchgen.source.file import File
from batchgen.source.reader import Piece, Reader
from batchgen.text.storable import storable

_NULL = "__HIVE_DEFAULT_PARTITION__"


def partitions(name: str) -> dict[str, str | None]:
    """Return the columns that a file's folders name, with their values as text; without those that are null."""
    found: dict[str, str | None] = {}
    for folder in name.replace("\\", "/").split("/")[:-1]:
        key, sign, value = folder.partition("=")
        if sign and key:
            found[storable(unquote(key))] = None if value == _NULL else storable(unquote(value))
    return found


class PartitionedReader:
    """Adds the columns of the folders' names to what another reader finds in the files; a file's own column wins."""

    def __init__(self, reader: Reader, files: Sequence[File]) -> None:
        self._reader = reader
        self._values = {file.name: partitions(file.name) for file in files}
        names = list(self._values[files[0].name])
        for file in files[1:]:
            if list(self._values[file.name]) != names:
                raise InputError(
                    f"{file.path} lies in folders that name other columns than those of {files[0].path}: "
                    "name the files with a glob."
                )
        self._added = [name for name in names if name not in reader.schema.names]
        self.schema = pa.schema([*reader.schema, *((name, pa.string()) for name in self._added)])

    @property
    def proven(self) -> bool:
        return self._reader.proven

    @property
    def whole(self) -> AbstractSet[str]:
        return self._reader.whole

    @property
    def unreadable(self) -> dict[str, str]:
        return self._reader.unreadable

    def rows(self, file: File) -> int | None:
        return self._reader.rows(file)

    def how(self, file: File) -> str:
        return f"{self._reader.how(file)} {[self._values[file.name][name] for name in self._added]}"

    def read(self, file: File, skip: int, most: int, columns: Sequence[str]) -> Iterator[Piece]:
        own = [name for name in columns if name not in self._added]
        # a piece without columns would not know how many rows it has
        for piece in self._reader.read(file, skip, most, own or self._reader.schema.names[:1]):
            table = piece.table
            arrays = {name: table.column(name) for name in table.schema.names if own}
            for name in columns:
                if name in self._added:
                    arrays[name] = pa.repeat(pa.scalar(self._values[file.name][name], pa.string()), table.num_rows)
            order = [*columns, *(name for name in arrays if name not in columns)]
            yield Piece(pa.RecordBatch.from_pydict({name: arrays[name] for name in order}), piece.problems)
