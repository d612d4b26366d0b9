"""Shared by all tests: asyncio under anyio's plugin."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend():
    """The transports and the simulator run on asyncio only."""
    return "asyncio"
