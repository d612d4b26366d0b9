"""The Arrow types of answers with a JSON Schema, and how decoded JSON becomes columns of these types.

Values are turned by column, not by row: `pa.array` over dicts costs 37 µs a row of six strings, this 0.4 µs.

A shape also says what its schema allows and its Arrow type cannot hold (`misfit`): a number beyond 64 bits, a date
before the year 1, a leap second. Such an answer is invalid, so that a column can always be built from valid ones.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from msgspec import Struct

from batchgen.answers.same_word import word_key

_INT64 = 2**63
_LONGEST_WORD = 1_000  # of an enum


class Misfit(Struct, frozen=True):
    """Where (JSON pointer) and why a value does not fit."""

    path: str
    message: str


class Shape(ABC):
    """A node of the answer's type. `exact` is False where every valid value fits and `misfit` need not be asked."""

    type: pa.DataType
    exact: bool = False

    @abstractmethod
    def column(self, values: Sequence[Any]) -> pa.Array:
        """Return `values` (decoded JSON, None for null or absent) as an Arrow array of `type`."""

    def misfit(self, value: Any, path: str) -> Misfit | None:
        """Return why a valid value cannot be held, or None. `value` is never None."""
        return None

    def mended(self, value: Any) -> Any:
        """Return a value without the null properties that need not be there (and so may as well be absent), and with
        the words of enums as the schema writes them."""
        return value


class PlainShape(Shape):
    """Strings and booleans, which Arrow takes as JSON decodes them."""

    def __init__(self, kind: pa.DataType) -> None:
        self.type = kind

    def column(self, values: Sequence[Any]) -> pa.Array:
        return pa.array(values, self.type)


class IntegerShape(Shape):
    """Integers as int64; 3.0 is an integer in JSON Schema."""

    type = pa.int64()
    exact = True

    def column(self, values: Sequence[Any]) -> pa.Array:
        return pa.array([int(v) if type(v) is float else v for v in values], self.type)

    def misfit(self, value: Any, path: str) -> Misfit | None:
        if -_INT64 <= value < _INT64:
            return None
        return Misfit(path, "the number is beyond a 64-bit integer")


class FloatShape(Shape):
    """Numbers as float64."""

    type = pa.float64()
    exact = True

    def column(self, values: Sequence[Any]) -> pa.Array:
        return pa.array([v if v is None else float(v) for v in values], self.type)

    def misfit(self, value: Any, path: str) -> Misfit | None:
        try:
            float(value)
        except OverflowError:
            return Misfit(path, "the number is beyond a 64-bit float")
        return None


class DateShape(Shape):
    """`format: date` as date32."""

    type = pa.date32()
    exact = True

    def column(self, values: Sequence[Any]) -> pa.Array:
        return pa.array([v if v is None else date.fromisoformat(v) for v in values], self.type)

    def misfit(self, value: Any, path: str) -> Misfit | None:
        try:
            date.fromisoformat(value)
        except ValueError:
            return Misfit(path, f"{value!r} is no day of the years 1 to 9999")
        return None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.upper())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class TimestampShape(Shape):
    """`format: date-time` as microseconds in UTC; further digits of a second are dropped.

    A time without a zone is kept as it is written, as if it were in UTC.
    """

    type = pa.timestamp("us", tz="UTC")
    exact = True

    def column(self, values: Sequence[Any]) -> pa.Array:
        return pa.array([v if v is None else _moment(v) for v in values], self.type)

    def misfit(self, value: Any, path: str) -> Misfit | None:
        try:
            _moment(value)
        except (ValueError, OverflowError):
            return Misfit(path, f"{value!r} is no moment of the years 1 to 9999 (leap seconds are not taken)")
        return None


class EnumShape(Shape):
    """String enums as a dictionary that holds all the schema's words in their order, the same in every part.

    A word in another case, or with another form of its accents, blanks or a full stop, is that word if no other one is.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.type = pa.dictionary(pa.int32(), pa.string())
        self.words = tuple(words)
        self._indices: dict[str | None, int | None] = {word: place for place, word in enumerate(words)}
        keys = Counter(map(word_key, words))
        self._by_key = {word_key(word): word for word in words if keys[word_key(word)] == 1}
        self._dictionary = pa.array(self.words, pa.string())

    def mended(self, value: Any) -> Any:
        if not isinstance(value, str) or value in self._indices or len(value) > _LONGEST_WORD:
            return value
        key = word_key(value)
        return self._by_key.get(key) or self._by_key.get(key.removesuffix("."), value)

    def column(self, values: Sequence[Any]) -> pa.Array:
        places = self._indices
        indices = pa.array([places[v] if v in places else places.get(self.mended(v)) for v in values], pa.int32())
        return pa.DictionaryArray.from_arrays(indices, self._dictionary)


class NumberTextShape(Shape):
    """Numbers that may be written as text (pydantic's Decimal), as text: no digit is lost."""

    type = pa.string()

    def column(self, values: Sequence[Any]) -> pa.Array:
        return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], self.type)


class JsonTextShape(Shape):
    """What has no single type: kept as compact JSON text. `why` is for the remark of `check`."""

    type = pa.string()

    def __init__(self, why: str) -> None:
        self.why = why

    def column(self, values: Sequence[Any]) -> pa.Array:
        texts = [v if v is None else json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in values]
        return pa.array(texts, self.type)


class ListShape(Shape):
    """Arrays as lists."""

    def __init__(self, item: Shape) -> None:
        self.type = pa.list_(item.type)
        self.item = item
        self.exact = item.exact

    def column(self, values: Sequence[Any]) -> pa.Array:
        items = self.item.column([item for v in values if v is not None for item in v])
        return pa.ListArray.from_arrays(_offsets(values), items)

    def misfit(self, value: Any, path: str) -> Misfit | None:
        for place, item in enumerate(value):
            if item is not None and (found := self.item.misfit(item, f"{path}/{place}")):
                return found
        return None

    def mended(self, value: Any) -> Any:
        return [self.item.mended(item) for item in value] if isinstance(value, list) else value


class MapShape(Shape):
    """Objects with free keys and values of one schema (`additionalProperties`) as a map."""

    def __init__(self, item: Shape) -> None:
        self.type = pa.map_(pa.string(), item.type)
        self.item = item
        self.exact = item.exact

    def column(self, values: Sequence[Any]) -> pa.Array:
        present = [v for v in values if v is not None]
        keys = pa.array([key for v in present for key in v], pa.string())
        items = self.item.column([item for v in present for item in v.values()])
        return pa.MapArray.from_arrays(_offsets(values), keys, items)

    def misfit(self, value: Any, path: str) -> Misfit | None:
        for key, item in value.items():
            if item is not None and (found := self.item.misfit(item, f"{path}/{pointer(key)}")):
                return found
        return None

    def mended(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: self.item.mended(item) for key, item in value.items()}


REST = "additional_properties"
"""The field that holds the free keys of an object which names others."""


class ObjectShape(Shape):
    """Objects with named properties as a struct; `rest` is the shape of the free keys, if the schema gives them one.

    `optional` are the properties that may be absent: models write null for what they do not find, allowed or not.
    """

    def __init__(self, fields: Mapping[str, Shape], optional: frozenset[str], rest: MapShape | None) -> None:
        self.fields = dict(fields)
        self.optional = optional
        self.rest = rest
        shown: dict[str, Shape] = self.fields if rest is None else {**self.fields, REST: rest}
        self._arrow_fields = [pa.field(name, shape.type) for name, shape in shown.items()]
        self.type = pa.struct(self._arrow_fields)
        self._exact = [(name, shape) for name, shape in self.fields.items() if shape.exact]
        self.exact = bool(self._exact) or (rest is not None and rest.exact)

    def column(self, values: Sequence[Any]) -> pa.Array:
        empty: dict[str, Any] = {}
        present = [empty if v is None else v for v in values]
        children = [shape.column([v.get(name) for v in present]) for name, shape in self.fields.items()]
        if self.rest is not None:
            children.append(self.rest.column([v if v is None else self._free(v) for v in values]))
        mask = pa.array([v is None for v in values], pa.bool_())
        return pa.StructArray.from_arrays(children, fields=self._arrow_fields, mask=mask)

    def misfit(self, value: Any, path: str) -> Misfit | None:
        for name, shape in self._exact:
            item = value.get(name)
            if item is not None and (found := shape.misfit(item, f"{path}/{pointer(name)}")):
                return found
        return None if self.rest is None else self.rest.misfit(self._free(value), path)

    def mended(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: self.fields[name].mended(item) if name in self.fields else item
            for name, item in value.items()
            if item is not None or name not in self.optional
        }

    def _free(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return {name: item for name, item in value.items() if name not in self.fields}


def pointer(name: str) -> str:
    """Return a property's name as a token of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _offsets(values: Sequence[Any]) -> pa.Array:
    """Return where each list starts in the items put end to end; null where there is no list."""
    offsets: list[int | None] = []
    end = 0
    for value in values:
        offsets.append(None if value is None else end)
        end += 0 if value is None else len(value)
    offsets.append(end)
    return pa.array(offsets, pa.int32())
