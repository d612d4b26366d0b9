"""JSONL: one JSON object per line, or one list of objects however it is laid out; and a workbook's rows alike.

Columns are typed by reading every line first, since any line may widen a column.

How a column gets its type, from all its values: text → string; true/false → bool; whole numbers → int64; numbers →
float64 (if no whole number beyond 2^53 is among them, which float64 could not hold); objects → struct of all their
fields; lists → list. Values that do not agree, empty objects and whole numbers beyond 64 bits make the whole column
string: text stays as it is, anything else is its compact JSON. A key that a line lacks is null, and so is NaN where a
prompt is made of it.

These types are what results can carry. Where they cannot give a row's own value back (a struct has all keys in every
row, and 10 becomes 10.0 beside 2.5), the value comes along as JSON, see `own_column`: that is what prompts are made of.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from math import isnan
from typing import Any, ClassVar

import msgspec
import pyarrow as pa

from batchgen.errors import InputError
from batchgen.source.dialect import check_encoding
from batchgen.source.file import FILLING, File, Format, open_bytes
from batchgen.source.reader import BATCH_BYTES, BATCH_ROWS, CELL_CAP, Piece
from batchgen.source.row_values import EXACT_IN_FLOAT, own_column
from batchgen.source.xlsx import sheet_rows
from batchgen.text.storable import whole_value

Object = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_scan = json.JSONDecoder(strict=False).raw_decode  # tabs in texts, as hands write them, leave no doubt
_ROUND_A_LINE = re.compile(rb"^(?:\xef\xbb\xbf|\x1e)+|,\s*$")  # marks of joined files, RFC 7464, members of a list
_BETWEEN = re.compile(r"[\s,]*")
_LIST_BYTES = 1 << 16
_CONVERSATIONS = ("messages", "conversations", "conversation", "tools", "history")
_DEEPEST = 30  # lists and objects inside each other that become an Arrow type; what is deeper becomes JSON text
_MOST_FIELDS = 200  # an object with more kinds of keys is a map, not a record


class JsonlReader:
    """JSONL files. Building one reads them through (the first `limit` rows), to fix the schema."""

    proven = True
    unreadable: ClassVar[dict[str, str]] = {}

    def __init__(self, files: Sequence[File], limit: int | None = None) -> None:
        columns: dict[str, _Shape] = {}
        self._rows: dict[str, int] = {}
        self._twice: dict[tuple[str, int], str] = {}  # by file and row
        left = limit
        for file in files:
            count = 0
            judged = file.encoding is not None or file.reading.encoding is not None
            for row, line, problem in islice(_objects(file, 0), left):
                if problem is None and line.count(b'":') != len(row) and (found := _twice(file, count, line, row)):
                    self._twice[file.name, count] = found
                count += 1
                last = row
                if problem and not judged:
                    check_encoding(file, fewest=2)  # one line is damaged rather than in another encoding
                    judged = True
                for key, value in row.items():
                    shape = columns.get(key)
                    if shape is None:
                        shape = columns[key] = _Shape()
                    try:
                        shape.observe(value)
                    except RecursionError:
                        raise InputError(f'{file.path}, row {count - 1}: "{key}" is nested too deep.') from None
            if count == 1:
                _check_no_table(file, last)
            if left is not None:
                left -= count
            self._rows[file.name] = count
        if not columns:
            raise InputError(f"{files[0].path} has no columns: no line holds an object with a key.")
        types = {name: shape.arrow() for name, shape in columns.items()}
        rows = sum(self._rows.values())
        self.whole = {name for name, shape in columns.items() if shape.is_whole_with_gaps(rows)}
        self._owned = {name for name, shape in columns.items() if types[name] is None or not shape.is_exact()}
        self._texts = {name for name, kind in types.items() if kind is None}
        self.schema = pa.schema([(name, pa.string() if kind is None else kind) for name, kind in types.items()])

    def rows(self, file: File) -> int | None:
        return self._rows[file.name]

    def how(self, file: File) -> str:
        return "JSONL"

    def read(self, file: File, skip: int, most: int, columns: Sequence[str]) -> Iterator[Piece]:
        rows: list[Object] = []
        problems: dict[int, str] = {}
        size = 0
        for place, (row, line, problem) in enumerate(islice(_objects(file, skip), most), skip):
            if problem := problem or self._twice.get((file.name, place)):
                problems[len(rows)] = problem
            rows.append(row)
            size += len(line)
            if len(rows) == BATCH_ROWS or size >= BATCH_BYTES:
                yield self._piece(rows, problems, columns)
                rows, problems, size = [], {}, 0
        if rows:
            yield self._piece(rows, problems, columns)

    def _piece(self, rows: list[Object], problems: dict[int, str], columns: Sequence[str]) -> Piece:
        arrays: dict[str, pa.Array] = {}
        for name in columns:
            values = [row.get(name) for row in rows]
            if name in self._owned:
                texts = [None if value is None else _text(value) for value in values]
                arrays[own_column(name)] = pa.array(texts, pa.string())
            if name in self._texts:
                values = [value if value is None or type(value) is str else _text(value) for value in values]
            arrays[name] = pa.array(values, self.schema.field(name).type)
        own = [name for name in arrays if name not in columns]
        return Piece(pa.RecordBatch.from_pydict({name: arrays[name] for name in (*columns, *own)}), problems)


def _check_no_table(file: File, row: Object) -> None:
    """Refuse a whole table in one object, as pandas writes it without `lines=True`: it is not one row."""
    values = list(row.values())
    keyed = len(values) > 1 and all(isinstance(value, dict) and value for value in values)
    by_column = (
        keyed
        and all(list(value) == list(values[0]) for value in values)
        and (all(map(str.isdigit, values[0])) or all(map(str.isdigit, row)))
    )
    if os.path.splitext(file.path)[1].lower() == ".json":  # a single row would be a line of a .jsonl file
        lists = [value for value in values if isinstance(value, list) and len(value) > 1]
        by_column |= len(lists) == len(values) > 1 and len({len(value) for value in lists}) == 1
        by_column |= keyed and all(list(value) == list(values[0]) for value in values)
        only = values[0] if len(values) == 1 else None  # a table of one column
        by_column |= isinstance(only, dict) and bool(only) and list(only) == [str(place) for place in range(len(only))]
        for key, value in row.items():
            if key not in _CONVERSATIONS and value in lists and all(isinstance(member, dict) for member in value):
                raise InputError(
                    f'{file.path} holds one object, and its key "{key}" a list of {len(value):,} objects. If these are '
                    f"the rows: jq -c '.{key}[]' FILE > FILE.jsonl. If it is one row, name the file .jsonl."
                )
    if by_column or any({key, "data"} <= row.keys() <= {key, "index", "data"} for key in ("columns", "schema")):
        raise InputError(
            f"{file.path} holds a whole table in one object, column by column: write an object per row "
            '(pandas: to_json(orient="records", lines=True)).'
        )


class _Shape:
    """What the values of one key, or of the members of its lists, have been so far."""

    __slots__ = ("_fields", "_fraction", "_items", "_kinds", "_not_a_number", "_objects", "_seen", "_widest")

    def __init__(self) -> None:
        self._kinds: set[type] = set()
        self._seen = 0
        self._objects = 0
        self._widest = 0  # of the whole numbers, by size
        self._fraction = False  # a float is no whole number
        self._not_a_number = False
        self._fields: dict[str, _Shape] = {}
        self._items: _Shape | None = None

    def observe(self, value: Any) -> None:
        kind = type(value)
        self._kinds.add(kind)
        self._seen += 1
        if kind is int:
            self._widest = max(self._widest, abs(value))
        elif kind is float:
            if not value.is_integer():
                if isnan(value):
                    self._not_a_number = True
                else:
                    self._fraction = True
        elif kind is dict:
            self._objects += 1
            if len(self._fields) <= _MOST_FIELDS:
                for key, member in value.items():
                    self._fields.setdefault(key, _Shape()).observe(member)
        elif kind is list:
            if self._items is None:
                self._items = _Shape()
            for member in value:
                self._items.observe(member)

    def is_whole_with_gaps(self, rows: int) -> bool:
        """Whether the values are whole numbers written as floats (1042.0), and some of the rows have none."""
        gaps = self._not_a_number or type(None) in self._kinds or self._seen < rows
        return gaps and not self._fraction and self._kinds - {type(None)} == {float}

    def is_exact(self) -> bool:
        """Whether the Arrow type gives every value back as it was."""
        kinds = self._kinds - {type(None)}
        if kinds == {dict}:
            fields = self._fields.values()
            return 0 < len(fields) <= _MOST_FIELDS and all(f._seen == self._objects and f.is_exact() for f in fields)
        if kinds == {list}:
            return self._items is not None and self._items.is_exact()
        return len(kinds) <= 1 and self.arrow() is not None

    def arrow(self, depth: int = 0) -> pa.DataType | None:
        """Return the Arrow type that holds all values without loss, or None for JSON text."""
        if depth > _DEEPEST:
            return None
        kinds = self._kinds - {type(None)}
        if kinds <= {str}:
            return pa.string()
        if kinds == {bool}:
            return pa.bool_()
        if kinds == {int}:
            return pa.int64() if self._widest < 1 << 63 else None
        if kinds <= {int, float}:
            return pa.float64() if self._widest <= EXACT_IN_FLOAT else None
        if kinds == {list} and self._items is not None:
            item = self._items.arrow(depth + 1)
            return None if item is None else pa.list_(item)
        if kinds == {dict} and 0 < len(self._fields) <= _MOST_FIELDS:
            fields = [(name, shape.arrow(depth + 1)) for name, shape in self._fields.items()]
            return None if any(kind is None for _, kind in fields) else pa.struct(fields)
        return None


def _objects(file: File, skip: int) -> Iterator[tuple[Object, bytes, str | None]]:
    """Yield each object after the first `skip` with its line and what is wrong with its text, if anything."""
    row = 0
    for number, line in documents(file):
        row += 1
        if row <= skip:
            continue
        try:
            found, problem = _decode(line), None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            found, problem = _mended(file, number, row - 1, line, error)
        yield found, line, problem


def documents(file: File) -> Iterator[tuple[int, bytes]]:
    """Yield each object's text with the number of its line; of a JSON list, each member's."""
    if file.format is Format.XLSX:
        yield from sheet_rows(file)
        return
    number, first = 0, True
    with open_bytes(file) as stream:
        while line := stream.readline(CELL_CAP):
            number += 1
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip(FILLING):
                continue
            if first and (line.lstrip().startswith(b"[") or _is_part(line)):
                yield from _members(file, stream, line, number - 1)
                return
            if len(line) >= CELL_CAP:
                raise InputError(f"{file.path}, line {number}: longer than {CELL_CAP} bytes; is it JSON lines at all?")
            first = False
            yield number, line


def _is_part(line: bytes) -> bool:
    """Whether the first line is not all of an object, or more than one: objects then stand one after another."""
    if not line.lstrip().startswith(b"{"):
        return False
    text = line.decode("utf-8", "surrogateescape").strip()
    try:
        return text[_scan(text, 0)[1] :].strip() not in ("", ",")
    except (ValueError, RecursionError):
        return True


def _members(file: File, stream: io.BufferedReader, first: bytes, number: int) -> Iterator[tuple[int, bytes]]:
    """Yield the members of one JSON list, or objects without a list round them, however they are laid out.

    No more than one and some bytes are held. `number` lines stand before `first`.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    text = decoder.decode(first)
    listed = text.lstrip().startswith("[")
    place = text.index("[") + 1 if listed else 0
    what = "member {} of the list" if listed else "object {}"
    row, counted, step = 0, 0, _LIST_BYTES  # `counted`: line breaks before this place in the text are in `number`
    while True:
        place = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
        end = place
        if text[place : place + 1] not in ("", "]"):
            try:
                _, end = _scan(text, place)
            except (ValueError, RecursionError) as error:
                fault: Exception | None = error
            else:
                # a number at the end of what was read may go on
                fault = (
                    None
                    if end < len(text) or text[end - 1] in '}]"'
                    else ValueError("it ends in the middle of a member")
                )
            if fault is None:
                number += text.count("\n", counted, place)
                yield number + 1, text[place:end].encode("utf-8", "surrogateescape")
                row += 1
                counted, place, step = place, end, _LIST_BYTES
                continue
        elif listed and text[place : place + 1] == "]":
            if text[place + 1 :].strip() or stream.read(1).strip():
                raise InputError(f"{file.path}: something follows the end of its JSON list. Write it anew.")
            return
        else:
            fault = ValueError("the list has no end" if listed else "a bracket stands where an object should")
        more = stream.read(step)
        if not more and not listed and place == len(text):
            return
        if not more or len(text) - place > CELL_CAP:
            number += text.count("\n", counted, place)
            raise InputError(
                f"{file.path}, line {number + 1}, {what.format(row)} (counted from 0): {fault}. One JSON object per "
                "line, or a list of them, is needed: write the file anew."
            )
        step *= 2  # so that a long member is not scanned once for each piece of it
        number += text.count("\n", counted, place)
        text, place, counted = text[place:] + decoder.decode(more), 0, 0


def _twice(file: File, row: int, line: bytes, found: Object) -> str | None:
    """Return what is wrong with a row where an object, at any depth, has a key twice with other values."""
    if line.count(b'":') == _keys(found):
        return None
    twice: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> Object:
        known = dict(pairs)
        if len(known) < len(pairs):
            twice.extend(key for key, value in pairs if known[key] != value)
        return known

    with suppress(RecursionError):
        json.loads(line, object_pairs_hook=look)
    if not twice:
        return None
    return f'{file.path}, row {row} (counted from 0): the key "{twice[0]}" stands twice in one object.'


def _keys(value: Any) -> int:
    """Return how many keys the objects in a value have together."""
    if isinstance(value, dict):
        return len(value) + sum(map(_keys, value.values()))
    return sum(map(_keys, value)) if isinstance(value, list) else 0


def _mended(file: File, number: int, row: int, line: bytes, error: Exception) -> tuple[Object, str | None]:
    """Return what a line holds apart from broken text, and what is broken; raise if it is no JSON object anyhow.

    NaN and Infinity, which JSON does not have, are read as Python writes them. Bytes that are not UTF-8 and halves of
    surrogate pairs (`\\ud800`) become U+FFFD: they cost the row, not the file.
    """
    where = f"{file.path}, line {number} (row {row}, counted from 0)"
    line = _ROUND_A_LINE.sub(b"", line)
    try:
        found = json.loads(line.decode("utf-8", "replace"), strict=False)
        if not isinstance(found, dict):
            raise ValueError(str(error))
    except (ValueError, RecursionError) as fault:
        hint = "one JSON object per line is needed"
        if line.strip() in (b"{", b"["):
            hint += "; one that is spread over lines is put on one by jq -c . FILE > FILE.jsonl"
        raise InputError(f"{where}: {fault}; {hint}.") from None
    mended = whole_value(found)
    if isinstance(error, UnicodeDecodeError) or _bad_byte(line) is not None:
        return mended, f"{where}: byte {_bad_byte(line)} of the line is not UTF-8. Save the file as UTF-8."
    if mended != found:
        return mended, f"{where}: half of a surrogate pair (\\ud800 to \\udfff) stands alone, which is no character."
    return found, None


def _bad_byte(line: bytes) -> int | None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
