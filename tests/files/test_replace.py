"""Files that appear whole or not at all, private under any umask."""

import os
import stat
import threading
from pathlib import Path

import pytest

from batchgen.errors import OutputError
from batchgen.files.replace import named_file, replace_file, replacing


@pytest.fixture(params=[0, 0o022, 0o777])
def umask(request):
    """Set a umask for the test."""
    old = os.umask(request.param)
    yield
    os.umask(old)


def mode(path):
    """Return the permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def test_new_and_replaced_files_are_private(tmp_path, umask):
    """Also over one that was open to all."""
    (tmp_path / "old").write_text("x")
    (tmp_path / "old").chmod(0o666)
    for name in ("old", "new"):
        replace_file(tmp_path / name, b"body")
        assert mode(tmp_path / name) == 0o600
        with named_file(tmp_path / name) as file:
            file.write(b"named")
        assert (mode(tmp_path / name), (tmp_path / name).read_bytes()) == (0o600, b"named")


@pytest.mark.parametrize(("lock", "expected"), [(0o660, 0o660), (0o664, 0o600), (0o600, 0o600), (None, 0o600)])
def test_files_in_a_run_are_as_open_as_its_lock(tmp_path, umask, lock, expected):
    """The group's mode only where the lock has just that."""
    if lock is not None:
        (tmp_path / "run.lock").touch()
        (tmp_path / "run.lock").chmod(lock)
    (tmp_path / "results").mkdir()
    (tmp_path / "results").chmod(0o700)
    for path in (tmp_path / "page.html", tmp_path / "results" / "part-00000.parquet"):
        replace_file(path, b"x")
        assert mode(path) == expected


@pytest.mark.parametrize("write", [replacing, named_file])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, write):
    """What was half written goes away."""
    (tmp_path / "page").write_bytes(b"old")

    def fail():
        with write(tmp_path / "page") as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    assert (tmp_path / "page").read_bytes() == b"old"


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path):
    """The link stays a link; a pipe (as in a shell's `>(...)`) and a device are no files to be replaced."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "page")
    with named_file(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "page").read_bytes() == b"x"
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with named_file(tmp_path / "pipe") as file:
        file.write(b"through")
    reader.join()
    assert got == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    """The last one wins, whole."""
    with named_file(tmp_path / "page") as first:
        first.write(b"1" * 10)
        with named_file(tmp_path / "page") as second:
            second.write(b"2" * 20)
    assert (tmp_path / "page").read_bytes() == b"1" * 10


def test_a_refusal_names_the_file_and_other_errors_pass(tmp_path):
    """A full disk is the file's; what the block meets elsewhere is not."""
    for path in (tmp_path / "missing" / "page", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"), named_file(path) as file:
            file.write(b"x")
    with pytest.raises(OutputError, match="No space left"), named_file(Path("/dev/full")) as file:
        file.write(b"x")
    with pytest.raises(PermissionError), named_file(tmp_path / "page"):
        raise PermissionError("of another file")
