"""A trial of random refusals: the load goes up and down, and their share follows it or not."""

from __future__ import annotations

import pytest

from batchgen.pace.trial import Phase, Trial


def begun(**more):
    """A trial of one in ten from a load of 5, with the raised load in force."""
    trial = Trial()
    trial.begin(0.1, raised=10.0, lowered=5.0, passed=10.0, failed=5.0, **more)
    assert trial.load == 10.0
    trial.moved(0)
    return trial


def play(trial, refused):
    """Count requests until the trial decides or asks for another load; `refused(number)` says which are refused."""
    number = trial._from
    while trial.load is None:
        number += 1
        verdict = trial.count(number, refused=refused(number))
    return verdict, number


def tenth(number):
    """One in ten."""
    return number % 10 == 0


def test_a_share_that_stays_is_random():
    """One in ten at either load."""
    trial = begun()
    verdict, number = play(trial, tenth)
    assert (verdict, trial.phase, trial.load) == (None, Phase.LOWERED, 5.0)
    trial.moved(number)
    assert play(trial, tenth)[0] is True
    assert trial.load == 10.0
    assert not trial.is_on


def test_a_share_that_grows_with_the_load_is_a_limit():
    """Every third at the raised load: it is over at once."""
    trial = begun()
    verdict, number = play(trial, lambda number: number % 3 == 0)
    assert verdict is False
    assert number < 40
    assert trial.load == 5.0


def test_a_share_that_goes_with_the_load_is_a_limit():
    """Others have made room for the raised load; the lowered one has nothing refused any more."""
    trial = begun()
    _, number = play(trial, tenth)
    trial.moved(number)
    assert play(trial, lambda _: False)[0] is False
    assert trial.load == 5.0


def test_nothing_refused_at_the_raised_load_means_that_it_is_over():
    """The trial ends before all its requests are spent, and the load stays where it is."""
    trial = begun()
    verdict, number = play(trial, lambda _: False)
    assert verdict is False
    assert number < 45
    assert trial.load == 10.0


def test_a_lowered_load_that_still_exceeds_a_limit_is_lowered_further():
    """A share that was exceeded is tried at half: where that is too much still, at a quarter."""
    trial = Trial()
    trial.begin(0.05, lowered=20.0, passed=30.0, failed=20.0)
    trial.moved(0)
    assert play(trial, lambda number: number % 2 == 0)[0] is None
    assert trial.load == 10.0


def test_two_rounds_where_others_may_share_the_limit():
    """After the first round the load is raised once more."""
    trial = begun(rounds=2)
    for phase in (Phase.LOWERED, Phase.RAISED, Phase.LOWERED):
        verdict, number = play(trial, tenth)
        assert (verdict, trial.phase) == (None, phase)
        trial.moved(number)
    assert play(trial, tenth)[0] is True


@pytest.mark.parametrize("number", [0, 3])
def test_requests_of_the_load_before_do_not_count(number):
    """They are late, or their like are still felt."""
    trial = begun()
    assert trial.count(number, refused=True) is None
    assert trial._seen == 0
