"""A stamp that a later change could leave the same is not believed."""

import os

import pytest

from batchgen.files.stamps import Stamp, stamp_of

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("changed_ns", "later_ns", "settled"),
    [
        (5 * SECOND + 7_000_000, 20_000_000, False),
        (5 * SECOND + 7_000_000, 150_000_000, True),
        (5 * SECOND, SECOND, False),
        (5 * SECOND, 2 * SECOND, True),
    ],
)
def test_a_file_is_settled_when_its_clock_has_gone_on(changed_ns, later_ns, settled):
    """A tick of a fine clock; two seconds where the file system knows only whole ones."""
    assert Stamp(1, 3 * SECOND, changed_ns).settled(changed_ns + later_ns) is settled


def test_a_time_that_lies_ahead_is_never_settled():
    """The clock was set back, or the file comes from a machine that is ahead."""
    assert not Stamp(1, 99 * SECOND, 5 * SECOND + 1).settled(50 * SECOND)


def test_whatever_is_done_to_a_file_gives_another_stamp(tmp_path):
    """Also if its time of change is put back."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = stamp_of(path)
    assert stamp_of(path) == before
    other = tmp_path / "other"
    other.write_bytes(b"two")
    os.utime(other, ns=(before.modified_ns, before.modified_ns))
    other.rename(path)
    assert stamp_of(path) != before
