"""Which errors are the disk's, and what becomes of those that nobody expected."""

import errno
import sqlite3
from pathlib import Path

import pytest

from batchgen.errors import InputError, InputStop, InternalStop, OutputError, ProviderStop, StorageStop
from batchgen.files.disk_errors import MEND, is_refusal, naming, of_disk, unforeseen_stop, unreadable

PLACE = Path("/somewhere/out")


@pytest.mark.parametrize(
    ("error", "stop"),
    [
        (OSError(errno.EIO, "I/O"), StorageStop),
        (OSError(errno.EDQUOT, "quota"), StorageStop),
        (PermissionError(errno.EACCES, "no", "/somewhere/out/run.json"), StorageStop),
        (ConnectionResetError(errno.ECONNRESET, "reset"), InternalStop),
        (sqlite3.OperationalError("disk I/O error"), StorageStop),
        (sqlite3.DatabaseError("database disk image is malformed"), StorageStop),
        (sqlite3.ProgrammingError("You did not supply a value"), InternalStop),
        (OutputError("run.json cannot be read"), StorageStop),
        (InputError("a row is gone"), InputStop),
        (ProviderStop("no"), ProviderStop),
        (ZeroDivisionError(), InternalStop),
    ],
)
@pytest.mark.parametrize("grouped", [False, True])
def test_what_an_unforeseen_error_is(error, stop, grouped):
    """A disk and the input stop a run that can go on; anything else is a mistake of the program."""
    found = unforeseen_stop(ExceptionGroup("tasks", [error]) if grouped else error, PLACE)
    assert type(found) is stop
    assert str(PLACE) in str(found) or stop is not StorageStop or isinstance(error, OutputError)


def test_the_first_refusal_is_the_one_that_is_told():
    """A disk that is gone refuses everything on the way out, too."""
    with pytest.raises(OSError) as caught:  # noqa: PT011, PT012
        try:
            raise StorageStop("The journal cannot be written.")
        finally:
            raise OSError(errno.EIO, "I/O")
    assert str(unforeseen_stop(caught.value, PLACE)) == "The journal cannot be written."


def test_a_file_that_cannot_be_read_now_may_be_whole():
    """Only of its content can it be said that it is damaged, and then it is done anew."""
    refused, damaged = OSError(errno.EIO, "I/O"), OSError("Corrupt snappy compressed data")
    assert (is_refusal(refused), is_refusal(damaged)) == (True, False)
    assert of_disk(refused)
    assert unreadable(PLACE, refused, "Ask anew.").endswith(MEND)
    assert unreadable(PLACE, damaged, "Ask anew.").endswith("Ask anew.")
    folder, forbidden = IsADirectoryError(errno.EISDIR, "Is a directory"), PermissionError(errno.EACCES, "denied")
    assert "move it away" in unreadable(PLACE, folder, "Ask anew.")
    assert "permissions" in unreadable(PLACE, forbidden, "Ask anew.")


def test_a_refusal_names_its_file():
    """One that comes after the opening does not by itself; its kind stays."""
    with pytest.raises(FileNotFoundError, match=r"/somewhere/out"), naming(PLACE):
        raise OSError(errno.ENOENT, "gone")
    with pytest.raises(OSError, match="no number") as caught, naming(PLACE):
        raise OSError("no number")
    assert caught.value.filename is None
