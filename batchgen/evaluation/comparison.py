"""Answers beside gold values, a batch of rows at a time: which are right, and which rows are worth reading first."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.evaluation.answers import AnswerColumn, certainties, without_value
from batchgen.evaluation.labels import NO_LABEL, OTHER_LABEL
from batchgen.evaluation.values import Kind, ValueReader
from batchgen.evaluation.written import comparable_values, texts
from batchgen.nearest import nearest

MOST_LABELS = 1_000
"""More different gold values than this are no labels but free text."""

_MOST_SPELLINGS = 8

COMPARED_COLUMNS = pa.schema(
    [
        ("row_id", pa.string()),
        ("field", pa.string()),
        ("gold", pa.string()),
        ("predicted", pa.string()),
        ("exact", pa.bool_()),
        ("match", pa.bool_()),
        ("status", pa.string()),
        ("confidence", pa.float64()),
        ("agreement", pa.float64()),
    ]
)


class Compared(Struct, frozen=True):
    """One answer beside its gold value. `field` is None for a label; `confidence` and `agreement` are the row's."""

    row_id: str
    field: str | None
    gold: str | None
    predicted: str | None
    exact: bool
    match: bool
    status: str
    confidence: float | None = None
    agreement: float | None = None


class Columns(NamedTuple):
    """A batch of comparisons: both sides as text and as keys (`values.Reader`), and where they agree."""

    gold: pa.Array
    predicted: pa.Array
    gold_keys: pa.Array
    predicted_keys: pa.Array
    exact: pa.Array
    match: pa.Array


class Comparer:
    """Compares the answers of one run for one field (None: the label) with a gold column of the given type."""

    def __init__(self, schema: pa.Schema, field: str | None, gold_type: pa.DataType) -> None:
        self.answer = AnswerColumn(schema, field)
        self.reader = ValueReader([self.answer.type, gold_type], labels=field is None)
        self._truth = ValueReader([pa.bool_(), gold_type])

    def check_field(self, run: str) -> None:
        """Raise `UsageError` for a field that no answer can have, which would count as wrong in every row."""
        unknown = self.answer.unknown
        if unknown is not None:
            near = nearest(unknown, self.answer.beside)
            meant = "" if near is None else f"; did you mean {near!r}?"
            raise UsageError(
                f"gold: the answers of {run} have no field {unknown!r}{meant or '.'} "
                f"The fields are {', '.join(map(repr, self.answer.beside))}."
            )

    def compare(self, gold: pa.Array, batch: pa.RecordBatch) -> Columns:
        """Compare the rows of a batch. A failed row has no answer and is never right."""
        answered = succeeded(batch)
        values = self.answer.values(batch)
        nothing = pa.scalar(None, pa.string())
        gold_texts, gold_keys = texts(gold), self.reader.keys(gold)
        predicted = pc.if_else(answered, texts(values), nothing)
        keys = self.reader.keys(values)
        if isinstance(values, list):
            keys = self._truth_as_in_gold(values, keys, gold, gold_keys)
        keys = pc.if_else(answered, keys, nothing)
        exact = pc.and_(answered, same(gold_texts, predicted))
        match = pc.and_(answered, pc.or_(exact, same(gold_keys, keys)))
        return Columns(gold_texts, predicted, gold_keys, keys, exact, match)

    def _truth_as_in_gold(self, values: list[Any], keys: pa.Array, gold: pa.Array, gold_keys: pa.Array) -> pa.Array:
        """Return the keys with JSON's `true` and `false` as gold spells them (`1`, `yes`)."""
        places = [place for place, value in enumerate(values) if isinstance(value, bool)]
        if not places:
            return keys
        taken: Any = pa.array(places, pa.int64())
        alike = pc.fill_null(pc.equal(self._truth.keys(gold.take(taken)), keys.take(taken)), False)
        mask = [False] * len(values)
        for place, same_truth in zip(places, alike.to_pylist(), strict=True):
            mask[place] = same_truth
        return pc.if_else(pa.array(mask), gold_keys, keys)


def succeeded(batch: pa.RecordBatch) -> pa.Array:
    """Return where a row succeeded."""
    return pc.equal(batch.column("status").cast(pa.string()), "succeeded")


def same(one: pa.Array, other: pa.Array) -> pa.Array:
    """Return where two columns are equal; null equals null only."""
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(pc.fill_null(pc.equal(one, other), False), both_null)


def everywhere(masks: list[pa.Array]) -> pa.Array:
    """Return where all of the masks are true."""
    return reduce(pc.and_, masks)


def with_gold(batch: pa.RecordBatch, columns: list[str]) -> pa.Array:
    """Return where at least one gold column has a value."""
    return pc.invert(everywhere([without_value(batch.column(column)) for column in columns]))


def count(mask: pa.Array) -> int:
    """Return how often a mask is true."""
    found: int = pc.sum(mask).as_py() or 0
    return found


def compared_table(batch: pa.RecordBatch, field: str | None, columns: Columns) -> pa.Table:
    """Return comparisons as a table of `COMPARED_COLUMNS`."""
    rows = batch.num_rows
    sure = certainties(batch) if field is None else [pa.nulls(rows, pa.float64())] * 2
    fields = pa.array([field] * rows, pa.string())
    status = batch.column("status").cast(pa.string())
    known = [batch.column("row_id"), fields, columns.gold, columns.predicted, columns.exact, columns.match, status]
    return pa.Table.from_arrays([*known, *sure], schema=COMPARED_COLUMNS)


class Spellings:
    """The spellings of a gold column that count as one value, while there are at most `MOST_LABELS` values."""

    def __init__(self, reader: ValueReader) -> None:
        self._reader = reader
        self.of: dict[str, list[str]] = {}
        self._names: set[str] = set()  # the first spelling of each

    @property
    def too_many(self) -> bool:
        """Whether the column holds free text."""
        return len(self.of) > MOST_LABELS

    def add(self, gold: pa.Array) -> None:
        """Take in a batch of gold values; those without a value are passed over."""
        if self.too_many:
            return
        if self._reader.kind is Kind.LIST:
            for value in comparable_values(gold):
                for key, text in self._reader.parts(value):
                    self._add(key, text)
            return
        pairs = pa.table({"key": self._reader.keys(gold), "text": texts(gold)}).group_by(
            ["key", "text"], use_threads=False
        )
        for row in pairs.aggregate([]).to_pylist():
            self._add(row["key"], row["text"])
            if self.too_many:
                return

    def _add(self, key: str | None, text: str | None) -> None:
        if key is not None and text is not None and not self.too_many:
            known = self.of.setdefault(key, [])
            if not known:
                self._names.add(text)
            if text not in known and len(known) < _MOST_SPELLINGS:
                known.append(text)

    def merged(self) -> list[list[str]]:
        """Return the spellings that fall together."""
        return [] if self.too_many else [texts_ for texts_ in self.of.values() if len(texts_) > 1]

    def name(self, key: str) -> str:
        """Return a label by its key, in the spelling met first."""
        return self.of[key][0] if key in self.of else self.unlike(OTHER_LABEL)

    def unlike(self, word: str) -> str:
        """Return a word for what is no label: in further parentheses where a label is called so."""
        while word in self._names:
            word = f"({word})"
        return word


class Cells:
    """Counts of rows by (gold labels, predicted labels); a job with one label a row has one on each side."""

    def __init__(self, labels: Spellings, *, sets: bool) -> None:
        self._labels = labels
        self._sets = sets
        self.counts: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()

    def add(self, columns: Columns) -> None:
        """Count a batch of rows."""
        pairs = pa.table({"gold": columns.gold_keys, "predicted": columns.predicted_keys})
        for row in pairs.group_by(["gold", "predicted"], use_threads=False).aggregate([([], "count_all")]).to_pylist():
            self.counts[self._names(row["gold"]), self._names(row["predicted"])] += row["count_all"]

    def _names(self, key: str | None) -> tuple[str, ...]:
        if key is None:
            return (self._labels.unlike(NO_LABEL),)
        keys = ValueReader.set_items(key) if self._sets else [key]
        return tuple(sorted({self._labels.name(one) for one in keys}))


class FirstLook:
    """The few comparisons worth reading first: wrong ones, the surest at the top, and right ones, the least sure."""

    def __init__(self, show: int) -> None:
        self._show = show
        self._kept: dict[bool, pa.Table] = {}
        self._first = 0

    def add(self, tables: list[pa.Table]) -> None:
        """Look at a batch: a table for each field, of the same rows."""
        for place, table in enumerate(tables if self._show else ()):
            last = self._first + table.num_rows * len(tables)
            numbers = range(self._first + place, last + place, len(tables))
            sure = pc.coalesce(table["confidence"], table["agreement"], pa.scalar(-1.0))
            ranked = table.append_column("sure", sure).append_column("number", pa.array(numbers, pa.int64()))
            self._keep(False, ranked.filter(pc.invert(table["match"])))
            unsure = pc.and_(pc.less(sure, 1), pc.greater_equal(sure, 0))
            self._keep(True, ranked.filter(pc.and_(table["match"], unsure)))
        self._first += sum(table.num_rows for table in tables)

    def _keep(self, right: bool, table: pa.Table) -> None:
        if table.num_rows == 0:
            return
        if right in self._kept:
            table = pa.concat_tables([self._kept[right], table])
        order = [("sure", "ascending" if right else "descending"), ("number", "ascending")]
        # copied, so that the whole batch is not held by the few rows kept
        self._kept[right] = table.take(pc.sort_indices(table, sort_keys=order)[: self._show])

    def rows(self, *, right: bool) -> list[Compared]:
        """Return the comparisons kept, in their order."""
        if right not in self._kept:
            return []
        return [Compared(**row) for row in self._kept[right].select(COMPARED_COLUMNS.names).to_pylist()]


def in_row_order(tables: list[pa.Table]) -> pa.Table:
    """Return the comparisons of several fields with those of one row together."""
    if len(tables) == 1:
        return tables[0]
    rows = tables[0].num_rows
    order: Any = pa.array([place * rows + row for row in range(rows) for place in range(len(tables))], pa.int64())
    return pa.concat_tables(tables).take(order)
