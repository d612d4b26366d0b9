"""Intervals for the mean of a finite table, checked by drawing samples whose truth is known."""

import math
import random
import statistics

import pytest

from batchgen.estimating.intervals import CONFIDENCE, mean_interval, student_quantile


def lognormal(rng, sigma, cap):
    """Return lengths of answers with a heavy tail, cut where max_tokens cuts them."""
    return [min(cap, rng.lognormvariate(math.log(80), sigma)) for _ in range(2000)]


def share_held(population_of, size, repetitions, seed):
    """Return in which share of the samples the interval holds the truth."""
    rng = random.Random(seed)
    held = 0
    for _ in range(repetitions):
        population = population_of(rng)
        found = mean_interval(rng.sample(population, size), len(population))
        held += found.low <= statistics.fmean(population) <= found.high
    return held / repetitions


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(5, 2.5706), (9, 2.2622), (29, 2.0452), (99, 1.9842), (10_000, 1.9602)]
)
def test_student_quantiles_are_those_of_the_tables(freedom, quantile):
    """Two-sided 95 %, against printed tables."""
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, rel=0.005)


@pytest.mark.parametrize(
    "population_of",
    [
        pytest.param(lambda rng: lognormal(rng, 1.0, 1024), id="sigma 1"),
        pytest.param(lambda rng: lognormal(rng, 1.5, 4096), id="sigma 1.5"),
        pytest.param(lambda rng: [rng.gauss(100, 20) for _ in range(500)], id="normal"),
        pytest.param(lambda rng: [512 - rng.expovariate(0.01) for _ in range(500)], id="skewed to the left"),
    ],
)
def test_the_interval_holds_as_often_as_it_says(population_of):
    """200 samples of 100 rows, light and heavy tails."""
    assert share_held(population_of, 100, 200, seed=5) >= CONFIDENCE - 0.02


def test_a_plain_t_interval_would_not_hold():
    """Why the skewness is taken out: without it, heavy tails are missed twice as often as stated."""

    def student(sample, population):
        mean, error = statistics.fmean(sample), statistics.stdev(sample) / math.sqrt(len(sample))
        reach = 1.984 * error * math.sqrt(1 - len(sample) / population)
        return mean - reach, mean + reach

    rng = random.Random(5)
    held = 0
    for _ in range(400):
        population = lognormal(rng, 1.5, 4096)
        low, high = student(rng.sample(population, 100), len(population))
        held += low <= statistics.fmean(population) <= high
    assert held / 400 < CONFIDENCE - 0.02


def test_a_sample_of_everything_is_exact_and_more_rows_narrow_it():
    """The finite-population correction: half of the rows leave less to guess, all of them nothing."""
    rng = random.Random(1)
    population = [rng.expovariate(0.01) for _ in range(200)]
    widths = []
    for size in (20, 100, 190, 200):
        found = mean_interval(population[:size], 200)
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == 0
    assert found.expected == pytest.approx(statistics.fmean(population))


def test_equal_values_give_a_point_and_one_value_gives_nothing():
    """No spread, no width; a single row cannot tell a spread."""
    assert mean_interval([3.0] * 10, 1000).high == 3.0
    with pytest.raises(ValueError, match="two or more"):
        mean_interval([3.0], 1000)


def test_a_skewed_sample_reaches_further_up_than_down():
    """The long tail is above, and so is the doubt."""
    found = mean_interval([1.0] * 40 + [2.0] * 8 + [40.0, 60.0], 10_000)
    assert found.high - found.expected > 1.5 * (found.expected - found.low)
