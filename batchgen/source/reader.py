"""What each input format offers the source, and the bounds of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

import pyarrow as pa

from batchgen.errors import InputError
from batchgen.source.file import File

BATCH_ROWS = 2_000
"""Most rows of a batch."""

BATCH_BYTES = 16 * 1024 * 1024
"""Most bytes of a batch, unless a single row is larger."""

CELL_CAP = 64 * 1024 * 1024
"""Longest CSV cell (characters) and JSONL line (bytes); beyond it stands a quote that was never closed."""


class Piece(NamedTuple):
    """Some consecutive rows. `problems` maps a row's place in `table` to why it cannot be read."""

    table: pa.RecordBatch
    problems: dict[int, str]


class Reader(Protocol):
    """One format, bound to the files of the input."""

    @property
    def schema(self) -> pa.Schema:
        """The columns that every file has, in the order of the first."""

    @property
    def proven(self) -> bool:
        """Whether finding the schema has already read every row."""

    @property
    def whole(self) -> AbstractSet[str]:
        """The float columns that hold only whole numbers and gaps, as far as finding the schema has shown it."""

    @property
    def unreadable(self) -> dict[str, str]:
        """The columns that can be carried, but of which no prompt can be made, with the reason."""

    def rows(self, file: File) -> int | None:
        """Return how many rows the file has, if that is known without reading it through."""

    def how(self, file: File) -> str:
        """Return how the file is read where its bytes alone do not say so: another way gives other rows."""

    def read(self, file: File, skip: int, most: int, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield up to `most` rows of a file after the first `skip`, in order; what follows them is not looked at.

        A column may come with a second one, see `own_column`.

        Raises `InputError` at what no row can survive.
        """


def check_names(names: Sequence[str], path: str) -> None:
    """Raise `InputError` for a table without columns or with two of one name."""
    if not names:
        raise InputError(f"{path} has no columns.")
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InputError(f'{path} has two columns named "{name}" (the second is column {index + 1}): rename one.')


def difference(first: pa.Schema, other: pa.Schema) -> str | None:
    """Return how `other` differs from `first` in names or types, or None; the order of columns is free."""
    for field in first:
        if field.name not in other.names:
            return f'has no column "{field.name}"'
        if other.field(field.name).type != field.type:
            return f'has {other.field(field.name).type} in column "{field.name}" instead of {field.type}'
    extra = [name for name in other.names if name not in first.names]
    return f'has another column "{extra[0]}"' if extra else None


def check_agreement(first: tuple[File, pa.Schema], other: tuple[File, pa.Schema]) -> None:
    """Raise `InputError` if a later file's columns are not those of the first."""
    found = difference(first[1], other[1])
    if found:
        raise InputError(
            f"{other[0].path} {found}, unlike {first[0].path}: all files of an input need the same columns. "
            "Leave it out with a glob, or rewrite it."
        )
