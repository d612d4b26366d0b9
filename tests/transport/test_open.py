"""What `open_transport` refuses, notes and falls back to."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from batchgen.secret import Secrets
from batchgen.transport import open_transport
from batchgen.transport.open_files import RESERVE, connections_allowed

URL = "http://127.0.0.1:9/"


def test_says_nothing_where_nothing_is_to_say(transport_to, kind):
    """A local server, enough descriptors, no proxy: no notes."""
    transport = transport_to(URL)
    assert (transport.kind, transport.concurrency, list(transport.notes)) == (kind, 8, [])


def test_notes_a_key_sent_in_the_clear(transport_to):
    """http:// to another machine is allowed, and said."""
    (note,) = transport_to("http://api.test/v1").notes
    assert "unencrypted to api.test" in note


def test_falls_back_to_httpx_with_a_note(monkeypatch):
    """Where httptools is not installed the fast kind is httpx, and one sentence says so."""
    monkeypatch.setitem(sys.modules, "httptools", None)
    for name in ("asyncio_client", "dial", "http1"):
        monkeypatch.delitem(sys.modules, f"batchgen.transport.{name}", raising=False)
    transport = open_transport("fast", base_url=URL, secrets=Secrets(), concurrency=1)
    assert transport.kind == "httpx"
    (note,) = transport.notes
    assert "httpx is used instead" in note


def test_leaves_an_encrypted_proxy_to_httpx(monkeypatch):
    """A proxy that is itself spoken to in TLS is what the fast client does not do: httpx does, and a note says so."""
    monkeypatch.setenv("HTTPS_PROXY", "https://proxy.test:8443")
    transport = open_transport("fast", base_url="https://api.test/v1", secrets=Secrets(), concurrency=1)
    assert transport.kind == "httpx"
    assert "httpx is used instead" in transport.notes[-1]


def test_raises_the_soft_limit_on_open_files_as_far_as_needed():
    """The soft limit grows to connections plus a reserve; beyond the hard one fewer connections are allowed."""
    script = (
        "import resource\n"
        "from batchgen.transport.open_files import connections_allowed\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1000))\n"
        "print(connections_allowed(64), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
        "print(connections_allowed(600), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
        "print(connections_allowed(5000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    expected = [(64, 256), (600, 600 + RESERVE), (1000 - RESERVE, 1000)]
    assert [tuple(map(int, line.split())) for line in done.stdout.splitlines()] == expected


def test_notes_a_concurrency_that_does_not_fit(transport_to):
    """More connections than the hard limit allows: the transport says what is left."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this system sets no limit on open files")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        transport = transport_to(URL, concurrency=hard + 1)
        assert transport.concurrency == connections_allowed(hard + 1) == hard - RESERVE
        assert str(hard - RESERVE) in transport.notes[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
