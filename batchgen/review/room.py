"""What is open in the page: the rows of the runs, read anew when a page is opened and more is there, and the review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any

from batchgen.errors import UsageError
from batchgen.results.corrections import Correction, ReviewFile, read_value
from batchgen.results.rows import ResultRows
from batchgen.review.table import RunTable
from batchgen.review.whole_row import RowReader, WholeRow, words_of
from batchgen.storage.own_files import JOURNAL_FILE, RESULTS, STATE_FILE

_KEPT = 3
"""Earlier readings that windows opened before may still be asking for."""


class OpenRows:
    """One reading of the runs: places of rows mean this reading."""

    def __init__(self, directory: Path, other: Path | None) -> None:
        rows = ResultRows(directory)
        self.table = RunTable(rows, None if other is None else ResultRows(other))
        counted = [name for name in self.table.words if name.startswith("parsed.")]
        counts = self.table.values_of(counted)
        words = words_of(rows, {name.removeprefix("parsed."): found for name, found in counts.items()})
        self.reader = RowReader(rows, words)
        self.other = None if self.table.other is None else RowReader(self.table.other, {})


class ReviewRoom:
    """The runs that are looked at, and what `by` says of the first of them."""

    def __init__(self, directory: Path, other: Path | None, by: str) -> None:
        """Raise `OutputError` where nothing is answered yet."""
        self.directory = directory
        self.other = other
        self._by = by
        self._lock = RLock()
        self._readings: dict[int, OpenRows] = {}
        self._seen: Any = None
        self._said: dict[str, dict[str, Correction]] = {}
        self._said_stamp: Any = None
        self.open()
        self._file = ReviewFile(self.current.table.rows.runs[0].directory)

    @property
    def current(self) -> OpenRows:
        """The latest reading."""
        return self._readings[max(self._readings)]

    def open(self) -> int:
        """Read the runs anew where they have changed; return the number of the reading."""
        with self._lock:
            stamps = _stamps(self.directory), _stamps(self.other)
            if stamps != self._seen:
                number = max(self._readings, default=0) + 1
                self._readings[number] = OpenRows(self.directory, self.other)
                self._seen, self._said_stamp = stamps, None
                for old in [one for one in self._readings if one <= number - _KEPT]:
                    del self._readings[old]
            return max(self._readings)

    def reading(self, number: int) -> OpenRows:
        """Return a reading, knowing what is said by now. Raises `UsageError` for one that is closed."""
        with self._lock:
            if number not in self._readings:
                raise UsageError("The rows were read anew since; reload the page.")
            self.said()
            return self._readings[number]

    def said(self) -> Mapping[str, Mapping[str, Correction]]:
        """Return what people said so far, in this program and in others."""
        with self._lock:
            stamp = _stamp(self._file.path)
            if stamp != self._said_stamp:
                self._said = self._file.latest()
                self._said_stamp = stamp
                for reading in self._readings.values():
                    reading.table.review(self._said)
            return self._said

    def row(self, number: int, place: int) -> tuple[WholeRow | None, WholeRow | None]:
        """Return a row, and the same one of the other run."""
        reading = self.reading(number)
        row = reading.reader.read(place, self.said())
        there = reading.table.other_place(place)
        return row, None if there is None or reading.other is None else reading.other.read(there, {})

    def say(self, number: int, place: int, values: Mapping[str, str | None] | None) -> str:
        """Keep corrected `values` of a row, or with None that all its fields are right as they now stand.

        Return what `take_back` needs. Raises `UsageError` for a value that is none of its field's type.
        """
        reading = self.reading(number)
        row = reading.reader.read(place, self.said())
        if row is None:
            raise UsageError("There is no such row.")
        fields = {field.name: field for field in row.fields}
        if values is None:
            values = {name: field.value for name, field in fields.items()}
        types = reading.table.rows.parsed_fields
        for name, value in values.items():
            if name not in fields:
                raise UsageError(f"There is no field {name!r}.")
            if name in types:
                read_value(value, types[name])
        when = self._file.add(row.row_id, [(name, value, fields[name].was) for name, value in values.items()], self._by)
        return when.isoformat()

    def take_back(self, row_id: str, when: Any) -> None:
        """Undo what was said of a row at a time."""
        self._file.take_back(row_id, when)


def _stamps(directory: Path | None) -> Sequence[Any]:
    """Return what changes when more is answered."""
    if directory is None:
        return []
    base = directory.parent if directory.name == RESULTS else directory
    names = [base / STATE_FILE, base / RESULTS, base / JOURNAL_FILE, base / f"{JOURNAL_FILE}-wal"]
    return [_stamp(name) for name in names]


def _stamp(path: Path) -> Any:
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None
