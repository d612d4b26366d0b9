"""Run against run on the same rows: `batchgen diff DIR_A DIR_B`.

Rows are joined by `row_id`. Both runs are read once, side by side, since results stand in input order; a row waits in
memory until the other run comes to it. Where the orders differ so much that more than `MOST_WAITING` rows would wait,
the rest is parted by `row_id` into temporary files, each of which is joined by itself: memory stays bounded either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.difference.floor import NoiseFloor, floor_of
from batchgen.difference.join import joined
from batchgen.difference.sides import Side, SideTally
from batchgen.errors import OutputError, UsageError
from batchgen.evaluation.answers import ABOUT_THE_ANSWER
from batchgen.evaluation.comparison import Comparer, count, everywhere, same, succeeded, with_gold
from batchgen.evaluation.evaluate import gold_columns
from batchgen.evaluation.statistics import Bootstrap, Measure
from batchgen.evaluation.values import ValueReader
from batchgen.evaluation.written import texts
from batchgen.files.table import table_file
from batchgen.job.evaluation_settings import EvaluationSettings
from batchgen.results.rows import ResultRows
from batchgen.text.storable import json_bytes

_READ = ["row_id", "status", "completion", "parsed", "finish_reason", "model", "cost", "latency_ms"]
_READ += ["input_tokens", "output_tokens"]


class Agreement(Struct, frozen=True):
    """How many of `rows` are `same` in both runs."""

    rows: int
    same: int


class Changed(Struct, frozen=True):
    """A row whose answer differs. `fields` has the differing fields of `parsed`, each as (in A, in B)."""

    row_id: str
    status_a: str
    status_b: str
    completion_a: str | None
    completion_b: str | None
    fields: Mapping[str, tuple[str | None, str | None]] = {}


class GoldDifference(Struct, frozen=True):
    """Who is right on the rows that both runs have and that have gold; `difference` is B's accuracy less A's.

    `only_a` and `only_b` count rows that one run alone has right; the interval is a paired bootstrap over rows.
    """

    rows: int
    accuracy_a: Measure
    accuracy_b: Measure
    difference: Measure
    only_a: int
    only_b: int


class Difference(Struct, frozen=True, kw_only=True):
    """What two runs have in common. `a` and `b` count the rows both have; rows of one run alone are counted apart.

    `fields_only_in_a` and `fields_only_in_b` are fields of `parsed` that one run alone has: they are not compared.
    `status` and `finish_reason` look at all common rows; `completion` (letter by letter), `answer` (normalised, or all
    fields of `parsed`) and `fields` at those that succeeded in both. `changed` are the first rows that differ in status
    or answer. `floor`: how many differ although nothing has changed, where one of the runs has measured it.
    """

    a: Side
    b: Side
    rows: int
    only_in_a: int
    only_in_b: int
    status: Agreement
    finish_reason: Agreement
    completion: Agreement
    answer: Agreement
    fields: Mapping[str, Agreement]
    changed_rows: int
    changed: list[Changed]
    fields_only_in_a: list[str] = []
    fields_only_in_b: list[str] = []
    gold: GoldDifference | None = None
    floor: NoiseFloor | None = None

    def to_json(self) -> bytes:
        """Return the object of `diff --json`; money as decimal strings."""
        return json_bytes(self)


def difference(
    directory_a: Path | str,
    directory_b: Path | str,
    settings: EvaluationSettings | None = None,
    *,
    show: int = 10,
    changed: Path | str | None = None,
) -> Difference:
    """Compare two runs. `settings`: gold columns that A carried; `show`: changed rows kept; `changed`: a Parquet file
    for all of them.

    Raises `OutputError` when a directory has no results or the two have no row in common, `InputError` for gold that is
    not there.
    """
    rows_a, rows_b = ResultRows(directory_a), ResultRows(directory_b)
    gold_columns_: list[str] = []
    if settings is not None:
        gold_columns_ = settings.columns
        rows_a.check_carried(gold_columns_)
    tally = _Tally(rows_a, rows_b, settings, show, keep_all=changed is not None)
    with _changed_file(changed) as add:
        for a, b in joined(rows_a.batches([*_READ, *gold_columns_]), rows_b.batches(_READ)):
            for found in tally.add(a, b):
                add(found)
        if not tally.rows:
            raise OutputError(
                f"{directory_a} and {directory_b} have no row_id in common: they are runs of other inputs."
            )
    return msgspec.structs.replace(tally.finished(), floor=floor_of(rows_b, rows_a))


class _Tally:
    """Counts over the pairs of rows as they come."""

    def __init__(
        self, a: ResultRows, b: ResultRows, settings: EvaluationSettings | None, show: int, *, keep_all: bool
    ) -> None:
        self.rows = 0
        self._in_a, self._in_b = a.rows, b.rows
        self._a, self._b = SideTally(a.name), SideTally(b.name)
        self._status = self._finish = self._both = self._completion = self._answer = 0
        self._readers = {
            name: ValueReader([a.parsed_fields[name], b.parsed_fields[name]], labels=name == "label")
            for name in a.parsed_fields
            if name in b.parsed_fields and name not in ABOUT_THE_ANSWER
        }
        names = [[name for name in side.parsed_fields if name not in ABOUT_THE_ANSWER] for side in (a, b)]
        self._alone = [[name for name in names[side] if name not in names[1 - side]] for side in (0, 1)]
        self._text = ValueReader([None])
        self._fields = {name: [0, 0] for name in self._readers}
        self._settings = settings
        self._gold_columns: dict[str | None, str] = {} if settings is None else gold_columns(settings)
        self._gold = {
            field: [Comparer(side.schema, field, a.schema.field(column).type) for side in (a, b)]
            for field, column in self._gold_columns.items()
        }
        for found in self._gold.values():
            for side, comparer in zip((a, b), found, strict=True):
                comparer.check_field(side.name)
        self._gold_cells = [0, 0, 0, 0]  # both right, only A, only B, neither
        self._show = show
        self._keep_all = keep_all
        self._changed_rows = 0
        self._changed: list[Changed] = []

    def add(self, a: pa.RecordBatch, b: pa.RecordBatch) -> list[Changed]:
        """Count rows side by side; return those whose answers differ, as far as somebody wants to see them."""
        self.rows += a.num_rows
        self._a.add(a)
        self._b.add(b)
        same_status = same(a.column("status").cast(pa.string()), b.column("status").cast(pa.string()))
        self._status += count(same_status)
        self._finish += count(same(*(side.column("finish_reason").cast(pa.string()) for side in (a, b))))
        if self._settings is not None:
            self._compare_with_gold(a, b, self._settings)
        both = pc.and_(succeeded(a), succeeded(b))
        exact = pc.and_(both, same(a.column("completion"), b.column("completion")))
        fields = self._compare_fields(a, b, both)
        agreed = everywhere([found.same for found in fields.values()]) if fields else exact
        untyped = pc.invert(fields[next(iter(fields))].typed) if fields else both
        agreed = self._same_texts(a, b, pc.and_(both, untyped), exact, agreed)
        self._both += count(both)
        self._completion += count(exact)
        self._answer += count(pc.and_(both, agreed))
        differing = pc.invert(pc.if_else(both, agreed, same_status))
        self._changed_rows += count(differing)
        wanted = pc.indices_nonzero(differing)
        if not self._keep_all:
            wanted = wanted[: self._show - len(self._changed)]
        found = list(_changed(a.take(wanted), b.take(wanted), {name: one.take(wanted) for name, one in fields.items()}))
        self._changed += found[: self._show - len(self._changed)]
        return found

    def _same_texts(
        self, a: pa.RecordBatch, b: pa.RecordBatch, rows: pa.Array, exact: pa.Array, agreed: pa.Array
    ) -> pa.Array:
        """Return `agreed` with the completions compared in `rows`; only those that differ by letters are read."""
        places = pc.indices_nonzero(pc.and_not(rows, exact))
        keys = [self._text.keys(side.column("completion").take(places)) for side in (a, b)]
        read = pc.replace_with_mask(exact, pc.and_not(rows, exact), same(*keys))
        return pc.if_else(rows, read, agreed)

    def _compare_fields(self, a: pa.RecordBatch, b: pa.RecordBatch, both: pa.Array) -> dict[str, _Field]:
        if not self._readers:
            return {}
        parsed = [side.column("parsed") for side in (a, b)]
        typed = pc.and_(both, pc.and_(pc.is_valid(parsed[0]), pc.is_valid(parsed[1])))
        found = {}
        for name, reader in self._readers.items():
            values = [pc.struct_field(side, name) for side in parsed]
            written = [texts(side) for side in values]
            agreed = same(*written)
            places = pc.indices_nonzero(pc.and_not(typed, agreed))  # only what differs by letters is read
            keys = [reader.keys(side.take(places)) for side in values]
            agreed = pc.replace_with_mask(agreed, pc.and_not(typed, agreed), same(*keys))
            found[name] = _Field(typed, agreed, *written)
            self._fields[name][0] += count(typed)
            self._fields[name][1] += count(pc.and_(typed, agreed))
        return found

    def _compare_with_gold(self, a: pa.RecordBatch, b: pa.RecordBatch, settings: EvaluationSettings) -> None:
        known = with_gold(a, settings.columns)
        a, b = a.filter(known), b.filter(known)
        right_a, right_b = (
            everywhere(
                [
                    self._gold[field][place].compare(a.column(column), side).match
                    for field, column in self._gold_columns.items()
                ]
            )
            for place, side in enumerate((a, b))
        )
        both, only_a, only_b = (
            count(mask)
            for mask in (pc.and_(right_a, right_b), pc.and_not(right_a, right_b), pc.and_not(right_b, right_a))
        )
        for place, number in enumerate((both, only_a, only_b, a.num_rows - both - only_a - only_b)):
            self._gold_cells[place] += number

    def finished(self) -> Difference:
        """Return the whole comparison. Raises `UsageError` when there is gold but no numpy."""
        return Difference(
            a=self._a.side(),
            b=self._b.side(),
            rows=self.rows,
            only_in_a=self._in_a - self.rows,
            only_in_b=self._in_b - self.rows,
            status=Agreement(self.rows, self._status),
            finish_reason=Agreement(self.rows, self._finish),
            completion=Agreement(self._both, self._completion),
            answer=Agreement(self._both, self._answer),
            fields={name: Agreement(*counts) for name, counts in self._fields.items() if counts[0]},
            changed_rows=self._changed_rows,
            changed=self._changed,
            fields_only_in_a=self._alone[0],
            fields_only_in_b=self._alone[1],
            gold=None if self._settings is None else self._gold_difference(self._settings),
        )

    def _gold_difference(self, settings: EvaluationSettings) -> GoldDifference:
        both, only_a, only_b, neither = self._gold_cells
        rows = both + only_a + only_b + neither
        if rows == 0:
            raise UsageError(f"None of the common rows has a gold value in {', '.join(settings.columns)}.")
        bootstrap = Bootstrap(settings.seed, settings.resamples)
        paired = bootstrap.measure(self._gold_cells, lambda counts: (counts[:, 2] - counts[:, 1]) / rows, rows)
        return GoldDifference(
            rows, bootstrap.share(both + only_a, rows), bootstrap.share(both + only_b, rows), paired, only_a, only_b
        )


class _Field(NamedTuple):
    """A field of `parsed` in both runs: where both have it, where it is the same, and both sides as text."""

    typed: pa.Array
    same: pa.Array
    a: pa.Array
    b: pa.Array

    def take(self, rows: pa.Array) -> _Field:
        return _Field(*(column.take(rows) for column in self))


def _changed(a: pa.RecordBatch, b: pa.RecordBatch, fields: Mapping[str, _Field]) -> Iterator[Changed]:
    """Yield rows that differ, with the fields that do."""
    columns = [side.column(name).to_pylist() for name in ("status", "completion") for side in (a, b)]
    differing: list[dict[str, tuple[str | None, str | None]]] = [{} for _ in range(a.num_rows)]
    for name, field in fields.items():
        for row in pc.indices_nonzero(pc.and_not(field.typed, field.same)).to_pylist():
            differing[row][name] = (field.a[row].as_py(), field.b[row].as_py())
    for row_id, *values in zip(a.column("row_id").to_pylist(), *columns, differing, strict=True):
        yield Changed(row_id, *values)


# Parquet

CHANGED_COLUMNS = pa.schema(
    [
        ("row_id", pa.string()),
        ("status_a", pa.string()),
        ("status_b", pa.string()),
        ("completion_a", pa.string()),
        ("completion_b", pa.string()),
        ("fields", pa.list_(pa.struct([("name", pa.string()), ("a", pa.string()), ("b", pa.string())]))),
    ]
)


@contextmanager
def _changed_file(path: Path | str | None) -> Iterator[Callable[[Changed], None]]:
    """Yield what writes a changed row; it does nothing when no file is asked for."""
    if path is None:
        yield lambda row: None
        return
    with table_file(Path(path), CHANGED_COLUMNS) as add:
        yield lambda row: add(
            msgspec.structs.asdict(row)
            | {"fields": [{"name": name, "a": pair[0], "b": pair[1]} for name, pair in row.fields.items()]}
        )
