"""Shares, F1 and intervals against textbook values and other libraries."""

import math

import pytest

from batchgen.evaluation.labels import label_scores
from batchgen.evaluation.statistics import Bootstrap, wilson

numpy = pytest.importorskip("numpy")


def single(cells):
    """Return counts of rows that have one label on each side."""
    return {((gold,), (predicted,)): rows for (gold, predicted), rows in cells.items()}


def test_the_interval_of_a_share_is_about_the_normal_one():
    """For 300 of 1,000 the bootstrap has to come near ± 1.96 standard errors; the same seed gives the same."""
    found = Bootstrap(seed=1).share(300, 1000)
    error = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert found.low == pytest.approx(0.3 - error, abs=0.004)
    assert found.high == pytest.approx(0.3 + error, abs=0.004)
    assert found == Bootstrap(seed=1).share(300, 1000)
    assert found != Bootstrap(seed=2).share(300, 1000)


def test_all_right_is_not_certain():
    """20 of 20: Clopper and Pearson's lower bound is 0.8316 (rule: 0.025 ** (1/20))."""
    assert Bootstrap().share(20, 20).low == pytest.approx(0.8316, abs=1e-4)
    assert Bootstrap().share(0, 20).high == pytest.approx(0.1684, abs=1e-4)
    assert Bootstrap().share(0, 0).value is None


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    """About 95 of 100 experiments; a coverage below 88 would be a mistake."""
    random = numpy.random.default_rng(7)
    bootstrap = Bootstrap(resamples=500)
    inside = 0
    for _ in range(200):
        found = bootstrap.share(int(random.binomial(150, 0.8)), 150)
        inside += found.low <= 0.8 <= found.high
    assert inside >= 176


def test_resampling_counts_is_resampling_rows():
    """The interval of macro F1 equals that of drawing the rows themselves, but for the dice."""
    cells = {("a", "a"): 40, ("a", "b"): 10, ("b", "b"): 25, ("b", "a"): 5, ("c", "c"): 8, ("c", "(other)"): 12}
    rows = [pair for pair, count in cells.items() for _ in range(count)]
    random = numpy.random.default_rng(3)
    drawn = []
    for _ in range(1500):
        sample = [rows[i] for i in random.integers(0, len(rows), len(rows))]
        scores = []
        for label in "abc":
            hits = sum(g == p == label for g, p in sample)
            below = sum(g == label for g, _ in sample) + sum(p == label for _, p in sample)
            scores.append(2 * hits / below if below else 0.0)
        drawn.append(sum(scores) / 3)
    low, high = numpy.percentile(drawn, [2.5, 97.5])
    found = label_scores(single(cells), Bootstrap()).macro_f1
    assert found.low == pytest.approx(low, abs=0.015)
    assert found.high == pytest.approx(high, abs=0.015)


def test_scores_equal_those_of_scikit_learn():
    """Where it is installed: precision, recall, F1 and their macro mean of a skewed confusion."""
    metrics = pytest.importorskip("sklearn.metrics")
    cells = {("a", "a"): 50, ("a", "b"): 3, ("b", "a"): 7, ("b", "b"): 11, ("c", "a"): 2, ("c", "c"): 1, ("d", "a"): 1}
    pairs, weights = list(cells), list(cells.values())
    found = label_scores(single(cells), Bootstrap(resamples=10))
    names = [score.label for score in found.labels]
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        [g for g, _ in pairs], [p for _, p in pairs], labels=names, sample_weight=weights, zero_division=0
    )
    assert [score.precision.value or 0 for score in found.labels] == pytest.approx(list(precision))
    assert [score.recall.value for score in found.labels] == pytest.approx(list(recall))
    assert [score.f1.value for score in found.labels] == pytest.approx(list(f1))
    assert [score.support for score in found.labels] == list(support)
    assert found.macro_f1.value == pytest.approx(f1.mean())


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_wilson(right, rows, low, high):
    """As in Newcombe's comparison (Statistics in Medicine 17, 1998)."""
    assert wilson(right / rows, rows) == pytest.approx((low, high), abs=1e-4)
