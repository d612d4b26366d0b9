"""What two runs have to differ by to mean something."""

import pytest

from batchgen.difference.floor import NoiseFloor, floor_text, noise_floor


class Run:
    """A run as far as it is looked at."""

    def __init__(self, directory, refreshed):
        self.directory = directory
        self.state = None if refreshed is None else self
        self.summary = self
        self.refreshed = refreshed or None


class Refreshed:
    def __init__(self, asked, moved):
        self.asked, self.moved = asked, moved


def test_the_run_that_asked_most_rows_again_decides():
    """One that asked none says nothing; the interval is Wilson's."""
    assert noise_floor([Run("a", None), Run("b", False), Run("c", Refreshed(0, 0))]) is None
    floor = noise_floor([Run("a", Refreshed(100, 9)), Run("b", Refreshed(1000, 20))])
    assert (floor.directory, floor.asked, floor.moved) == ("b", 1000, 20)
    assert (floor.low, floor.high) == (pytest.approx(0.01298, abs=1e-4), pytest.approx(0.03069, abs=1e-4))


@pytest.mark.parametrize(("changed", "words"), [(5, "less than"), (20, "no sign"), (50, "the runs differ")])
def test_a_difference_is_held_against_it(changed, words):
    """Below, within or above."""
    assert words in floor_text(NoiseFloor("b", 1000, 20, 0.013, 0.031), changed, 1000)
