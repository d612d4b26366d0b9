"""Third-party servers, started by the tests. They run only when asked for: `pytest -m servers`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import command, job
from tests.servers.environment import litellm_command

__all__ = ["command", "job"]


def pytest_collection_modifyitems(config, items):
    """Skip these tests unless the marker was named: they need the extra `servers`, and minutes."""
    if "servers" in config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="third-party servers: install the extra `servers` and run `pytest -m servers`")
    for item in items:
        if item.get_closest_marker("servers") is not None:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def litellm(pytestconfig):
    """The command that starts LiteLLM's proxy."""
    assert pytestconfig.cache is not None
    return litellm_command(Path(pytestconfig.cache.mkdir("litellm")).resolve())
