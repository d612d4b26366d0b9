"""Shared by all tests: asyncio under anyio's plugin, and a browser."""

import shutil

import pytest
from hypothesis import settings

# A deadline judges the machine, which may be busy with other work.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


@pytest.fixture(scope="session")
def anyio_backend():
    """The transports and the simulator run on asyncio only."""
    return "asyncio"


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    """A headless browser of this machine; Playwright's own is not downloaded. It ends with the module that uses it,
    since Playwright keeps an event loop running in the main thread until then: what runs a job comes before it."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser on this machine ({', '.join(BROWSERS)})")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def s3_server():
    """One S3 server for the whole session: it takes seconds to start."""
    from tests.stores.s3_server import S3Server

    with S3Server() as server:
        yield server


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The S3 server without faults, with the empty buckets `rows` and `out`, and the environment of its user."""
    from batchgen.stores import opening, protocol

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(protocol, "sleep", lambda seconds: None)
    s3_server.fault = lambda method, path: None
    s3_server.bucket("rows")
    s3_server.bucket("out")
    opening._opened.cache_clear()
    yield s3_server
    s3_server.fault = lambda method, path: None
