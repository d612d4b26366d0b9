"""When an answer counts as right: two values are compared as what they are, by the types of their columns.

`ValueReader` takes the types of the two columns, chooses one way to read both, and gives each value a key; values are
equal when their keys are. A boolean beside `1` is read as a boolean, a number beside `"12.50"` as a number, a moment
beside a text as a moment. Where both sides are text, the rule for text (`spelling`) decides; an answer without a type
(a completion, JSON without a schema) also counts as a number, boolean or moment where it is plainly written as one.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from batchgen.evaluation.moments import moment_key, read_moment, read_time
from batchgen.evaluation.numbers import PLAIN_NUMBER, amount_key, number_key, read_number
from batchgen.evaluation.spelling import NO_VALUE, same_text
from batchgen.evaluation.written import comparable_values, is_text, map_item, written
from batchgen.text.literal import python_value

_MOST_KNOWN = 100_000  # keys of texts kept: labels and other short values repeat
_LONGEST_LITERAL = 100_000
_TRUE = frozenset(("true", "yes", "y", "t", "on", "1"))
_FALSE = frozenset(("false", "no", "n", "f", "off", "0"))
_USUAL_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
_AMOUNT_OR_DATE = r"^[a-z]{2,3} ?[0-9]|[0-9]{1,2}(st|nd|rd|th)?[ -].*[0-9]{4}|[a-z] [0-9]{1,2}(st|nd|rd|th)? [0-9]{4}"
_USUAL_WORDS = r"^[a-z]([a-z0-9 '()/&-]*[a-z0-9])?$"
_NO_VALUES = pa.array(sorted(NO_VALUE))
_SAMPLE = 1_000  # texts looked at to see whether a column repeats itself
_REAL_DIGITS = 15  # every number of so many digits is one of its own as a float
_SEPARATORS = ("\n", ";", "|", ",")
_LIST_BRACKETS = ("[]", "()", "{}")
_NUMPY_ITEM = re.compile(r"'[^']*+'|\"[^\"]*+\"|-?\d[\d.]*+(?:e[-+]\d++)?+")
_NUMPY_LIST = re.compile(rf"\[\s*+(?:{_NUMPY_ITEM.pattern})(?:\s++(?:{_NUMPY_ITEM.pattern}))+\s*+\]")
_FENCED = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)
_MARKED_ITEM = re.compile(r"(?:[-*•–]|\d{1,3}[.)])\s+(?=\S)")
_QUOTED_ITEM = re.compile(r"'[^']++'|\"[^\"]++\"")


class Kind(IntEnum):
    """How values are read. Of two columns the higher kind counts."""

    TEXT = 0
    UNTYPED = 1
    NUMBER = 2
    TIME = 3
    DATE = 4
    MOMENT = 5
    BOOLEAN = 6
    OBJECT = 7
    LIST = 8


def _kind(type_: pa.DataType | None) -> Kind:
    if type_ is None:
        return Kind.UNTYPED
    if pt.is_boolean(type_):
        return Kind.BOOLEAN
    if pt.is_integer(type_) or pt.is_floating(type_) or pt.is_decimal(type_):
        return Kind.NUMBER
    if pt.is_timestamp(type_):
        return Kind.MOMENT
    if pt.is_date(type_):
        return Kind.DATE
    if pt.is_time(type_):
        return Kind.TIME
    if pt.is_struct(type_) or map_item(type_) is not None:
        return Kind.OBJECT
    if pt.is_list(type_) or pt.is_large_list(type_) or pt.is_fixed_size_list(type_):
        return Kind.LIST
    return Kind.TEXT


class ValueReader:
    """One way to read two columns. `types` are theirs, None for values without one (JSON, a completion).

    `labels`: the words for no value (`none`, `n/a`) are labels like others, and lists are sets.
    """

    def __init__(self, types: Sequence[pa.DataType | None], *, labels: bool = False) -> None:
        types = [t.value_type if t is not None and pt.is_dictionary(t) else t for t in types]
        given = [t for t in types if t is None or not pt.is_null(t)]
        self.kind = max(map(_kind, given), default=Kind.TEXT)
        self.labels = labels
        self._real = any(t is not None and pt.is_floating(t) for t in given)
        self._same = len({str(t) for t in types}) == 1 and Kind.NUMBER <= self.kind <= Kind.BOOLEAN
        self._known: dict[str, str | None] = {}
        self._items: ValueReader | None = None  # None: values of JSON
        self._fields: dict[str, ValueReader] = {}
        self._others: ValueReader | None = None
        if self.kind is Kind.LIST:
            items = [t.value_type for t in given if t is not None and _kind(t) is Kind.LIST]
            self._items = ValueReader(items, labels=labels)
        elif self.kind is Kind.OBJECT:
            structs = [t for t in given if t is not None and pt.is_struct(t)]
            for name in dict.fromkeys(field.name for struct in structs for field in struct):
                places = [struct.field(name).type for struct in structs if struct.get_field_index(name) >= 0]
                self._fields[name] = ValueReader(places)
            maps = [item for t in given if t is not None and (item := map_item(t)) is not None]
            self._others = ValueReader(maps) if maps else None

    def key(self, value: Any) -> str | None:
        """Return what equal values share; None for no value."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, str):
            if value in self._known:
                return self._known[value]
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._text(value)
            if len(value) <= _LONGEST_LITERAL:
                self._known[value] = found
            return found
        if isinstance(value, Mapping | list | tuple):
            try:
                pairs = self.kind is Kind.OBJECT and all(isinstance(one, tuple) for one in value)  # an Arrow map
                if isinstance(value, Mapping) or pairs:
                    return self._object(dict(value))
                return self._list(value)
            except RecursionError:  # nested some hundred levels deep
                return _json_key(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float | Decimal):
            if self.kind is Kind.BOOLEAN and value in (0, 1):
                return "true" if value else "false"
            return self._number(Decimal(repr(value)) if isinstance(value, float) else Decimal(value))
        if isinstance(value, dt.date):
            return self._moment(value)
        if isinstance(value, dt.time):
            return value.isoformat()
        return self._text(str(value))

    def keys(self, values: pa.Array | list[Any]) -> pa.Array:
        """Return the keys of a column; each text that repeats is read once."""
        if isinstance(values, list):
            return pa.array(map(self.key, values), pa.string())
        if pt.is_dictionary(values.type):
            return self.keys(values.dictionary).take(values.indices)
        if is_text(values.type) and _repeats(values):
            coded = values.cast(pa.string()).dictionary_encode()
            return self._distinct_keys(coded.dictionary).take(coded.indices)
        return self._distinct_keys(values)

    def _distinct_keys(self, values: pa.Array) -> pa.Array:
        if self._same and not pt.is_decimal(values.type):
            if pt.is_floating(values.type):
                values = pc.if_else(pc.is_nan(values), None, pc.add(values, pa.scalar(0, values.type)))  # -0 is 0
            return values.cast(pa.string())
        if pt.is_floating(values.type):
            values = values.cast(pa.string())  # the shortest digits: 0.1 from 32 bits is 0.1
        elif self.kind is Kind.NUMBER and pt.is_integer(values.type):
            values = values.cast(pa.string())
        if not is_text(values.type):
            return pa.array(map(self.key, comparable_values(values)), pa.string())
        values = values.cast(pa.string())
        found = _usual_numbers(values) if self.kind is Kind.NUMBER else None
        if self.kind in (Kind.TEXT, Kind.UNTYPED):
            found = _usual_words(values)
        rest = values if found is None else values.filter(pc.is_null(found))
        coded = rest.dictionary_encode()
        keys = pa.array(map(self.key, coded.dictionary.to_pylist()), pa.string()).take(coded.indices)
        return keys if found is None else pc.replace_with_mask(found, pc.is_null(found), keys)

    def parts(self, value: Any) -> list[tuple[str | None, str | None]]:
        """Return the items of a list, each as its key and as text."""
        values = _items(value) if isinstance(value, str) else value
        return [((self._items or _UNTYPED).key(one), written(one)) for one in values or ()]

    @staticmethod
    def set_items(key: str) -> list[str]:
        """Return the keys of the labels in the key of a list of labels."""
        found: list[str] = json.loads(key)
        return found

    def _text(self, value: str) -> str | None:
        text = same_text(value)
        if not text or (text in NO_VALUE and not self.labels):
            return None
        if self.kind is Kind.LIST:
            return self._list(_items(value))
        if self.kind is Kind.OBJECT:
            found = _literal(value, "{")
            return text if found is None else self.key(found)
        if self.kind is Kind.BOOLEAN:
            word = text.removesuffix(".0")
            return "true" if word in _TRUE else "false" if word in _FALSE else text
        if self.kind is Kind.NUMBER:
            number = read_number(text)
            return (amount_key(text) or text) if number is None else self._number(number)
        if self.kind in (Kind.MOMENT, Kind.DATE):
            moment = read_moment(text) or read_moment(value.strip().lower())  # the dots of `5. 3. 2024` are needed
            return text if moment is None else self._moment(moment)
        if self.kind is Kind.TIME:
            time = read_time(text)
            return text if time is None else time.isoformat()
        return _read_text(value, text, typed=self.kind is Kind.TEXT)

    def _moment(self, value: dt.date) -> str:
        return moment_key(value, day=self.kind is Kind.DATE, untyped=self.kind is Kind.UNTYPED)

    def _number(self, number: Decimal) -> str:
        if self._real and len(number.as_tuple().digits) > _REAL_DIGITS:
            number = Decimal(repr(float(number)))  # the other side, a float, could not keep more
        return number_key(number)

    def _list(self, values: Sequence[Any]) -> str | None:
        keys = [(self._items or _UNTYPED).key(value) for value in values]
        if self.labels:
            return _json_key(sorted({key for key in keys if key is not None}))
        return f"[{','.join(map(_part, keys))}]" if keys else None

    def _object(self, value: Mapping[Any, Any]) -> str | None:
        keys = {str(name): (self._fields.get(name) or self._others or _UNTYPED).key(one) for name, one in value.items()}
        parts = (f"{_part(name)}={_part(key)}" for name, key in sorted(keys.items()) if key is not None)
        return f"{{{','.join(parts)}}}" if keys else None


def _read_text(value: str, text: str, *, typed: bool) -> str:
    """Read a text whose other side has no type either: JSON and moments with a zone always, other kinds if untyped."""
    if text[0] in "{[":
        found = _literal(value, text[0])
        if found is not None:
            return _UNTYPED.key(found) or text
    if not typed and PLAIN_NUMBER.fullmatch(text):
        return number_key(Decimal(text))
    moment = read_moment(text)
    if moment is not None and (moment.tzinfo is not None or not typed):
        return moment_key(moment, day=False, untyped=True)
    return amount_key(text) or text


def _literal(text: str, opening: str) -> Any:
    """Return a list or object written as JSON, or as Python writes it; None if it is neither."""
    text = text.strip()
    if (fenced := _FENCED.fullmatch(text)) is not None:
        text = fenced[1]
    if not text.startswith(opening) or len(text) > _LONGEST_LITERAL:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = python_value(text)
    return found if isinstance(found, dict if opening == "{" else list) else None


def _items(text: str) -> list[Any]:
    """Return the items of a list written in a cell: JSON, as a program prints a list, or parted by a separator.

    NumPy, and so pandas, puts blanks between the items; DuckDB, Spark and PostgreSQL leave quotes out.
    """
    text = text.strip()
    if _NUMPY_LIST.fullmatch(text):
        return [item[1:-1] if item[0] in "'\"" else item for item in _NUMPY_ITEM.findall(text[1:-1])]
    found = _literal(text, "[")
    if isinstance(found, list):
        return found
    if len(text) > 1 and text[0] + text[-1] in _LIST_BRACKETS:
        found = python_value(text)
        if isinstance(found, tuple | set):
            return list(found)
        text = text[1:-1]
    separator = next((sign for sign in _SEPARATORS if sign in text), "\n")
    items = [item.strip() for item in text.split(separator) if item.strip()]
    if len(items) > 1 and separator == "\n" and all(map(_MARKED_ITEM.match, items)):  # a list as people write one
        items = [_MARKED_ITEM.sub("", item, count=1) for item in items]
    return [item[1:-1] if _QUOTED_ITEM.fullmatch(item) else item for item in items if item]


def _repeats(values: pa.Array) -> bool:
    """Whether the first of a column's texts stand for few different ones, as labels do."""
    return len(values) > _SAMPLE and len(values.slice(0, _SAMPLE).unique()) < _SAMPLE // 2


def _usual_numbers(values: pa.Array) -> pa.Array:
    """Return the keys of numbers as programs mostly write them, null for every other text."""
    usual = pc.match_substring_regex(values, _USUAL_NUMBER)
    usual = pc.and_(usual, pc.less_equal(pc.binary_length(values), _REAL_DIGITS))
    keys = pc.replace_substring_regex(values, r"(\.[0-9]*[1-9])0+$|\.0+$", r"\1")
    keys = pc.if_else(pc.equal(keys, "-0"), "0", keys)
    return pc.if_else(usual, keys, pa.scalar(None, pa.string()))


def _usual_words(values: pa.Array) -> pa.Array:
    """Return the keys of plain ASCII words, null for every other text; they are as `same_text` gives them."""
    keys = pc.ascii_lower(pc.ascii_trim_whitespace(values))
    keys = pc.replace_substring_regex(keys, r"\s+", " ")
    usual = pc.and_(pc.match_substring_regex(keys, _USUAL_WORDS), pc.invert(pc.is_in(keys, _NO_VALUES)))
    usual = pc.and_not(usual, pc.match_substring_regex(keys, _AMOUNT_OR_DATE))
    return pc.if_else(usual, keys, pa.scalar(None, pa.string()))


def _part(key: str | None) -> str:
    """Return a key as a part of another one: with its length, since quoting would double at each level."""
    return "" if key is None else f"{len(key)}:{key}"


def _json_key(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


_UNTYPED = ValueReader([None])
