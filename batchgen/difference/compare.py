"""Run against run on the same rows: `batchgen diff DIR_A DIR_B`.

Rows are joined by `row_id`. Both runs are read once, side by side, since results stand in input order; a row waits in
memory until the other run comes to it. Where the orders differ so much that more than `MOST_WAITING` rows would wait,
the rest is parted by `row_id` into temporary files, each of which is joined by itself: memory stays bounded either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.difference.join import Pair, joined
from batchgen.difference.sides import Side, SideTally
from batchgen.errors import OutputError, UsageError
from batchgen.evaluation.evaluate import compared_row
from batchgen.evaluation.rows import PublishedRows
from batchgen.evaluation.statistics import Bootstrap, Measure
from batchgen.evaluation.values import normalised, written
from batchgen.files.table import table_file
from batchgen.job.evaluation_settings import EvaluationSettings
from batchgen.text.storable import json_bytes

_READ = ["row_id", "status", "completion", "parsed", "finish_reason", "model", "cost", "latency_ms"]
_READ += ["input_tokens", "output_tokens"]
_NO_ANSWERS = ("confidence", "agreement")  # in `parsed`, but about the answer


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

    `status` and `finish_reason` look at all common rows; `completion` (letter by letter), `answer` (normalised, or all
    fields of `parsed`) and `fields` at those that succeeded in both. `changed` are the first rows that differ in status
    or answer.
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
    gold: GoldDifference | None = None

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
    rows_a, rows_b = PublishedRows(directory_a), PublishedRows(directory_b)
    gold_columns: list[str] = []
    if settings is not None:
        gold_columns = settings.columns
        rows_a.check_carried(gold_columns)
    tally = _Tally(str(directory_a), str(directory_b), settings, show)
    with _changed_file(changed) as add:
        for pair in joined(_stream(rows_a, gold_columns), _stream(rows_b, [])):
            found = tally.add(pair)
            if found is not None:
                add(found)
        if not tally.rows:
            raise OutputError(
                f"{directory_a} and {directory_b} have no row_id in common: they are runs of other inputs."
            )
    return tally.finished()


def _stream(rows: PublishedRows, gold: list[str]) -> Iterator[dict[str, Any]]:
    for batch in rows.batches([*_READ, *gold]):
        yield from batch


class _Tally:
    """Counts over the pairs as they come."""

    def __init__(self, name_a: str, name_b: str, settings: EvaluationSettings | None, show: int) -> None:
        self.rows = 0
        self._a, self._b = SideTally(name_a), SideTally(name_b)
        self._only_a = self._only_b = 0
        self._status = self._finish = self._both = self._completion = self._answer = 0
        self._fields: dict[str, list[int]] = {}
        self._settings = settings
        self._gold_cells = [0, 0, 0, 0]  # both right, only A, only B, neither
        self._show = show
        self._changed_rows = 0
        self._changed: list[Changed] = []

    def add(self, pair: Pair) -> Changed | None:
        """Count a pair; return it if the answers differ."""
        a, b = pair
        if a is None or b is None:
            self._only_a += b is None
            self._only_b += a is None
            return None
        self.rows += 1
        self._a.add(a)
        self._b.add(b)
        self._status += a["status"] == b["status"]
        self._finish += a["finish_reason"] == b["finish_reason"]
        fields: dict[str, tuple[str | None, str | None]] = {}
        same = a["status"] == b["status"]
        if a["status"] == b["status"] == "succeeded":
            self._both += 1
            exact = a["completion"] == b["completion"]
            fields = self._differing_fields(a.get("parsed"), b.get("parsed"))
            typed = a.get("parsed") is not None and b.get("parsed") is not None
            same = not fields if typed else exact or normalised(a["completion"]) == normalised(b["completion"])
            self._completion += exact
            self._answer += same
        if self._settings is not None:
            self._compare_with_gold(a, b, self._settings)
        if same:
            return None
        self._changed_rows += 1
        changed = Changed(a["row_id"], a["status"], b["status"], a["completion"], b["completion"], fields)
        if len(self._changed) < self._show:
            self._changed.append(changed)
        return changed

    def _differing_fields(
        self, a: Mapping[str, Any] | None, b: Mapping[str, Any] | None
    ) -> dict[str, tuple[str | None, str | None]]:
        if a is None or b is None:
            return {}
        differing = {}
        for name in a:
            if name in b and name not in _NO_ANSWERS:
                counts = self._fields.setdefault(name, [0, 0])
                counts[0] += 1
                same = a[name] == b[name] or normalised(a[name]) == normalised(b[name])
                counts[1] += same
                if not same:
                    differing[name] = (written(a[name]), written(b[name]))
        return differing

    def _compare_with_gold(self, a: Mapping[str, Any], b: Mapping[str, Any], settings: EvaluationSettings) -> None:
        compared_a = compared_row(a, settings.gold)
        if not compared_a:
            return
        compared_b = compared_row({**b, **{column: a[column] for column in settings.columns}}, settings.gold)
        right_a, right_b = (all(one.match for one in compared) for compared in (compared_a, compared_b))
        self._gold_cells[(not right_a) * 2 + (not right_b)] += 1

    def finished(self) -> Difference:
        """Return the whole comparison. Raises `UsageError` when there is gold but no numpy."""
        return Difference(
            a=self._a.side(),
            b=self._b.side(),
            rows=self.rows,
            only_in_a=self._only_a,
            only_in_b=self._only_b,
            status=Agreement(self.rows, self._status),
            finish_reason=Agreement(self.rows, self._finish),
            completion=Agreement(self._both, self._completion),
            answer=Agreement(self._both, self._answer),
            fields={name: Agreement(*counts) for name, counts in self._fields.items()},
            changed_rows=self._changed_rows,
            changed=self._changed,
            gold=None if self._settings is None else self._gold(self._settings),
        )

    def _gold(self, settings: EvaluationSettings) -> GoldDifference:
        both, only_a, only_b, neither = self._gold_cells
        rows = both + only_a + only_b + neither
        if rows == 0:
            raise UsageError(f"None of the common rows has a gold value in {', '.join(settings.columns)}.")
        bootstrap = Bootstrap(settings.seed, settings.resamples)
        paired = bootstrap.measure(self._gold_cells, lambda counts: (counts[:, 2] - counts[:, 1]) / rows, rows)
        return GoldDifference(
            rows, bootstrap.share(both + only_a, rows), bootstrap.share(both + only_b, rows), paired, only_a, only_b
        )


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
