"""How right the answers of a run are, against gold columns: `[evaluate]` of a job, and `batchgen evaluate DIR`.

`gold = "label"`: the answer is one label; accuracy, per-label precision, recall and F1, confusion. `gold = { customer =
"gold_customer" }`: the answer is an object; per field exact and normalised matches (`values` states the
rule), what was missed, invented or wrong. Intervals are bootstrapped over rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.errors import InputError, UsageError
from batchgen.evaluation.answers import ABOUT_THE_ANSWER
from batchgen.evaluation.comparison import (
    COMPARED_COLUMNS,
    MOST_LABELS,
    Cells,
    Compared,
    Comparer,
    FirstLook,
    Spellings,
    compared_table,
    count,
    everywhere,
    in_row_order,
    with_gold,
)
from batchgen.evaluation.fields import FieldScore, FieldTally
from batchgen.evaluation.labels import LabelScores, label_scores
from batchgen.evaluation.statistics import Bootstrap, Measure
from batchgen.evaluation.values import Kind
from batchgen.files.table import parquet_file, table_file
from batchgen.job.evaluation_settings import EvaluationSettings
from batchgen.results.reviewed import GoldRows, gold_name
from batchgen.results.rows import ResultRows, directories_of
from batchgen.storage.own_files import REVIEW_FILE
from batchgen.storage.run_state import read_run_json
from batchgen.text.storable import json_bytes


class SameGold(Struct, frozen=True):
    """Spellings in a gold column that count as one value."""

    column: str
    spellings: list[str]


class Evaluation(Struct, frozen=True, kw_only=True):
    """What `evaluate` found. `rows` have gold; `unanswered` of them failed or gave no value (and count as wrong).

    Either `labels` or `fields` is filled; with fields, `accuracy` is the share of rows with every one right.
    `disagreements` begin with the surest answers (model or gold is wrong there), `unsure` are right answers with the
    least agreement or confidence. `same_gold`: gold spellings that count as one value.
    """

    directory: str
    gold: str | Mapping[str, str]
    rows: int
    without_gold: int
    unanswered: int
    accuracy: Measure
    labels: LabelScores | None = None
    fields: list[FieldScore] = []
    same_gold: list[SameGold] = []
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
    """Return `[evaluate]` of the job as `run.json` keeps it, under `evaluate`; of several runs that of the first.

    Raises `UsageError` if it has none.
    """
    state = read_run_json(directories_of(directory)[0])
    saved = state.evaluate if state is not None else None
    if not saved:
        raise UsageError(
            f"{directory}: the job had no [evaluate]. Name the gold column with --gold COLUMN, or --gold FIELD=COLUMN "
            "for each field, or check answers with batchgen view."
        )
    return msgspec.convert(saved, EvaluationSettings)


def gold_of(
    directories: Sequence[Path | str], gold: tuple[str, ...], reviewed: bool
) -> tuple[EvaluationSettings, ResultRows | None]:
    """Return what is compared with what: `gold` columns, those of the job, else what people checked.

    The rows are returned where they have columns of gold that the results lack. Raises `UsageError`, `OutputError`.
    """
    if reviewed and gold:
        raise UsageError("--reviewed and --gold exclude each other.")
    if gold:
        return EvaluationSettings(gold=gold_setting(gold)), None
    if not reviewed:
        try:
            return settings_of_run(directories[0]), None
        except UsageError:
            if not any((one / REVIEW_FILE).is_file() for one in directories_of(*directories)):
                raise
    return reviewed_gold(directories)


def reviewed_gold(directories: Sequence[Path | str]) -> tuple[EvaluationSettings, ResultRows]:
    """Return what people checked as gold. Raises `OutputError` where nothing is."""
    rows = GoldRows(*directories)
    fields = [field for field in rows.checked if field not in ABOUT_THE_ANSWER]
    if fields in (["label"], ["completion"]):
        return EvaluationSettings(gold=gold_name(fields[0])), rows
    return EvaluationSettings(gold={field: gold_name(field) for field in fields}), rows


def evaluate(
    directory: Path | str | Sequence[Path | str],
    settings: EvaluationSettings,
    *,
    show: int = 10,
    compared: Path | str | None = None,
    rows: ResultRows | None = None,
) -> Evaluation:
    """Compare the answers of a run, or of several as one, with gold, in one pass and bounded memory (two for labels).

    `show`: how many rows to look at first are kept; `compared`: a Parquet file for all comparisons, one a line; `rows`:
    the rows with their gold, where it is no input column. Raises `InputError` for gold that is not there, `OutputError`
    for results that are not, `UsageError` without numpy.
    """
    named = rows is None  # somebody has written the fields, while those that people checked are known
    if rows is None:
        rows = ResultRows(*([directory] if isinstance(directory, (str, Path)) else directory))
    rows.check_carried(settings.columns)
    bootstrap = Bootstrap(settings.seed, settings.resamples)
    gold = gold_columns(settings)
    comparers = {field: Comparer(rows.schema, field, rows.schema.field(column).type) for field, column in gold.items()}
    for comparer in comparers.values() if named else ():
        comparer.check_field(rows.name)
    spellings = {field: Spellings(comparer.reader) for field, comparer in comparers.items()}
    tallies = {field: FieldTally(field) for field in gold if field is not None}
    labels: Cells | None = None
    if isinstance(settings.gold, str):
        _read_labels(rows, settings.gold, spellings[None])
        labels = Cells(spellings[None], sets=comparers[None].reader.kind is Kind.LIST)
    look = FirstLook(show)
    counted = unanswered = right_rows = 0
    with _comparisons_file(compared) as write:
        for every in rows.batches(["row_id", "status", *settings.columns, rows.answer_column]):
            batch = every.filter(with_gold(every, settings.columns))
            counted += batch.num_rows
            found = {field: comparers[field].compare(batch.column(column), batch) for field, column in gold.items()}
            unanswered += count(everywhere([pc.is_null(columns.predicted) for columns in found.values()]))
            right_rows += count(everywhere([columns.match for columns in found.values()]))
            tables = [compared_table(batch, field, columns) for field, columns in found.items()]
            look.add(tables)
            write(tables)
            for field, columns in found.items():
                if field is not None:
                    tallies[field].add(columns)
                    spellings[field].add(batch.column(gold[field]))
                elif labels is not None:
                    labels.add(columns)
        if not counted:
            raise InputError(f"{rows.name}: no row has a gold value in {', '.join(settings.columns)}.")
    return Evaluation(
        directory=rows.name,
        gold=settings.gold,
        rows=counted,
        without_gold=rows.rows - counted,
        unanswered=unanswered,
        accuracy=bootstrap.share(right_rows, counted),
        labels=label_scores(labels.counts, bootstrap) if labels is not None else None,
        fields=[tally.score(bootstrap) for tally in tallies.values()],
        same_gold=[SameGold(gold[field], merged) for field, found in spellings.items() for merged in found.merged()],
        disagreements=look.rows(right=False),
        unsure=look.rows(right=True),
        seed=settings.seed,
        resamples=settings.resamples,
    )


def gold_columns(settings: EvaluationSettings) -> dict[str | None, str]:
    """Return field → its gold column; the field of a label is None."""
    return {None: settings.gold} if isinstance(settings.gold, str) else dict(settings.gold.items())


def _read_labels(rows: ResultRows, column: str, spellings: Spellings) -> None:
    """Read the labels from the gold column alone, since a row's answer may be a label that comes later."""
    for batch in rows.batches([column]):
        spellings.add(batch.column(column).filter(with_gold(batch, [column])))
        if spellings.too_many:
            raise InputError(
                f'{rows.name}: "{column}" has more than {MOST_LABELS:,} different values, so it holds no labels. '
                f"To compare a field of the answer with it, use --gold FIELD={column}."
            )


# Parquet

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
def _comparisons_file(path: Path | str | None) -> Iterator[Callable[[list[pa.Table]], None]]:
    """Yield what writes a batch of comparisons; it does nothing when no file is asked for."""
    if path is None:
        yield lambda tables: None
    else:
        with parquet_file(Path(path), COMPARED_COLUMNS) as writer:
            yield lambda tables: writer.write_table(in_row_order(tables))


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
