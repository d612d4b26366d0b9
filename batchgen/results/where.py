"""`--where`: which rows are meant, as conditions on their columns that all have to hold.

    status = failed and error_kind != timeout and "Customer Name" ~ meyer and parsed.urgency is not null

A column is one of the results (an input column, `cost`, `finish_reason`, ...) or a field of `parsed`, with or without
that word before it. Names and values with blanks or signs stand in quotes.

| operator | holds where the cell |
|---|---|
| `=`, `!=` | is, is not the value; of a list: one of its items is, none is |
| `<`, `<=`, `>`, `>=` | is smaller or larger: numbers and times by value, durations by seconds, text by letters |
| `~`, `!~` | contains, does not contain the text, in any case |
| `is null`, `is not null` | has no value, has one |

An empty cell is not equal to anything and contains nothing: it is found by `!=`, `!~` and `is null` alone. Whole
numbers and decimals are compared exactly. Everything that has no order of its own is the text that `show` and `export`
write: bytes in hexadecimal, objects as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.nearest import nearest
from batchgen.results.cells import text_of
from batchgen.text.arrow_values import shown_values

_TOKEN = re.compile(r"""\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|(!=|!~|<=|>=|=|<|>|~)|([^\s"'!<>=~]+))""")
_SIGNS = {"=", "!=", "<", "<=", ">", ">=", "~", "!~"}
_ORDERS = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}
_EXAMPLE = 'for example --where "status = failed and cost > 0.01"'
_PARSED = "parsed."
_MOST_DIGITS = 76
_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class Condition(Struct, frozen=True):
    """`column`, or `field` of `parsed`, held against a value; `is null` has none."""

    column: str
    field: str | None
    sign: str
    value: str | None


class _Token(Struct, frozen=True):
    text: str
    quoted: bool
    sign: bool


class Where:
    """Conditions that all have to hold, read from text against the columns that there are."""

    def __init__(self, text: str, schema: pa.Schema) -> None:
        """Raise `UsageError` naming what cannot be read, or the nearest column."""
        self._text = text
        self._schema = schema
        self._conditions: list[Condition] = []
        tokens = self._tokens(text)
        while True:
            self._conditions.append(self._condition(tokens))
            if not tokens:
                break
            joint = tokens.pop(0)
            if joint.quoted or joint.text.lower() != "and":
                raise self._refusal(f'expected "and" before {joint.text!r}; a value with blanks stands in quotes')
        self._tests = [(condition, self._value(condition)) for condition in self._conditions]

    @property
    def columns(self) -> list[str]:
        """The columns that have to be read."""
        return [condition.column for condition in self._conditions]

    def mask(self, batch: pa.RecordBatch) -> pa.Array:
        """Return which rows of a batch are meant."""
        found = pa.array([True] * batch.num_rows)
        for condition, value in self._tests:
            cells = batch.column(condition.column)
            if condition.field is not None:
                cells = pc.struct_field(cells, condition.field)
            found = pc.and_(found, _holds(cells, condition.sign, value))
        return found

    def _tokens(self, text: str) -> list[_Token]:
        tokens, place = [], 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._refusal(f"cannot be read from {text[place:].strip()[:30]!r} on")
            double, single, sign, bare = match.groups()
            word = next(part for part in (double, single, sign, bare) if part is not None)
            if double is not None or single is not None:
                word = word.replace('""', '"') if double is not None else word.replace("''", "'")
            tokens.append(_Token(word, bare is None and sign is None, sign is not None))
            place = match.end()
        return tokens

    def _condition(self, tokens: list[_Token]) -> Condition:
        if len(tokens) < 2 or tokens[0].sign:
            raise self._refusal("a condition is a column, a sign and a value")
        name = tokens.pop(0).text
        column, field = self._place(name)
        sign = tokens.pop(0)
        if not sign.quoted and sign.text.lower() == "is":
            words: list[str] = []
            while tokens and len(words) < 2 and tokens[0].text.lower() in ("not", "null"):
                words.append(tokens.pop(0).text.lower())
            if words not in (["null"], ["not", "null"]):
                raise self._refusal(f'after "{name} is" comes null or not null; to compare, write {name} = VALUE')
            return Condition(column, field, " ".join(["is", *words]), None)
        if not sign.sign:
            raise self._refusal(f"after {name!r} comes one of {' '.join(sorted(_SIGNS))} or is null")
        if not tokens or tokens[0].sign:
            raise self._refusal(f'a value is missing after "{name} {sign.text}"')
        return Condition(column, field, sign.text, tokens.pop(0).text)

    def _place(self, name: str) -> tuple[str, str | None]:
        """Return the column that a name means, and the field in it."""
        fields: list[str] = []
        if "parsed" in self._schema.names:
            fields = [field.name for field in self._schema.field("parsed").type]
        if name in self._schema.names:
            return name, None
        field = name.removeprefix(_PARSED)
        if field in fields:
            return "parsed", field
        known = [*fields, *self._schema.names]
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known)}."
        raise UsageError(f"--where: no column and no field of the answers is called {name!r}; {hint}")

    def _value(self, condition: Condition) -> Any:
        kind = self._schema.field(condition.column).type
        if condition.field is not None:
            kind = kind.field(condition.field).type
        if condition.value is None:
            return None
        if condition.sign in ("~", "!~"):
            return condition.value.lower()
        try:
            return _as_kind(condition.value, kind)
        except (ValueError, pa.ArrowException):
            name = condition.field or condition.column
            raise self._refusal(f"{name} holds {kind}, and {condition.value!r} is none") from None

    def _refusal(self, reason: str) -> UsageError:
        return UsageError(f"--where {self._text!r}: {reason}; {_EXAMPLE}.")


def _as_kind(text: str, kind: pa.DataType) -> pa.Scalar:
    """Return the value of a condition as what the cells are compared as."""
    if pa.types.is_dictionary(kind) or _is_list(kind):
        return _as_kind(text, kind.value_type)
    if pa.types.is_boolean(kind):
        word = text.lower()
        if word not in ("true", "false"):
            raise ValueError(text)
        return pa.scalar(word == "true")
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _as_number(text)
    if pa.types.is_floating(kind) or pa.types.is_duration(kind):
        return pa.scalar(float(text), pa.float64())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moment = datetime.fromisoformat(text)
        return pa.scalar(moment if moment.tzinfo else moment.replace(tzinfo=UTC), pa.timestamp("us", "UTC"))
    if pa.types.is_time(kind):
        return pa.scalar(time.fromisoformat(text), pa.time64("us")).cast(pa.time64("ns"))
    return pa.scalar(text)


def _as_number(text: str) -> pa.Scalar:
    """Return a number as an exact decimal, or a float where it has too many digits for one, or is infinite."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int):
        try:
            return pa.scalar(number).cast(pa.decimal256(_MOST_DIGITS, max(0, -exponent)))
        except (ValueError, pa.ArrowException):
            pass
    return pa.scalar(float(number), pa.float64())


def _comparable(cells: pa.Array, value: pa.Scalar) -> tuple[pa.Array, pa.Scalar]:
    """Return cells and the value that they are compared with, as one type."""
    if cells.type == value.type:
        return cells, value
    if pa.types.is_decimal(value.type):
        scale = max(value.type.scale, cells.type.scale if pa.types.is_decimal(cells.type) else 0)
        try:
            exact = pa.decimal256(_MOST_DIGITS, scale)
            return cells.cast(exact), value.cast(exact)
        except pa.ArrowException:  # together they have more digits than there is room for
            return cells.cast(pa.float64()), value.cast(pa.float64())
    if pa.types.is_timestamp(value.type) and pa.types.is_timestamp(cells.type) and cells.type.tz is None:
        cells = pc.assume_timezone(cells, "UTC")
    if pa.types.is_duration(cells.type):
        return pc.divide(cells.cast(pa.int64()).cast(pa.float64(), safe=False), float(_SECOND[cells.type.unit])), value
    if pa.types.is_string(value.type):
        return _as_text(cells), value
    return cells.cast(value.type, safe=False), value


def _as_text(cells: pa.Array) -> pa.Array:
    """Return cells as the text that `show` and `export` write."""
    kind = cells.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.array([None if cell is None else text_of(cell) for cell in shown_values(cells)], pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return _as_text(cells.cast(pa.binary()))
    return cells.cast(pa.string())


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
    )


def _holds(cells: pa.Array, sign: str, value: Any) -> pa.Array:
    if sign == "is null":
        return pc.is_null(cells)
    if sign == "is not null":
        return pc.is_valid(cells)
    negative = sign.startswith("!")
    if negative:
        return pc.invert(_holds(cells, sign.replace("!=", "=").replace("!~", "~"), value))
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if _is_list(cells.type):
        return _any_item(cells, sign, value)
    if sign == "~":
        found = pc.match_substring(pc.utf8_lower(_as_text(cells)), value)
    elif sign == "=":
        found = pc.equal(*_comparable(cells, value))
    else:
        found = _ORDERS[sign](*_comparable(cells, value))
    return pc.fill_null(found, False)


def _any_item(cells: pa.Array, sign: str, value: Any) -> pa.Array:
    """Return where one of a list's items fits."""
    fits = _holds(pc.list_flatten(cells), sign, value)
    rows: Sequence[int] = pc.list_parent_indices(cells).filter(fits).to_pylist()
    found = [False] * len(cells)
    for row in rows:
        found[row] = True
    return pa.array(found, pa.bool_())
