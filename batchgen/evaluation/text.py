"""What `evaluate` prints: plain text for people, free of control characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from batchgen.evaluation.comparison import Compared
from batchgen.evaluation.evaluate import Evaluation, SameGold
from batchgen.evaluation.labels import LabelScores
from batchgen.evaluation.statistics import LEVEL, Measure
from batchgen.text.table import table

_WIDEST = 60
_MOST_CELLS = 12


def evaluation_text(evaluation: Evaluation) -> str:
    """Return accuracy, a table of labels or fields, the commonest confusions, and the rows to look at first."""
    what = "accuracy" if evaluation.labels is not None else "all fields right"
    lines = [f"{evaluation.directory}: {evaluation.rows:,} rows with gold"]
    if evaluation.without_gold:
        lines[0] += f", {evaluation.without_gold:,} without are left out"
    if evaluation.unanswered:
        lines.append(f"{evaluation.unanswered:,} of them have no answer and count as wrong")
    lines += ["", f"{what}  {interval_text(evaluation.accuracy)}"]
    if evaluation.labels is not None:
        lines += _label_lines(evaluation.labels)
    else:
        head = ["field", "exact", "normalised", "precision", "recall", "F1", "missed", "invented", "wrong"]
        body = [
            [
                plain(field.field),
                percent(field.exact.value),
                interval_text(field.match),
                percent(field.precision.value),
                percent(field.recall.value),
                interval_text(field.f1),
                f"{field.missed:,}",
                f"{field.invented:,}",
                f"{field.wrong:,}",
            ]
            for field in evaluation.fields
        ]
        lines += ["", *table([head, *body])]
    lines += _same_gold_lines(evaluation.same_gold)
    lines += _rows_lines("Disagreements, the surest first", evaluation.disagreements)
    lines += _rows_lines("Right, but least sure", evaluation.unsure)
    lines += [
        "",
        f"Intervals: {LEVEL:.0%}, bootstrap over rows, {evaluation.resamples:,} resamples, seed {evaluation.seed}.",
    ]
    return "\n".join(lines)


def _label_lines(scores: LabelScores) -> list[str]:
    head = ["label", "gold", "predicted", "precision", "recall", "F1"]
    body = [
        [
            plain(score.label),
            f"{score.support:,}",
            f"{score.predicted:,}",
            interval_text(score.precision),
            interval_text(score.recall),
            interval_text(score.f1),
        ]
        for score in scores.labels
    ]
    lines = [f"macro F1  {interval_text(scores.macro_f1)}", "", *table([head, *body])]
    wrong = [cell for cell in scores.confusion if cell.gold != cell.predicted]
    if wrong:
        cells = [[plain(cell.gold), "→", plain(cell.predicted), f"{cell.rows:,}"] for cell in wrong[:_MOST_CELLS]]
        lines += ["", "Confusions (gold → predicted)", *table(cells, indent="  ")]
        if len(wrong) > _MOST_CELLS:
            lines.append(f"  and {len(wrong) - _MOST_CELLS:,} more kinds")
    return lines


def _same_gold_lines(found: Sequence[SameGold]) -> list[str]:
    if not found:
        return []
    lines = ["", "Gold values that are spelled differently and count as one"]
    for one in found[:_MOST_CELLS]:
        lines.append(f"  {plain(one.column)}: {', '.join(shown(spelling) for spelling in one.spellings)}")
    if len(found) > _MOST_CELLS:
        lines.append(f"  and {len(found) - _MOST_CELLS:,} more")
    return lines


def _rows_lines(title: str, rows: Sequence[Compared]) -> list[str]:
    if not rows:
        return []
    lines = ["", title]
    for row in rows:
        field = f" {plain(row.field)}" if row.field is not None else ""
        sure = "".join(
            f", {name} {value:.2f}"
            for name, value in (("confidence", row.confidence), ("agreement", row.agreement))
            if value is not None
        )
        predicted = shown(row.predicted) if row.status == "succeeded" else "no answer: the row failed"
        lines.append(f"  {plain(row.row_id)}{field}: gold {shown(row.gold)}, predicted {predicted}{sure}")
    return lines


def interval_text(measure: Measure) -> str:
    """Return `84.2 % [81.0, 87.1]`, or a dash for what is undefined."""
    if measure.value is None or measure.low is None or measure.high is None:
        return "–"
    return f"{percent(measure.value)} [{100 * measure.low:.1f}, {100 * measure.high:.1f}]"


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def shown(text: str | None) -> str:
    """Return a value in quotes, or the word null."""
    return "null" if text is None else f'"{plain(text)}"'


def plain(text: str, widest: int = _WIDEST) -> str:
    """Return text on one line and safe for a terminal: no control or direction characters, cut to `widest`."""
    text = text[: 4 * widest]
    text = "".join(
        " " if c.isspace() else c for c in text if c.isspace() or not unicodedata.category(c).startswith("C")
    )
    text = " ".join(text.split())
    return text if len(text) <= widest else text[: widest - 1] + "…"
