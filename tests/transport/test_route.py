"""Directly or by a proxy, in the clear or not."""

from __future__ import annotations

import pytest

from batchgen.errors import JobError
from batchgen.transport import preflight
from batchgen.transport.route import check_url, is_plaintext_to_elsewhere, route_to
from batchgen.values import Failure, FailureKind, Response, Verdict
from tests.transport.conftest import CANARY
from tests.transport.faults import ANSWER, FaultServer, closed_port
from tests.transport.sending import check_message, send


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("http://api.test/v1", "", True),
        ("https://api.test/v1", "", True),
        ("http://127.0.0.1:80/", "", False),
        ("http://localhost:80/", "", False),
        ("http://[::1]:80/", "", False),
        ("http://api.test/", "*", False),
        ("http://api.test/", "other.test, api.test", False),
        ("http://api.test/", ".test", False),
        ("http://api.test/", "*.test", False),
        ("http://api.test/", "pi.test", True),
        ("http://api.test/", "api.test:80", False),
        ("http://api.test/", "api.test:81", True),
        ("http://10.1.2.3/", "10.0.0.0/8", False),
        ("http://11.1.2.3/", "10.0.0.0/8", True),
        ("http://[fd00::1]/", "fd00::/8", False),
    ],
)
def test_proxy_by_environment(monkeypatch, url, no_proxy, proxied):
    """The usual variables decide; loopback never goes out; NO_PROXY takes hosts, domains, ports and networks."""
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@gate.test:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@gate.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    route = route_to(url)
    assert (route.proxy_host == "gate.test:3128") is proxied
    assert (route.proxy is None) is not proxied
    assert "secret" not in repr(route)


@pytest.mark.parametrize("url", ["api.test/v1", "ftp://api.test", "https://", "http://a:b", "http://u:p@api.test/", ""])
def test_refuses_what_is_no_url_of_a_provider(url):
    """No scheme, no host, a port that is no number, a password in the URL."""
    with pytest.raises(JobError, match=r"model\.base_url"):
        route_to(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.test/v1\n",
        "https://api.test/\tv1",
        "https://api.te\x00st/v1",
        "https://api.test/v1%00",
        "https://api.test/v1?x=%1f",
        "https://api.test/%7F/v1",
        "https://api.test/v1/%zz",
        "https://api.test/100%",
        "https://api%2etest/v1",
        "https://api.test:0/v1",
        "https://api.test:/v1",
        "https://api.test:99999/v1",
        "https://api.test/v1#part",
        "https://api.test\\v1",
        "https://<resource>.azure.test/openai",
        "https://{resource}.azure.test/openai",
        "https://YOUR_RESOURCE.azure.test/openai",
        "https://a..b.test/v1",
        "https://-a.test/v1",
        f"https://{'a' * 70}.test/v1",
        "https://999.1.1.1/v1",
        "https://[::1/v1",
        "https:api.test",
        "//api.test/v1",
        "https://\u0430pi.test/v1",
    ],
)
def test_refuses_an_address_that_can_never_work(url):
    """Control characters, escapes of them or of nothing, placeholders, hosts and ports that cannot be."""
    with pytest.raises(JobError, match=r"model\.base_url"):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "http://localhost/v1",
        "http://[::1]:8000/v1",
        "http://my_server:8000/v1",
        "https://api.test./v1",
        "https://your-company.test/v1",
        "https://x.openai.azure.com/openai/deployments/gpt%204o?api-version=2024-10-21",
        "http://10.0.0.7:65535/a%2Fb/",
    ],
)
def test_takes_addresses_of_every_kind(url):
    """Addresses, names with underscores, escapes, queries."""
    check_url(url)


def test_says_that_a_proxy_speaks_socks(monkeypatch):
    """The user learns before anything is sent what to set instead, and no password is shown."""
    monkeypatch.setenv("ALL_PROXY", "socks5h://user:secret@gate.test:1080")
    with pytest.raises(JobError, match=r"SOCKS.*NO_PROXY=api\.test") as caught:
        preflight("https://api.test/v1")
    assert "secret" not in str(caught.value)
    assert preflight("http://127.0.0.1:8000").proxy is None


def test_refuses_an_unusable_proxy_without_its_password(monkeypatch):
    """A proxy of a kind nobody here speaks is named by its variable only."""
    monkeypatch.setenv("HTTPS_PROXY", "ftp://user:secret@gate.test")
    with pytest.raises(JobError, match="HTTPS_PROXY") as caught:
        route_to("https://api.test")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://api.test", False),
        ("http://api.test", True),
        ("HTTP://10.0.0.1:80", True),
        ("http://127.0.0.1:1", False),
        ("http://127.9.9.9", False),
        ("http://[::1]:1", False),
        ("http://localhost:1", False),
        ("http://localhost.evil.test", True),
    ],
)
def test_plaintext_to_elsewhere(url, answer):
    """Only http:// beyond this machine sends a key in the clear."""
    assert is_plaintext_to_elsewhere(url) is answer


@pytest.mark.anyio
async def test_plain_requests_go_through_the_proxy(transport_to, server, monkeypatch):
    """The proxy gets the whole URL and its own password; the user is told that it sees the requests."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@127.0.0.1:{server.port}")
    async with transport_to("http://api.test/") as transport:
        assert any(f"127.0.0.1:{server.port}" in note for note in transport.notes)
        response = await send(transport, "http://api.test/ok")
    assert isinstance(response, Response)
    assert response.body == ANSWER
    head = server.heads[-1].lower()
    assert head.startswith(b"post http://api.test/ok http/1.1\r\n")
    assert b"proxy-authorization: basic dxnlcjpwyxnz\r\n" in head  # user:pass, lower-cased with the head


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "kind_of_failure", "verdict", "code"),
    [
        ("proxy_502", FailureKind.NETWORK, Verdict.RETRY, "proxy"),
        ("proxy_407", FailureKind.ENDPOINT, Verdict.STOP, "proxy_login"),
        ("close_before_reply", FailureKind.NETWORK, Verdict.RETRY, None),
    ],
)
async def test_a_proxy_that_makes_no_tunnel(
    transport_to,
    monkeypatch,
    fault,
    kind_of_failure,
    verdict,
    code,
):
    """Nothing was sent to the provider, the key did not go to the proxy, and the text names both."""
    with FaultServer(choose=lambda _: fault) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hidden@127.0.0.1:{server.port}")
        async with transport_to("https://api.test/") as transport:
            failure = await send(transport, "https://api.test/ok")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.verdict) == (kind_of_failure, verdict)
    assert failure.code == code or code is None
    assert not failure.maybe_billed
    assert f"127.0.0.1:{server.port}" in failure.message
    assert server.heads[0].startswith(b"CONNECT api.test:443")
    assert CANARY.encode() not in b"".join(server.heads)
    assert "hidden" not in failure.message
    check_message(failure)


@pytest.mark.anyio
async def test_a_proxy_that_is_not_there(transport_to, monkeypatch):
    """The text names the proxy: it is what has to be mended."""
    port = closed_port()
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{port}")
    async with transport_to("http://api.test/") as transport:
        failure = await send(transport, "http://api.test/ok")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.maybe_billed) == (FailureKind.NETWORK, False)
    assert f"127.0.0.1:{port}" in failure.message
