"""Date headers as programs write them: the right moment in UTC, or none, and never a wrong one."""

from datetime import UTC, datetime

import pytest

from batchgen.mail.dates import read_date

TEN = datetime(2024, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "Fri, 5 Jan 2024 11:00:00 +01:00",
        "Fri, 5 Jan 2024 11:00:00 +1:00",
        "Fri, 5 Jan 2024 11:00:00 +01",
        "Fri, 5 Jan 2024 15:30:00 +05:30",
        "Fri, 5 Jan 2024 08:00:00 \u22120200",
        "Fri Jan 5 11:00:00 CET 2024",
        "Fri, 5 Jan 2024 10:00:00.123 +0000",
        "Fri, 5 Jan 2024 10:00:00 AM +0000",
        "Fr, 5. Jan. 2024 11:00:00 +0100",
        "2024-01-05 10:00:00 UTC",
        "2024-01-05 11:00:00 +0100",
        '"Fri, 5 Jan 2024 10:00:00 GMT"',
        "Fri, 5 Jan 2024 11:00:00 GMT+1",
        "Fri, 5 Jan 2024 18:00:00 +0800 (CST)",
    ],
)
def test_zones_and_times_are_read_in_every_form(written):
    """A zone that was passed over silently moves the mail by hours."""
    assert read_date(written) == (TEN, None, None)


@pytest.mark.parametrize(
    ("written", "hour", "minute"),
    [("5 Jan 2024 10:00 PM", 22, 0), ("5 Jan 2024 12:05 AM", 0, 5), ("5 Jan 2024 12:05:00 p.m.", 12, 5)],
)
def test_the_half_of_the_day_counts(written, hour, minute):
    """It is no name of a zone."""
    assert read_date(written) == (datetime(2024, 1, 5, hour, minute, tzinfo=UTC), None, None)


@pytest.mark.parametrize("written", ["Fri, 5 Jan 124 10:00:00 +0000", "05/01/2024 10:00", "Freitag, 5. Januar 2024"])
def test_what_is_no_sure_date_stays_as_text(written):
    """There is no mail of the year 124, and a day and a month cannot be told apart."""
    assert read_date(written) == (None, written, None)


def test_a_leap_second_is_the_one_before_it():
    """Clocks write it, and Python has none."""
    assert read_date("Sat, 31 Dec 2016 23:59:60 +0000") == (datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC), None, None)
