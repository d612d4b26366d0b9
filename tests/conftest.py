"""Shared by all tests: asyncio under anyio's plugin."""

import pytest
from hypothesis import settings

# A deadline judges the machine, which may be busy with other work.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


@pytest.fixture(scope="session")
def anyio_backend():
    """The transports and the simulator run on asyncio only."""
    return "asyncio"
