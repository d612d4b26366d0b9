"""Shared by the survival tests: the command in a process of its own, a simulator, jobs, and the forking starter."""

import pytest

from tests.cli.conftest import command, job, simulator
from tests.survival.harness import ROOT, Spare

__all__ = ["command", "job", "simulator", "spare"]


@pytest.fixture(autouse=True)
def this_checkout(monkeypatch):
    """Commands started elsewhere import this checkout, whatever is installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def spare(tmp_path):
    """Start commands quickly; all are gone at the end."""
    with Spare(tmp_path) as started:
        yield started
