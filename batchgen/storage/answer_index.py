"""The answers of earlier runs, found by the key of a request: an SQLite file that is made anew at every start.

The answers are appended as they are read, and the keys sorted once all are in, so that ten million take minutes to read
and little memory; a look-up reads two pages.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from batchgen.errors import StorageStop
from batchgen.files.modes import open_file
from batchgen.storage.earlier_runs import EarlierAnswer
from batchgen.values import KEY_HASH_BYTES

_OPENING = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA page_size = 8192;
PRAGMA cache_size = -16000;
CREATE TABLE answers (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE keys (place INTEGER NOT NULL, number INTEGER NOT NULL);  -- place: the first 8 bytes of the key
"""
_GROUP = 2_000
_SOME = 2_000
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EarlierAnswer).decode


class AnswerIndex:
    """The answers of earlier runs, numbered in the order in which they were added; used by one thread at a time.

    With `shared` answers all rows with the same request have the latest one; else several answers to it are given out
    one after the other, and the first again once every one has been. Methods raise `StorageStop` when the disk refuses.
    """

    def __init__(self, path: Path, *, shared: bool) -> None:
        self._path = path
        self._shared = shared
        self._taken = bytearray()
        self.key_lengths: set[int] = set()
        self.ends: list[int] = []
        try:
            self.remove()
            os.close(open_file(path, os.O_RDWR))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self._db.executescript(_OPENING)
        except (sqlite3.Error, OSError) as error:
            raise self._stop(error) from error

    def add(self, answers: Iterable[EarlierAnswer]) -> None:
        """Add the answers of one more run."""
        number = self.ends[-1] if self.ends else 0
        source = iter(answers)
        try:
            while group := list(islice(source, _GROUP)):
                numbers = range(number, number + len(group))
                self._db.execute("BEGIN")
                self._db.executemany(
                    "INSERT INTO answers VALUES (?, ?)", zip(numbers, map(_encode, group), strict=True)
                )
                self._db.executemany(
                    "INSERT INTO keys VALUES (?, ?)", ((_place(a.key), n) for a, n in zip(group, numbers, strict=True))
                )
                self._db.execute("COMMIT")
                self.key_lengths.update(len(answer.key) for answer in group)
                number += len(group)
        except (sqlite3.Error, OSError) as error:
            raise self._stop(error) from error
        self.ends.append(number)

    def sort(self) -> None:
        """Make the answers findable: all have been added."""
        try:
            self._db.execute("CREATE INDEX by_place ON keys (place, number)")
        except sqlite3.Error as error:
            raise self._stop(error) from error
        self._taken = bytearray(-(-len(self) // 8))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def find(self, key: bytes, fits: Callable[[EarlierAnswer], bool]) -> EarlierAnswer | None:
        """Return an answer that fits to the request of this key, whatever its limit was; a row may have taken it."""
        return next((answer for _, answer in self._distinct(key) if fits(answer)), None)

    def take(self, key: bytes, fits: Callable[[EarlierAnswer], bool]) -> EarlierAnswer | None:
        """Return an answer that fits to the request of this key, whatever its limit was, and mark it as taken.

        One that no row has taken yet comes first.
        """
        again = None
        for numbers, answer in self._distinct(key):
            if fits(answer):
                if self._shared or not self._is_taken(numbers[0]):
                    self._mark(numbers)
                    return answer
                again = again or answer
        return again

    def some(self) -> list[EarlierAnswer]:
        """Return up to `_SOME` of the answers, spread over all."""
        step = max(1, -(-len(self) // _SOME))
        return [self._answer(number) for number in range(0, len(self), step)]

    def mark(self, key: bytes, finished_at_us: int) -> None:
        """Count an answer as taken, because a row that was finished earlier has it."""
        for numbers, answer in self._distinct(key):
            if answer.finished_at_us == finished_at_us and (self._shared or not self._is_taken(numbers[0])):
                self._mark(numbers)
                return

    def mark_all(self, key: bytes) -> None:
        """Count all answers to the request of this key as taken, and those that another limit has cut."""
        for numbers, answer in self._distinct(key):
            if answer.key == key or answer.finish_reason == "length":
                self._mark(numbers)

    def used_up(self, source: int) -> bool:
        """Whether every answer of a run, by its number, has been taken."""
        begin = self.ends[source - 1] if source else 0
        return all(self._is_taken(number) for number in range(begin, self.ends[source]))

    def _distinct(self, key: bytes) -> list[tuple[list[int], EarlierAnswer]]:
        """Return the answers to a request, the latest run's first, each with the numbers of all its copies.

        Those under another limit come last.
        """
        found = [(number, self._answer(number)) for number in self._numbers(key)]
        answers = [(number, answer) for number, answer in found if answer.key[:KEY_HASH_BYTES] == key[:KEY_HASH_BYTES]]
        answers.sort(key=lambda one: one[1].key != key)
        if len(answers) == 1:
            return [([answers[0][0]], answers[0][1])]
        copies: dict[object, tuple[list[int], EarlierAnswer]] = {}
        for number, answer in answers:
            copies.setdefault(answer.identity, ([], answer))[0].append(number)
        return list(copies.values())

    def _numbers(self, key: bytes) -> list[int]:
        try:
            query = "SELECT number FROM keys WHERE place = ? ORDER BY number"
            return [number for (number,) in self._db.execute(query, (_place(key),))]
        except sqlite3.Error as error:
            raise self._stop(error) from error

    def _answer(self, number: int) -> EarlierAnswer:
        try:
            (body,) = self._db.execute("SELECT body FROM answers WHERE number = ?", (number,)).fetchone()
        except (sqlite3.Error, TypeError) as error:
            raise self._stop(error) from error
        return _decode(body)

    def _mark(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._taken[number >> 3] |= 1 << (number & 7)

    def _is_taken(self, number: int) -> bool:
        return bool(self._taken[number >> 3] & (1 << (number & 7)))

    def _stop(self, error: Exception) -> StorageStop:
        return StorageStop(
            f"The answers of earlier runs cannot be kept at hand in {self._path.parent} ({error}). Nothing is asked "
            "again for that."
        )

    def close(self) -> None:
        """Close and delete the file; the next run removes what the disk does not let go."""
        self._db.close()
        with suppress(OSError):
            self.remove()

    def remove(self) -> None:
        """Delete what a killed run has left."""
        for path in (self._path.with_name(f"{self._path.name}{end}") for end in ("-journal", "")):
            path.unlink(missing_ok=True)


def _place(key: bytes) -> int:
    return int.from_bytes(key[:8], signed=True)
