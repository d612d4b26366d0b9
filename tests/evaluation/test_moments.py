"""Days and moments: which spellings are read, and as what."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.evaluation.moments import read_moment, read_time
from batchgen.evaluation.values import ValueReader

DAY = ValueReader([pa.date32(), pa.string()])


@pytest.mark.parametrize("text", ["2024", "5 march", "march 2024", "03/04/2024", "3-4-2024", "31.02.2024",
                                  "after 5 march 2024", "5 march 2024 or later", "5 marchy 2024",
                                  "mon 5 march 2024", "5 march 2024 25:00",
                                  "2024-13-05", "5.3.24", "1/2", "5 march 2024 9", "x" * 100])  # fmt: skip
def test_what_is_no_moment_or_may_be_two_is_none(text):
    """A word more, a day that is none, another day of the week."""
    assert read_moment(text) is None


def test_times_of_day():
    """With and without half days."""
    assert read_time("9:30 pm") == dt.time(21, 30)
    assert read_time("12 a.m.") == dt.time(0)
    assert [read_time(text) for text in ("9", "13 pm", "25:00", "noon")] == [None] * 4


SPELLINGS = (
    "{0:%d %B %Y}", "{0:%B} {0.day}, {0.year}", "{0:%b} {0.day} {0.year}", "{0:%d.%m.%Y}", "{0.day}.{0.month}.{0.year}",
    "{0:%Y/%m/%d}", "{0.year}年{0.month}月{0.day}日", "{0:%a, %d %b %Y}", "{0:%d-%b-%Y}", "{0:%Y%m%d}",
)  # fmt: skip


@given(st.dates(dt.date(1000, 1, 1)), st.dates(dt.date(1000, 1, 1)), st.sampled_from(SPELLINGS))
def test_a_day_equals_its_other_spellings(day, other, spelling):
    """Whatever the day; another day is another value, and what may be two days is neither."""
    assert DAY.key(spelling.format(day)) == DAY.key(day)
    assert (DAY.key(spelling.format(other)) == DAY.key(day)) == (day == other)
    american = f"{day:%m/%d/%Y}"
    assert (DAY.key(american) == DAY.key(day)) == (day.day > 12 or day.day == day.month)
