"""How right the answers of a run are, against gold columns: `[evaluate]` of a job, and `batchgen evaluate DIR`.

`gold = "label"`: the answer is one label; accuracy, per-label precision, recall and F1, confusion. `gold = { customer =
"gold_customer" }`: the answer is an object; per field exact and normalised matches (`values` states the
rule), what was missed, invented or wrong. Intervals are bootstrapped over rows.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.errors import InputError, UsageError
from batchgen.evaluation.fields import FieldScore, FieldTally
from batchgen.evaluation.labels import NO_LABEL, OTHER_LABEL, LabelScores, label_scores
from batchgen.evaluation.rows import PublishedRows
from batchgen.evaluation.statistics import Bootstrap, Measure
from batchgen.evaluation.values import normalised, predicted_field, predicted_label, written
from batchgen.files.table import table_file
from batchgen.job.evaluation_settings import EvaluationSettings
from batchgen.storage.run_state import read_run_json
from batchgen.text.storable import json_bytes

MOST_LABELS = 1_000
"""More different gold values than this are no labels but free text."""


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


class Evaluation(Struct, frozen=True, kw_only=True):
    """What `evaluate` found. `rows` have gold; `unanswered` of them failed or gave no value (and count as wrong).

    Either `labels` or `fields` is filled; with fields, `accuracy` is the share of rows with every one right.
    `disagreements` begin with the surest answers (model or gold is wrong there), `unsure` are right answers with the
    least agreement or confidence.
    """

    directory: str
    gold: str | Mapping[str, str]
    rows: int
    without_gold: int
    unanswered: int
    accuracy: Measure
    labels: LabelScores | None = None
    fields: list[FieldScore] = []
    disagreements: list[Compared] = []
    unsure: list[Compared] = []
    seed: int = 0
    resamples: int = 0

    def to_json(self) -> bytes:
        """Return the object of `evaluate --json`."""
        return json_bytes(self)


def gold_setting(texts: tuple[str, ...]) -> str | dict[str, str]:
    """Read `--gold COLUMN`, or `--gold FIELD=COLUMN` as often as there are fields. Raises `UsageError`."""
    pairs = [text.partition("=") for text in texts]
    if len(pairs) == 1 and not pairs[0][1]:
        return texts[0]
    wrong = [text for text, (field, sign, column) in zip(texts, pairs, strict=True) if not (field and sign and column)]
    if wrong:
        raise UsageError(f"--gold {wrong[0]}: give one column, or FIELD=COLUMN for each field.")
    return {field: column for field, _, column in pairs}


def settings_of_run(directory: Path | str) -> EvaluationSettings:
    """Return `[evaluate]` of the job as `run.json` keeps it, under `evaluate`. Raises `UsageError` if it has none."""
    state = read_run_json(Path(directory))
    saved = state.evaluate if state is not None else None
    if not saved:
        raise UsageError(
            f"{directory}: the job had no [evaluate]. Name the gold column with --gold COLUMN, or --gold FIELD=COLUMN "
            "for each field."
        )
    return msgspec.convert(saved, EvaluationSettings)


def compared_rows(rows: PublishedRows, settings: EvaluationSettings) -> Iterator[list[Compared]]:
    """Yield each row that has gold as its comparisons, one a field; of a row without, an empty list.

    A row has no gold when all its gold columns are null or empty. Raises `InputError` for columns that are not there.
    """
    rows.check_carried(settings.columns)
    columns = ["row_id", "status", *settings.columns]
    columns.append("parsed" if rows.parsed_fields() else "completion")
    for batch in rows.batches(columns):
        for row in batch:
            yield compared_row(row, settings.gold)


def compared_row(row: Mapping[str, Any], gold: str | Mapping[str, str]) -> list[Compared]:
    """Return a row's comparisons, one a field; none for a row without gold."""
    pairs: list[tuple[str | None, str]] = [(None, gold)] if isinstance(gold, str) else [*gold.items()]
    if all(row[column] in (None, "") for _, column in pairs):
        return []
    found: list[Compared] = []
    answered = row["status"] == "succeeded"
    parsed = row.get("parsed") or {}
    confidence, agreement = (
        parsed.get(name) if isinstance(gold, str) else None for name in ("confidence", "agreement")
    )
    for field, column in pairs:
        right = row[column]
        value = None
        if answered:
            value = predicted_label(row) if field is None else predicted_field(row, field)
        exact = answered and written(value) == written(right)
        match = answered and (exact or normalised(value) == normalised(right))
        found.append(
            Compared(
                row["row_id"],
                field,
                written(right),
                written(value),
                exact,
                match,
                row["status"],
                confidence,
                agreement,
            )
        )
    return found


def evaluate(
    directory: Path | str, settings: EvaluationSettings, *, show: int = 10, compared: Path | str | None = None
) -> Evaluation:
    """Compare the answers of a run with gold, in one pass and bounded memory (two for labels).

    `show`: how many rows to look at first are kept; `compared`: a Parquet file for all comparisons, one a line. Raises
    `InputError` for gold that is not there, `OutputError` for results that are not, `UsageError` without numpy.
    """
    rows = PublishedRows(directory)
    rows.check_carried(settings.columns)
    bootstrap = Bootstrap(settings.seed, settings.resamples)
    by_label = _gold_labels(rows, settings.gold) if isinstance(settings.gold, str) else None
    cells: Counter[tuple[str, str]] = Counter()
    tallies = {} if isinstance(settings.gold, str) else {field: FieldTally(field) for field in settings.gold}
    look = _FirstLook(show)
    counted = without_gold = unanswered = right_rows = 0
    with _comparisons_file(compared) as add:
        for comparisons in compared_rows(rows, settings):
            if not comparisons:
                without_gold += 1
                continue
            counted += 1
            unanswered += all(one.predicted is None for one in comparisons)
            right_rows += all(one.match for one in comparisons)
            for one in comparisons:
                add(one)
                look.add(one)
                if one.field is not None:
                    tallies[one.field].add(one.gold, one.predicted, exact=one.exact, match=one.match)
                elif by_label is not None:
                    cells[_cell(one, by_label)] += 1
        if not counted:
            raise InputError(f"{directory}: no row has a gold value in {', '.join(settings.columns)}.")
    return Evaluation(
        directory=str(directory),
        gold=settings.gold,
        rows=counted,
        without_gold=without_gold,
        unanswered=unanswered,
        accuracy=bootstrap.share(right_rows, counted),
        labels=label_scores(cells, bootstrap) if by_label is not None else None,
        fields=[tally.score(bootstrap) for tally in tallies.values()],
        disagreements=look.disagreements(),
        unsure=look.unsure(),
        seed=settings.seed,
        resamples=settings.resamples,
    )


def _gold_labels(rows: PublishedRows, column: str) -> dict[str | None, str]:
    """Return normalised label → the spelling met first, from the gold column alone."""
    labels: dict[str | None, str] = {}
    for batch in rows.batches([column]):
        for row in batch:
            if row[column] not in (None, ""):
                labels.setdefault(normalised(row[column]), written(row[column]) or "")
        if len(labels) > MOST_LABELS:
            raise InputError(
                f'{rows.directory}: "{column}" has more than {MOST_LABELS:,} different values, so it holds no labels. '
                f"To compare a field of the answer with it, use --gold FIELD={column}."
            )
    return labels


def _cell(one: Compared, labels: Mapping[str | None, str]) -> tuple[str, str]:
    gold = labels[normalised(one.gold)]
    if one.match:
        return gold, gold
    if one.predicted is None:
        return gold, NO_LABEL
    return gold, labels.get(normalised(one.predicted), OTHER_LABEL)


class _FirstLook:
    """The few comparisons worth reading first, kept in heaps of bounded size."""

    def __init__(self, show: int) -> None:
        self._show = show
        self._wrong: list[tuple[float, int, Compared]] = []
        self._unsure: list[tuple[float, int, Compared]] = []
        self._number = 0

    def add(self, one: Compared) -> None:
        self._number -= 1  # of equal ones the first in the input stay
        sure = one.confidence if one.confidence is not None else one.agreement
        if not one.match:
            self._keep(self._wrong, (-1.0 if sure is None else sure, self._number, one))
        elif sure is not None and sure < 1:
            self._keep(self._unsure, (-sure, self._number, one))

    def _keep(self, heap: list[tuple[float, int, Compared]], entry: tuple[float, int, Compared]) -> None:
        if len(heap) < self._show:
            heapq.heappush(heap, entry)
        elif self._show:
            heapq.heappushpop(heap, entry)

    def disagreements(self) -> list[Compared]:
        return [entry[2] for entry in sorted(self._wrong, reverse=True, key=lambda entry: entry[:2])]

    def unsure(self) -> list[Compared]:
        return [entry[2] for entry in sorted(self._unsure, reverse=True, key=lambda entry: entry[:2])]


# Parquet

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
MEASURE_COLUMNS = pa.schema(
    [
        ("of", pa.string()),
        ("name", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("rows", pa.int64()),
    ]
)
"""A measure a line. `of`: `run`, `label`, `field` or `confusion`; `name`: the label or field, or `gold → predicted`."""


@contextmanager
def _comparisons_file(path: Path | str | None) -> Iterator[Callable[[Compared], None]]:
    """Yield what writes a comparison; it does nothing when no file is asked for."""
    if path is None:
        yield lambda one: None
    else:
        with table_file(Path(path), COMPARED_COLUMNS) as add:
            yield lambda one: add(msgspec.structs.asdict(one))


def measures(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield the lines of the Parquet table: every measure with its interval, and the confusion as counts."""

    def line(of: str, name: str | None, measure: str, found: Measure) -> dict[str, Any]:
        return {"of": of, "name": name, "measure": measure, **msgspec.structs.asdict(found)}

    yield line("run", None, "accuracy", evaluation.accuracy)
    if evaluation.labels is not None:
        yield line("run", None, "macro_f1", evaluation.labels.macro_f1)
        for label in evaluation.labels.labels:
            for measure in ("precision", "recall", "f1"):
                yield line("label", label.label, measure, getattr(label, measure))
        for cell in evaluation.labels.confusion:
            yield {"of": "confusion", "name": f"{cell.gold} → {cell.predicted}", "measure": "rows", "rows": cell.rows}
    for field in evaluation.fields:
        for measure in ("exact", "match", "precision", "recall", "f1"):
            yield line("field", field.field, measure, getattr(field, measure))


def write_measures(evaluation: Evaluation, path: Path | str) -> None:
    """Write `measures` as Parquet. Raises `OutputError`."""
    with table_file(Path(path), MEASURE_COLUMNS) as add:
        for line in measures(evaluation):
            add(line)
