"""Both transports; a server of faults for each module."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batchgen.secret import Secret, SecretHeader, Secrets
from batchgen.transport import open_transport
from batchgen.transport.protocol import OpenTransport
from tests.transport.faults import FaultServer

CANARY = "sk-canary-7f3a9c51e2"

Open = Callable[..., OpenTransport]


UVLOOP, ASYNCIO = ("asyncio", {"use_uvloop": True}), ("asyncio", {"use_uvloop": False})


@pytest.fixture
def anyio_backend():
    """The loop the program runs on; tests that touch timers or cancellation ask for both."""
    return UVLOOP


@pytest.fixture(params=["fast", "httpx"])
def kind(request):
    return request.param


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The machine's own proxies and certificates must not steer a test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def server():
    with FaultServer() as running:
        yield running


def bearer(key):
    """A run's secrets: one key, as most servers want to be shown it."""
    return Secrets([SecretHeader("Authorization", Secret(key), "Bearer ")])


@pytest.fixture
def transport_to(kind):
    """Open the transport under test for a URL."""

    def open_to(url, **options):
        return open_transport(kind, base_url=url, **{"secrets": bearer(CANARY), "concurrency": 8, **options})

    return open_to
