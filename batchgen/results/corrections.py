"""`review.parquet` of an output directory: what people said of its answers. The results themselves never change.

A line is a value that a person confirmed (`value` as it `was`) or corrected; the latest of a row and field counts.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
from msgspec import Struct

from batchgen.errors import OutputError, UsageError
from batchgen.files.disk_errors import mend, unreadable
from batchgen.files.modes import open_file
from batchgen.files.replace import replacing
from batchgen.results.cells import jsonable, text_of
from batchgen.storage.own_files import REVIEW_FILE, REVIEW_LOCK_FILE
from batchgen.text.storable import json_bytes

REVIEW_COLUMNS = pa.schema(
    [
        ("row", pa.string()),
        ("field", pa.string()),
        ("value", pa.string()),
        ("was", pa.string()),
        ("by", pa.string()),
        ("when", pa.timestamp("us", tz="UTC")),
    ]
)


class Correction(Struct, frozen=True):
    """The `value` of a field of the row with this `row_id`, and what the run had answered, as `written` writes both."""

    row: str
    field: str
    value: str | None
    was: str | None
    by: str
    when: datetime


class ReviewFile:
    """The corrections of an output directory; several programs may write them at the same time."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / REVIEW_FILE
        self._lock = directory / REVIEW_LOCK_FILE

    def read(self) -> list[Correction]:
        """Return all of them, the oldest first. Raises `OutputError` for a file that cannot be read."""
        try:
            lines = pq.read_table(pa.BufferReader(self.path.read_bytes()), schema=REVIEW_COLUMNS).to_pylist()
            return [Correction(**line) for line in lines]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, pa.ArrowException) as error:
            raise OutputError(unreadable(self.path, error, "Restore that file, or move it away.")) from error

    def latest(self) -> dict[str, dict[str, Correction]]:
        """Return row → field → the latest correction."""
        found: dict[str, dict[str, Correction]] = {}
        for one in self.read():
            found.setdefault(one.row, {})[one.field] = one
        return found

    def add(self, row: str, values: Sequence[tuple[str, str | None, str | None]], by: str) -> datetime:
        """Keep (field, value, what it was) of a row, durably; return their common time, which no other ones have."""
        moment = datetime.now(UTC)

        def with_more(before: list[Correction]) -> list[Correction]:
            nonlocal moment
            moment = max([moment, *(one.when + one.when.resolution for one in before[-1:])])
            return [*before, *(Correction(row, field, value, was, by, moment) for field, value, was in values)]

        self._change(with_more)
        return moment

    def add_earlier(self, corrections: Sequence[Correction]) -> int:
        """Keep what was said of earlier runs, before all else; what is there already of a row and field stays. Return
        how many were added."""
        added: list[Correction] = []

        def with_earlier(before: list[Correction]) -> list[Correction]:
            known = {(one.row, one.field) for one in before}
            added[:] = sorted((c for c in corrections if (c.row, c.field) not in known), key=lambda one: one.when)
            return [*added, *before]

        if corrections:
            self._change(with_earlier)
        return len(added)

    def take_back(self, row: str, when: datetime) -> None:
        """Remove the corrections of a row that were made at the time `when`."""
        self._change(lambda before: [one for one in before if (one.row, one.when) != (row, when)])

    def _change(self, change: Callable[[list[Correction]], list[Correction]]) -> None:
        try:
            with self._alone():
                lines = [msgspec.structs.asdict(one) for one in change(self.read())]
                with replacing(self.path) as file:
                    pq.write_table(pa.Table.from_pylist(lines, REVIEW_COLUMNS), file)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error}. {mend(error)}") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = open_file(self._lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def written(value: Any) -> str | None:
    """Return a value as it stands in `review.parquet` and in the page: text as it is, lists and objects as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json_bytes(jsonable(value)).decode() if isinstance(value, (list, tuple, dict)) else text_of(value)


def read_value(text: str | None, kind: pa.DataType) -> pa.Array:
    """Return what `written` wrote, as an array of one. Raises `UsageError` where it is no value of this type."""
    plain = kind.value_type if pt.is_dictionary(kind) else kind
    try:
        if text is None:
            return pa.nulls(1, plain)
        if pt.is_nested(plain):
            return pa.array([msgspec.json.decode(text)], plain)
        return pa.array([text], pa.string()).cast(plain)
    except (pa.ArrowException, msgspec.DecodeError, ValueError, TypeError) as error:
        raise UsageError(f"{text!r} is no value of type {plain}: {error}") from None
