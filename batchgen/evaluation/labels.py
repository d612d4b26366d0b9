"""Labels: precision, recall, F1 and confusion, from counts of (gold, predicted)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from batchgen.evaluation.statistics import Bootstrap, Measure, ratio

if TYPE_CHECKING:
    from batchgen.evaluation.statistics import Counts, Values

NO_LABEL = "(no answer)"
OTHER_LABEL = "(other)"
"""Predicted, but none of the gold labels."""


class LabelScore(Struct, frozen=True):
    """One label: `support` rows have it as gold, `predicted` rows got it; the measures with their intervals."""

    label: str
    support: int
    predicted: int
    precision: Measure
    recall: Measure
    f1: Measure


class Cell(Struct, frozen=True):
    """One entry of the confusion matrix."""

    gold: str
    predicted: str
    rows: int


class LabelScores(Struct, frozen=True):
    """All labels in order of support; `macro_f1` is the mean over the gold labels; the confusion by frequency.

    Where rows have several labels there is no confusion: no wrong label stands for one missing label.
    """

    macro_f1: Measure
    labels: list[LabelScore]
    confusion: list[Cell]


def label_scores(cells: Mapping[tuple[tuple[str, ...], tuple[str, ...]], int], bootstrap: Bootstrap) -> LabelScores:
    """Return the scores; `cells` counts rows by (gold labels, predicted labels)."""
    import numpy as np

    pairs = list(cells)
    counts = np.array([cells[pair] for pair in pairs], dtype=np.int64)
    rows = int(counts.sum())
    support: Counter[str] = Counter()
    for (gold, _), number in cells.items():
        support.update(dict.fromkeys(gold, number))
    labels = sorted(support, key=lambda label: (-support[label], label))
    gold_of = np.array([[label in gold for label in labels] for gold, _ in pairs], dtype=np.int64)
    predicted_of = np.array([[label in predicted for label in labels] for _, predicted in pairs], dtype=np.int64)

    def macro(drawn: Counts) -> Values:
        # A label that a resample has neither as gold nor as prediction counts as 0, as scikit-learn has it.
        f1 = ratio(2 * (drawn @ (gold_of * predicted_of)), drawn @ gold_of + drawn @ predicted_of)
        mean: Values = np.nan_to_num(f1).mean(axis=1)
        return mean

    def one_f1(drawn: Counts) -> Values:
        return ratio(2 * drawn[:, 0], 2 * drawn[:, 0] + drawn[:, 1] + drawn[:, 2])

    scores = []
    all_predicted, all_hits = counts @ predicted_of, counts @ (gold_of * predicted_of)
    for place, label in enumerate(labels):
        predicted, hits = int(all_predicted[place]), int(all_hits[place])
        # F1 depends on three counts only: right, predicted wrongly, missed; the rest of the rows is the fourth.
        wrongly, missed = predicted - hits, support[label] - hits
        scores.append(
            LabelScore(
                label,
                support[label],
                predicted,
                bootstrap.share(hits, predicted),
                bootstrap.share(hits, support[label]),
                bootstrap.measure([hits, wrongly, missed, rows - hits - wrongly - missed], one_f1, support[label]),
            )
        )
    single = all(len(gold) == len(predicted) == 1 for gold, predicted in pairs)
    confusion = [Cell(gold[0], predicted[0], cells[gold, predicted]) for gold, predicted in pairs if single]
    confusion.sort(key=lambda cell: (-cell.rows, cell.gold, cell.predicted))
    return LabelScores(bootstrap.measure(counts.tolist(), macro, rows), scores, confusion)
