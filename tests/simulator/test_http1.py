"""Requests out of bytes."""

from __future__ import annotations

import pytest

from batchgen.simulator.http1 import BadRequestError, RequestReader
from tests.simulator.conftest import chat_body, raw_request

PLAIN = raw_request(b"abc")
CHUNKED = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
FOLDED = b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\n\r\n"
OLD = b"GET /x HTTP/1.0\r\n\r\n"


def all_of(reader):
    """Return the requests that are whole."""
    found = []
    while (request := reader.next_request()) is not None:
        found.append(request)
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_any_cut_gives_the_same_requests(size):
    """Plain and odd requests in one pipeline, fed in pieces of any size."""
    stream = PLAIN + CHUNKED + PLAIN + FOLDED + PLAIN
    reader, found = RequestReader(), []
    for i in range(0, len(stream), size):
        reader.feed(stream[i : i + size])
        found += all_of(reader)
    assert [request.body for request in found] == [b"abc", b"abc", b"abc", b"", b"abc"]
    assert found[3].headers["x-a"] == "a b"
    assert found[0].headers["authorization"] == "Bearer test-key"


def test_http_1_0_closes():
    """An old client's connection ends after the reply."""
    reader = RequestReader()
    reader.feed(OLD)
    assert all_of(reader)[0].headers["connection"] == "close"


def test_a_large_body_comes_whole():
    """10 MB, in pieces of 64 KB."""
    body = chat_body("x" * 10_000_000)
    stream = raw_request(body)
    reader = RequestReader()
    for i in range(0, len(stream), 65536):
        assert not all_of(reader)
        reader.feed(stream[i : i + 65536])
    assert all_of(reader)[0].body == body


def test_a_client_that_waits_for_100_continue_is_noticed():
    """The body comes after the interim reply."""
    reader = RequestReader()
    reader.feed(b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert reader.next_request() is None
    assert reader.continue_wanted
    reader.feed(b"abc")
    assert all_of(reader)[0].body == b"abc"
    assert not reader.continue_wanted


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc", 413),
        (b"GET /" + b"a" * 70_000, 431),
    ],
)
def test_what_is_no_request_is_refused(stream, status):
    """Broken heads, contradicting lengths, bodies and heads that are too large."""
    reader = RequestReader()
    reader.feed(stream)
    with pytest.raises(BadRequestError) as refused:
        all_of(reader)
    assert refused.value.status == status
