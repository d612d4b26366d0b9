"""What the checked rows of a random sample say of all rows: accuracy with Wilson's interval, per label and over all."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from batchgen.evaluation.statistics import wilson


class LabelAccuracy(Struct, frozen=True):
    """`right` of `checked` rows of a label that `rows` rows have; `low` and `high` bound the share of right ones."""

    label: str | None
    rows: int
    checked: int
    right: int
    low: float | None
    high: float | None


class SampleAccuracy(Struct, frozen=True):
    """The share of right answers over all labels that have checked rows, each weighted by its rows.

    `covered`: the share of all rows that have these labels.
    """

    labels: Sequence[LabelAccuracy]
    value: float | None
    low: float | None
    high: float | None
    covered: float


def sample_accuracy(counts: Sequence[tuple[str | None, int, int, int]]) -> SampleAccuracy:
    """Return the accuracy from (label, rows, checked, right) of a sample drawn per label.

    Over all, the interval is Wilson's for as many rows of a simple sample as would leave the same variance.
    """
    labels = [
        LabelAccuracy(label, rows, checked, right, *(wilson(right / checked, checked) if checked else (None, None)))
        for label, rows, checked, right in counts
    ]
    known = [one for one in labels if one.checked]
    every, covered = sum(one.rows for one in labels), sum(one.rows for one in known)
    if not known:
        return SampleAccuracy(labels, None, None, None, 0.0)
    weights = [one.rows / covered for one in known]
    share = sum(weight * one.right / one.checked for weight, one in zip(weights, known, strict=True))
    equal = 1 / sum(weight**2 / one.checked for weight, one in zip(weights, known, strict=True))
    return SampleAccuracy(labels, share, *wilson(share, equal), covered / every)
