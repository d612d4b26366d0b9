"""Rows are drawn with the same chance, the same ones again with the same seed."""

from collections import Counter

from batchgen.estimating.draw import Draw
from batchgen.estimating.histogram import Asked, CountedRow

ROW = CountedRow(Asked("m", False), 5, None)


def drawn(numbers, count, seed=0):
    draw = Draw(count, seed)
    for number in numbers:
        draw.consider(number, ROW)
    return [*draw.rows()]


def test_a_larger_draw_begins_with_a_smaller():
    """In whatever order the rows come; rows that are not there change nothing of the others' order."""
    assert drawn(range(1000), 20) == drawn(reversed(range(1000)), 50)[:20]
    assert sorted(drawn([5, 7], 20)) == [5, 7]
    gone = drawn(range(1000), 20)[3]
    rest = [row for row in drawn(range(1000), 21) if row != gone]
    assert drawn([row for row in range(1000) if row != gone], 20) == rest


def test_every_row_has_the_same_chance():
    """Over many seeds."""
    found = Counter(row for seed in range(600) for row in drawn(range(20), 5, seed))
    assert (len(found), sum(found.values())) == (20, 3000)
    assert max(found.values()) < 1.4 * min(found.values())
