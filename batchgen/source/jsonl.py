"""JSONL: one JSON object per line, typed by reading every line first, since any line may widen a column.

How a column gets its type, from all its values: text → string; true/false → bool; whole numbers → int64; numbers →
float64 (if no whole number beyond 2^53 is among them, which float64 could not hold); objects → struct of all their
fields; lists → list. Values that do not agree, empty objects and whole numbers beyond 64 bits make the whole column
string: text stays as it is, anything else is its compact JSON. A key that a line lacks is null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn

import msgspec
import pyarrow as pa

from batchgen.errors import InputError
from batchgen.source.files import File, UnpackedBytes, open_bytes
from batchgen.source.reader import BATCH_BYTES, BATCH_ROWS, CELL_CAP, Piece

Object = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_EXACT_IN_FLOAT = 1 << 53
_MOST_FIELDS = 200  # an object with more kinds of keys is a map, not a record


class JsonlReader:
    """JSONL files. Building one reads them through (the first `limit` rows), to fix the schema."""

    proven = True

    def __init__(self, files: Sequence[File], limit: int | None = None) -> None:
        columns: dict[str, _Shape] = {}
        self._rows: dict[str, int] = {}
        left = limit
        for file in files:
            count = 0
            for row, _, _ in islice(_objects(file, 0), left):
                count += 1
                for key, value in row.items():
                    shape = columns.get(key)
                    if shape is None:
                        shape = columns[key] = _Shape()
                    shape.observe(value)
            if left is not None:
                left -= count
            self._rows[file.name] = count
        if not columns:
            raise InputError(f"{files[0].path} has no columns: no line holds an object with a key.")
        types = {name: shape.arrow() for name, shape in columns.items()}
        self._texts = {name for name, kind in types.items() if kind is None}
        self.schema = pa.schema([(name, pa.string() if kind is None else kind) for name, kind in types.items()])

    def rows(self, file: File) -> int | None:
        return self._rows[file.name]

    def read(self, file: File, skip: int, most: int, columns: Sequence[str]) -> Iterator[Piece]:
        rows: list[Object] = []
        problems: dict[int, str] = {}
        size = 0
        for row, length, problem in islice(_objects(file, skip), most):
            if problem:
                problems[len(rows)] = problem
            rows.append(row)
            size += length
            if len(rows) == BATCH_ROWS or size >= BATCH_BYTES:
                yield self._piece(rows, problems, columns)
                rows, problems, size = [], {}, 0
        if rows:
            yield self._piece(rows, problems, columns)

    def _piece(self, rows: list[Object], problems: dict[int, str], columns: Sequence[str]) -> Piece:
        schema = pa.schema([self.schema.field(name) for name in columns])
        arrays = []
        for name, kind in zip(schema.names, schema.types, strict=True):
            values = [row.get(name) for row in rows]
            if name in self._texts:
                values = [value if value is None or type(value) is str else _text(value) for value in values]
            arrays.append(pa.array(values, kind))
        return Piece(pa.RecordBatch.from_arrays(arrays, schema=schema), problems)


class _Shape:
    """What the values of one key, or of the members of its lists, have been so far."""

    __slots__ = ("_fields", "_items", "_kinds", "_widest")

    def __init__(self) -> None:
        self._kinds: set[type] = set()
        self._widest = 0  # of the whole numbers, by size
        self._fields: dict[str, _Shape] = {}
        self._items: _Shape | None = None

    def observe(self, value: Any) -> None:
        kind = type(value)
        self._kinds.add(kind)
        if kind is int:
            self._widest = max(self._widest, abs(value))
        elif kind is dict:
            if len(self._fields) <= _MOST_FIELDS:
                for key, member in value.items():
                    self._fields.setdefault(key, _Shape()).observe(member)
        elif kind is list:
            if self._items is None:
                self._items = _Shape()
            for member in value:
                self._items.observe(member)

    def arrow(self) -> pa.DataType | None:
        """Return the Arrow type that holds all values without loss, or None for JSON text."""
        kinds = self._kinds - {type(None)}
        if kinds <= {str}:
            return pa.string()
        if kinds == {bool}:
            return pa.bool_()
        if kinds == {int}:
            return pa.int64() if self._widest < 1 << 63 else None
        if kinds <= {int, float}:
            return pa.float64() if self._widest <= _EXACT_IN_FLOAT else None
        if kinds == {list} and self._items is not None:
            item = self._items.arrow()
            return None if item is None else pa.list_(item)
        if kinds == {dict} and 0 < len(self._fields) <= _MOST_FIELDS:
            fields = [(name, shape.arrow()) for name, shape in self._fields.items()]
            return None if any(kind is None for _, kind in fields) else pa.struct(fields)
        return None


def _objects(file: File, skip: int) -> Iterator[tuple[Object, int, str | None]]:
    """Yield each object after the first `skip` with its bytes and what is wrong with its text, if anything."""
    row = 0
    number = 0
    with open_bytes(file) as stream:
        assert isinstance(stream.raw, UnpackedBytes)
        while line := stream.readline(CELL_CAP):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
                if line.lstrip().startswith(b"["):
                    raise InputError(
                        f"{file.path} holds one JSON list, which cannot be streamed: write one object per line "
                        "(jq -c '.[]' FILE > FILE.jsonl)."
                    )
            if len(line) >= CELL_CAP:
                raise InputError(f"{file.path}, line {number}: longer than {CELL_CAP} bytes; is it JSON lines at all?")
            if not line.strip():
                continue
            row += 1
            if row <= skip:
                continue
            try:
                found, problem = _decode(line), None
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                found, problem = _mended(file, number, row - 1, line, error)
            yield found, len(line), problem


def _mended(file: File, number: int, row: int, line: bytes, error: Exception) -> tuple[Object, str]:
    """Return what a line holds apart from broken text, and what is broken; raise if it is no JSON object anyhow.

    Bytes that are not UTF-8 and halves of surrogate pairs (`\\ud800`) become U+FFFD: they cost the row, not the file.
    """
    where = f"{file.path}, line {number} (row {row}, counted from 0)"
    try:
        text = json.dumps(json.loads(line.decode("utf-8", "replace"), parse_constant=_refuse), ensure_ascii=False)
        found = _decode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        hint = "one JSON object per line is needed"
        if line.strip() in (b"{", b"["):
            hint += "; one that is spread over lines is put on one by jq -c . FILE > FILE.jsonl"
        raise InputError(f"{where}: {error}; {hint}.") from None
    if isinstance(error, UnicodeDecodeError) or _bad_byte(line) is not None:
        return found, f"{where}: byte {_bad_byte(line)} of the line is not UTF-8. Save the file as UTF-8."
    return found, f"{where}: half of a surrogate pair (\\ud800 to \\udfff) stands alone, which is no character."


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _bad_byte(line: bytes) -> int | None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
