"""Where batchgen keeps what is no output, on any kind of account."""

import pwd
from pathlib import Path

import pytest

from batchgen.errors import OutputError
from batchgen.files.state_folder import state_folder


@pytest.mark.parametrize("told", [None, "", "relative/state"])
def test_below_the_home_directory(monkeypatch, tmp_path, told):
    """A relative folder would be another one in each working directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if told is not None:
        monkeypatch.setenv("XDG_STATE_HOME", told)
    assert state_folder() == tmp_path / ".local" / "state" / "batchgen"


def test_where_the_user_says(monkeypatch):
    """An absolute folder is taken."""
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    assert state_folder() == Path("/elsewhere/batchgen")


def test_a_user_without_a_home(monkeypatch):
    """As in a container that runs under any number."""

    def nobody(number):
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(OutputError, match="set XDG_STATE_HOME"):
        state_folder()
