"""Certificates and handshakes that fail, on real sockets with a private authority."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
import trustme

from batchgen.errors import JobError
from batchgen.values import Failure, FailureKind, Response, Verdict
from tests.transport.conftest import ASYNCIO, CANARY, UVLOOP
from tests.transport.faults import ANSWER, FaultServer, TunnelProxy
from tests.transport.sending import check_message, send

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def tls_server(authority, *names, not_after=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=not_after).configure_cert(context)
    return FaultServer(tls=context)


def trust(authority, tmp_path, monkeypatch):
    """A bundle of two authorities, ours the second: all of a file must be read."""
    bundle = tmp_path / "authorities.pem"
    bundle.write_bytes(trustme.CA().cert_pem.bytes() + authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))


def check_stop(outcome, code):
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict, outcome.code) == (FailureKind.ENDPOINT, Verdict.STOP, code)
    assert not outcome.maybe_billed
    check_message(outcome)


async def test_a_private_authority_is_trusted_by_ssl_cert_file(transport_to, authority, tmp_path, monkeypatch):
    """SSL_CERT_FILE names the authorities of both transports."""
    trust(authority, tmp_path, monkeypatch)
    with tls_server(authority, "127.0.0.1") as server:
        async with transport_to(server.url("")) as transport:
            assert isinstance(await send(transport, server.url("ok")), Response)


async def test_an_unknown_authority_stops_the_run(transport_to, authority):
    """A certificate of an authority nobody knows is no matter of trying again; nothing was sent."""
    with tls_server(authority, "127.0.0.1") as server:
        async with transport_to(server.url("")) as transport:
            check_stop(await send(transport, server.url("ok")), "tls_certificate")
        assert server.heads == []


@pytest.mark.parametrize("fault", ["expired", "wrong host"])
async def test_a_wrong_certificate_stops_the_run(transport_to, authority, tmp_path, monkeypatch, fault):
    """Expired, or of another host, though the authority is known."""
    trust(authority, tmp_path, monkeypatch)
    expired = datetime(2020, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    serving = (
        tls_server(authority, "127.0.0.1", not_after=expired)
        if fault == "expired"
        else tls_server(authority, "other.test")
    )
    with serving as server:
        async with transport_to(server.url("")) as transport:
            check_stop(await send(transport, server.url("ok")), "tls_certificate")


async def test_a_plain_port_is_no_tls(transport_to):
    """https:// to a port that speaks HTTP: the text asks whether the address is right."""
    with FaultServer() as server:
        url = server.url("ok").replace("http:", "https:")
        async with transport_to(url) as transport:
            check_stop(await send(transport, url), "tls_protocol")
        assert server.heads == []


async def test_a_tls_port_is_no_plain_one(transport_to, authority):
    """http:// to a port that speaks TLS fails like a broken connection; the server cannot have understood it."""
    with tls_server(authority, "127.0.0.1") as server:
        url = server.url("ok").replace("https:", "http:")
        async with transport_to(url) as transport:
            failure = await send(transport, url)
        assert isinstance(failure, Failure)
        assert failure.kind in (FailureKind.NETWORK, FailureKind.UNREADABLE)
        check_message(failure)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_ssl_cert_file_is_said_at_once(transport_to, tmp_path, monkeypatch, content):
    """A missing or empty bundle is an error with its name, not a failing handshake later."""
    bundle = tmp_path / "authorities.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with pytest.raises(JobError, match=r"SSL_CERT_FILE=.*authorities\.pem"):
        transport_to("https://api.example.test/")


async def test_a_system_without_authorities_uses_certifi(transport_to, authority, tmp_path, monkeypatch):
    """Where the system has no authorities, certifi's bundle is trusted (here one of ours takes its place)."""
    bundle = tmp_path / "certifi.pem"
    bundle.write_bytes(trustme.CA().cert_pem.bytes() + authority.cert_pem.bytes())
    monkeypatch.setattr("certifi.where", lambda: str(bundle))
    nothing = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "", "SSL_CERT_DIR", "")
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: nothing)
    with tls_server(authority, "127.0.0.1") as server:
        async with transport_to(server.url("")) as transport:
            assert isinstance(await send(transport, server.url("ok")), Response)


@pytest.mark.parametrize("anyio_backend", [UVLOOP, ASYNCIO], ids=["uvloop", "asyncio"])
async def test_goes_through_a_proxys_tunnel(transport_to, authority, tmp_path, monkeypatch):
    """TLS runs from end to end inside of the tunnel, connection after connection kept; the proxy sees no key."""
    trust(authority, tmp_path, monkeypatch)
    with tls_server(authority, "api.test") as server, TunnelProxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://us%40er:pass@127.0.0.1:{proxy.port}")
        async with transport_to("https://api.test/") as transport:
            for _ in range(3):
                response = await send(transport, "https://api.test/ok")
                assert isinstance(response, Response), response
                assert response.body == ANSWER
        assert server.connections == len(proxy.heads) == 1
        (head,) = proxy.heads
        assert head.startswith(b"CONNECT api.test:443 HTTP/1.1\r\n")
        assert b"dXNAZXI6cGFzcw==" in head, "us@er:pass"
        assert CANARY.encode() not in head
        assert server.heads[0].startswith(b"POST /ok HTTP/1.1\r\n")
        assert b"proxy-authorization" not in server.heads[0].lower()


async def test_a_proxys_tunnel_to_the_wrong_host_stops_the_run(transport_to, authority, tmp_path, monkeypatch):
    """A proxy that answers in the provider's place is found out by its certificate."""
    trust(authority, tmp_path, monkeypatch)
    with tls_server(authority, "other.test") as server, TunnelProxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with transport_to("https://api.test/") as transport:
            check_stop(await send(transport, "https://api.test/ok"), "tls_certificate")
        assert server.heads == []
