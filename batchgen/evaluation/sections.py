"""An evaluation as sections, for the terminal and for the report's page: measures, confusions, rows to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from batchgen.evaluation.comparison import Compared
from batchgen.evaluation.evaluate import Evaluation
from batchgen.evaluation.labels import Cell
from batchgen.evaluation.statistics import LEVEL, Measure
from batchgen.text.figures import count, plain, plain_lines
from batchgen.text.sections import Block, Document, Fact, Facts, Passage, Passages, Section, Table, sections_text

_MOST_ON_A_PHONE = 7
_MOST_MEASURES, _MOST_ROWS, _MOST_LABELS = 40, 20, 12


def evaluation_text(evaluation: Evaluation) -> str:
    """Return an evaluation for a terminal."""
    blocks = gold_blocks(evaluation, {})
    return sections_text(Document(plain(evaluation.directory, 300), [], [Section("", blocks)]))


def gold_blocks(evaluation: Evaluation, texts: Mapping[str, str]) -> list[Block]:
    """Return what an evaluation found; `texts` are what was asked, by row."""
    what = "accuracy" if evaluation.labels is not None else "all fields right"
    based = f"{count(evaluation.rows)} rows with gold"
    if evaluation.without_gold:
        based += f", {count(evaluation.without_gold)} without are left out"
    facts = [Fact(what, _value(evaluation.accuracy), f"{_interval(evaluation.accuracy)}; {based}")]
    if evaluation.unanswered:
        facts.append(Fact("no answer", count(evaluation.unanswered), "rows with gold, which count as wrong"))
    if evaluation.labels is not None:
        labels = evaluation.labels
        facts.append(Fact("mean F1 of the labels", _value(labels.macro_f1), _interval(labels.macro_f1)))
        head = ["label", "gold", "predicted", "precision", "recall", "F1"]
        rows = [
            [
                plain(one.label, 60),
                count(one.support),
                count(one.predicted),
                *map(_both, (one.precision, one.recall, one.f1)),
            ]
            for one in labels.labels[:_MOST_MEASURES]
        ]
    else:
        head = ["field", "exact", "normalised", "precision", "recall", "F1", "missed", "invented", "wrong"]
        rows = [
            [
                plain(one.field, 60),
                _value(one.exact),
                _both(one.match),
                _value(one.precision),
                _value(one.recall),
                _both(one.f1),
                *map(count, (one.missed, one.invented, one.wrong)),
            ]
            for one in evaluation.fields
        ]
    note = (
        f"Intervals at {100 * LEVEL:.0f} %, bootstrap over rows, {count(evaluation.resamples)} resamples, seed "
        f"{evaluation.seed}."
    )
    blocks: list[Block] = [Facts(facts, large=True), Table("Measures", head, rows, note=note)]
    if evaluation.labels is not None and evaluation.labels.confusion:
        blocks.append(confusion_matrix(evaluation.labels.confusion))
    if evaluation.same_gold:
        same = [
            Passage(plain(one.column, 60), ", ".join(f'"{plain(text, 60)}"' for text in one.spellings))
            for one in evaluation.same_gold[:_MOST_ROWS]
        ]
        more = f"the first {_MOST_ROWS} of {count(len(evaluation.same_gold))}"
        note = more if len(evaluation.same_gold) > _MOST_ROWS else ""
        blocks.append(Passages("Gold values that are spelled differently and count as one", same, note))
    for title, found in (
        ("Disagreements, the surest answers first", evaluation.disagreements),
        ("Right answers that were unsure", evaluation.unsure),
    ):
        if found:
            blocks.append(Passages(title, [_passage(row, texts) for row in found[:_MOST_ROWS]]))
    return blocks


def confusion_matrix(confusion: Sequence[Cell]) -> Table:
    """Return what is taken for what: gold labels down, the answers across under their numbers."""
    sizes: Counter[str] = Counter()
    for cell in confusion:
        sizes[cell.gold] += cell.rows
        sizes[cell.predicted] += cell.rows
    labels = [label for label, _ in sizes.most_common(_MOST_LABELS)]
    table = [[0] * (len(labels) + 1) for _ in range(len(labels) + 1)]
    for cell in confusion:
        down, across = (labels.index(word) if word in labels else -1 for word in (cell.gold, cell.predicted))
        table[down][across] += cell.rows
    names = [f"{number} {plain(label, 60)}" for number, label in enumerate(labels, 1)]
    head = ["gold, down; answer, across", *(str(number) for number in range(1, len(labels) + 1))]
    if len(sizes) > len(labels):
        names.append(f"{len(sizes) - len(labels):,} other labels")
        head.append("other")
    rows = [
        [name, *(count(rows) if rows else "·" for rows in line[: len(head) - 1])]
        for name, line in zip(names, table, strict=False)
    ]
    return Table("What is taken for what", head, rows, fits=len(head) <= _MOST_ON_A_PHONE)


def _value(measure: Measure) -> str:
    return "–" if measure.value is None else f"{100 * measure.value:.1f} %"


def _interval(measure: Measure) -> str:
    if measure.low is None or measure.high is None:
        return "no interval"
    return f"{100 * measure.low:.1f} to {100 * measure.high:.1f} %"


def _both(measure: Measure) -> str:
    return f"{_value(measure)} ({_interval(measure)})" if measure.value is not None else "–"


def _passage(row: Compared, texts: Mapping[str, str]) -> Passage:
    field = f", {plain(row.field)}" if row.field is not None else ""
    sure = "".join(
        f", {name} {value:.2f}"
        for name, value in (("confidence", row.confidence), ("agreement", row.agreement))
        if value is not None
    )
    answer = plain(row.predicted or "–", 300) if row.status == "succeeded" else "none: the row failed"
    text = f"gold: {plain(row.gold or '–', 300)}\nanswer: {answer}"
    if row.row_id in texts:
        text += f"\n{plain_lines(texts[row.row_id], 600)}"
    return Passage(f"row {plain(row.row_id, 60)}{field}{sure}", text)
