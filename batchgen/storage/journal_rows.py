"""Lines of the journal ↔ values: bodies in MessagePack, every line under a CRC-32."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from sys import getsizeof
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.errors import StorageStop
from batchgen.files.stamps import Stamp
from batchgen.money.ledger import Charges, Sums
from batchgen.storage.bounds import bounded
from batchgen.storage.shards import PartRecord, ShardRecord
from batchgen.text.storable import whole_text
from batchgen.values import Result

ROW_BYTES = 300
"""What a stored row takes beside its long texts, roughly."""

_encode = msgspec.msgpack.Encoder().encode
_decode_result = msgspec.msgpack.Decoder(Result).decode
_decode_spent = msgspec.msgpack.Decoder(Charges).decode


class StoredRow(Struct, frozen=True, gc=False):
    """A row as it lies in the journal, not decoded yet."""

    row: int
    body: bytes
    crc: int


def row_crc(row: int, body: bytes) -> int:
    return zlib.crc32(body, row & 0xFFFFFFFF)


def record_crc(record: ShardRecord, sums: str | None) -> int:
    part = record.part
    file = (part.bytes, part.crc) if part else ()
    return zlib.crc32(repr((record.number, record.first_row, record.rows, *file, sums)).encode())


def storable(result: Result) -> tuple[Result, bytes]:
    """Return the result as it is stored, and its body; texts and figures are mended here, once, if they need it."""
    result = bounded(result)
    try:
        return result, _encode(result)
    except UnicodeEncodeError:
        texts = {name: whole_text(value) for name, value in _plain_texts(result)}
        result = msgspec.structs.replace(result, **texts)
        return result, _encode(result)


def _plain_texts(result: Result) -> Iterator[tuple[str, str]]:
    for name, value in msgspec.structs.asdict(result).items():
        if type(value) is str:
            yield name, value


def result_bytes(result: Result) -> int:
    """Return about how much memory a result holds: letters outside of Latin take two or four bytes each."""
    size = ROW_BYTES
    if result.completion is not None:
        size += getsizeof(result.completion)
    if result.reasoning is not None:
        size += getsizeof(result.reasoning)
    if result.tool_calls is not None:
        size += getsizeof(result.tool_calls)
    if result.answer_turns is not None:
        size += getsizeof(result.answer_turns)
    return size


def in_slices(results: Iterable[Result], most_bytes: int) -> Iterator[list[Result]]:
    """Yield the results in lists of about so many bytes each; one list, an empty one, where there are none."""
    piece: list[Result] = []
    size = 0
    for result in results:
        if size >= most_bytes:
            yield piece
            piece, size = [], 0
        piece.append(result)
        size += result_bytes(result)
    yield piece


def decode_results(stored: list[StoredRow], first_row: int) -> list[Result]:
    """Return the results in stored rows, `first_row` and those after it; they leave the list one by one.

    Both together would take twice the memory. Raises `StorageStop` for a row that is damaged or missing.
    """
    results: list[Result] = []
    stored.reverse()
    while stored or not results:
        row = first_row + len(results)
        result = sound_result(stored.pop()) if stored else None
        if result is None or result.row != row:
            raise StorageStop(f"Row {row} was damaged in the journal on disk. Run the job again to do it anew.")
        results.append(result)
    return results


def sound_result(item: StoredRow) -> Result | None:
    """Return the result in a stored row; None if it does not match its checksum."""
    if not isinstance(item.body, bytes) or row_crc(item.row, item.body) != item.crc:
        return None
    result = _decode_result(item.body)
    return result if result.row == item.row else None


def read_record(line: tuple[Any, ...]) -> ShardRecord | None:
    """Return a line of `shards` as a record; None if it does not match its checksum."""
    number, first_row, rows, size, file_crc, sums, crc = line
    part = None
    if sums is not None and size is not None and file_crc is not None:
        try:
            part = PartRecord(size, file_crc, Sums.from_json(sums))
        except (msgspec.MsgspecError, TypeError, ValueError):
            return None
    record = ShardRecord(number, first_row, rows, part)
    return record if record_crc(record, sums) == crc else None


def read_spent(row: int, body: bytes, crc: int) -> Charges | None:
    """Return a line of `spent`; None if it does not match its checksum."""
    if not isinstance(body, bytes) or row_crc(row, body) != crc:
        return None
    item = _decode_spent(body)
    return item if item.row == row else None


def readable_text(raw: bytes) -> str:
    """Decode a text that may be damaged; its checksum then tells."""
    return raw.decode(errors="replace")


def spent_body(item: Charges) -> bytes:
    """Return a row's charges as they are stored, without turns that cannot be; these are asked again."""
    item = bounded(item)
    try:
        return _encode(item)
    except (UnicodeEncodeError, OverflowError):
        return _encode(msgspec.structs.replace(item, turns=()))


def keep_stamp(db: sqlite3.Connection, record: ShardRecord, stamp: Stamp) -> None:
    """Keep what the file system says of the part of a sealed shard."""
    if record.part is not None:
        line = (record.number, record.part.crc, msgspec.json.encode(stamp).decode())
        db.execute("INSERT OR REPLACE INTO stamps VALUES (?, ?, ?)", line)


def kept_stamps(db: sqlite3.Connection) -> dict[int, tuple[int, Stamp]]:
    """Return the stamps that are kept of parts, each with the CRC-32 that its file had then, by number."""
    found = {}
    for number, crc, text in db.execute("SELECT number, file_crc, stamp FROM stamps"):
        with suppress(msgspec.MsgspecError, TypeError):
            found[number] = crc, msgspec.json.decode(text, type=Stamp)
    return found
