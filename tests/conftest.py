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
