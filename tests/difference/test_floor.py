"""What two runs have to differ by to mean something."""

from typing import ClassVar

import pyarrow as pa
import pytest

from batchgen.difference.floor import NoiseFloor, floor_of, floor_text, noise_floor


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


def test_votes_tell_it_where_nothing_was_asked_again():
    """The share of votes that are not their row's majority."""
    kind = pa.struct([("label", pa.string()), ("agreement", pa.float64())])

    class Rows:
        """Results as far as they are looked at."""

        name = "b"
        runs = ()
        parsed_fields: ClassVar = {field.name: field.type for field in kind}

        @staticmethod
        def batches(columns):
            values = [{"label": "x", "agreement": share} for share in (1.0, 0.8, 0.6, 1.0)]
            yield pa.record_batch([pa.array([*values, None], kind)], columns)

    floor = floor_of(Rows)
    assert (floor.asked, floor.moved, floor.by_votes) == (4, 1, True)
    assert floor.low < 0.15 < floor.high
    assert "By its votes" in floor_text(floor, 1, 4)
