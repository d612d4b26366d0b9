"""The client for files and batches, against servers that are scripted byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from batchgen.transport import open_file_client
from batchgen.values import ApiCall, Failure, FailureKind, Verdict
from tests.transport.conftest import CANARY, bearer
from tests.transport.faults import TunnelProxy, closed_port
from tests.transport.sending import LONG_S, check_message

pytestmark = pytest.mark.anyio

SHORT_S = 0.4
CONTENT = b"".join(b'{"custom_id":"k-%06d"}\n' % number for number in range(20_000))


@dataclass
class Server:
    """A server that answers each request with what `script(head, body, number)` returns, and then hangs up."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    bytes: int = 0

    def url(self, path="v1/files"):
        return f"http://127.0.0.1:{self.port}/{path}"


@asynccontextmanager
async def serving(script=None, *, keep=True, converse=None):
    server, writers = Server(), []

    async def answer(reader, writer):
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):
            await (converse or speak)(reader, writer)

    async def speak(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(header(head, "content-length") or b"0")
        body, left = [], length
        while left and (part := await reader.read(min(left, 65_536))):
            left -= len(part)
            server.bytes += len(part)
            if keep:
                body.append(part)
        number = len(server.heads)
        server.heads.append(head)
        server.bodies.append(b"".join(body))
        reply = script(head, server.bodies[-1], number)
        if reply is not None:
            writer.write(reply)
            await writer.drain()
            writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


def header(head, name):
    for line in head.split(b"\r\n"):
        if line.lower().startswith(name.encode() + b":"):
            return line.partition(b":")[2].strip()
    return None


def reply(body=b"{}", status="200 OK", headers="", cut=None):
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body[:cut]


def always(*args, **kwargs):
    return lambda head, body, number: reply(*args, **kwargs)


def in_turn(*replies):
    return lambda head, body, number: replies[min(number, len(replies) - 1)]


def client_of(server_or_url):
    url = server_or_url if isinstance(server_or_url, str) else server_or_url.url()
    return open_file_client(url, bearer(CANARY))


async def made(server, call, timeout_s=LONG_S):
    async with client_of(server) as client:
        return await client.call(call, timeout_s=timeout_s)


async def downloaded(server, path, url=None, timeout_s=LONG_S):
    async with client_of(server) as client:
        return await client.download(ApiCall("GET", url or server.url("v1/files/f/content")), path, timeout_s=timeout_s)


# ---- calls


async def test_calls_of_each_kind():
    """The key and the call's own headers go along; a body says that it is JSON, and none has no type."""
    async with serving(always(b'{"id":"b"}', headers="x-request-id: r\r\nx-other: y\r\n")) as server:
        for call in (
            ApiCall("GET", server.url("v1/batches?limit=5"), {"X-Team": "a"}),
            ApiCall("POST", server.url(), body=b'{"a":1}'),
            ApiCall("POST", server.url()),
            ApiCall("DELETE", server.url()),
        ):
            answer = await made(server, call)
            assert (answer.status, answer.body, answer.headers) == (200, b'{"id":"b"}', {"x-request-id": "r"})
    assert [head.split(b" ")[0] for head in server.heads] == [b"GET", b"POST", b"POST", b"DELETE"]
    assert all(header(head, "authorization") == f"Bearer {CANARY}".encode() for head in server.heads)
    assert header(server.heads[0], "x-team") == b"a"
    assert [header(head, "content-type") for head in server.heads] == [None, b"application/json", None, None]
    assert [header(head, "content-length") for head in server.heads] == [None, b"7", b"0", None]


async def test_a_form_with_a_file(tmp_path):
    """Every field, then the file under its name, byte for byte."""
    path = tmp_path / "staged"
    path.write_bytes(CONTENT)
    async with serving(always()) as server:
        call = ApiCall(
            "POST", server.url(), {"Content-Type": "text/plain"}, upload=path, file_name='a"b.jsonl', file_field="file",
            form={"purpose": "batch", "expires_after[seconds]": "3600"}, creates=True,
        )  # fmt: skip
        assert (await made(server, call)).status == 200
    kind = header(server.heads[0], "content-type")
    mark = b"--" + kind.partition(b"boundary=")[2]
    assert kind.startswith(b"multipart/form-data")
    before, purpose, seconds, file, end = server.bodies[0].split(mark)
    assert (before, end) == (b"", b"--\r\n")
    assert purpose == b'\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    assert b'name="expires_after[seconds]"\r\n\r\n3600\r\n' in seconds
    described, _, content = file.partition(b"\r\n\r\n")
    assert b'name="file"; filename="a%22b.jsonl"' in described
    assert content == CONTENT + b"\r\n"


@pytest.mark.parametrize("content", [b"", b"{}", b"{}\n", b'{"a":1}\n{"b":2}\n', b'{"a":1}\n{"b":2}', CONTENT])
async def test_lines_as_the_members_of_a_list(tmp_path, content):
    """The length that is told is that of what is sent."""
    path = tmp_path / "staged"
    path.write_bytes(content)
    async with serving(always()) as server:
        call = ApiCall("POST", server.url(), upload=path, before=b'{"requests":[', after=b"]}", as_list=True)
        assert (await made(server, call)).status == 200
    assert server.bodies[0] == b'{"requests":[' + b",".join(content.splitlines()) + b"]}"
    assert header(server.heads[0], "content-type") == b"application/json"


async def test_memory_does_not_grow_with_the_file(tmp_path):
    """Neither on the way up nor on the way down."""
    path, size = tmp_path / "staged", 48_000_000
    with path.open("wb") as file:
        file.truncate(size)
    async with serving(always(), keep=False) as server, client_of(server) as client:
        tracemalloc.start()
        try:
            call = ApiCall("POST", server.url(), upload=path, file_name="a.jsonl", file_field="file")
            assert (await client.call(call, timeout_s=LONG_S)).status == 200
            assert tracemalloc.get_traced_memory()[1] < 6_000_000
        finally:
            tracemalloc.stop()
    assert server.bytes > size


async def test_a_file_that_is_not_there(tmp_path):
    """Is the caller's fault, and nothing is sent."""
    async with serving(always()) as server:
        with pytest.raises(FileNotFoundError):
            await made(server, ApiCall("POST", server.url(), upload=tmp_path / "none"))
    assert server.heads == []


# ---- failures


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_nobody_listens(method):
    """Nothing was sent, so that nothing can have been created."""
    url = f"http://127.0.0.1:{closed_port()}/v1/batches"
    failure = await made(url, ApiCall(method, url))
    assert isinstance(failure, Failure)
    assert failure.unsent
    check_message(failure)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (lambda head, body, number: None, "silence"),
        (lambda head, body, number: b"", "closed"),
        (lambda head, body, number: b"HTTP/1.1 200", "closed"),
        (always(b"x" * 100, cut=50), "cut"),
        (lambda head, body, number: b"SSH-2.0\r\n\r\n", "bad_http"),
        (always(b"abc", headers="content-encoding: gzip\r\n"), "bad_encoding"),
        (always(b"abc", headers="content-encoding: br\r\n"), "bad_encoding"),
        (always(gzip.compress(b"x" * 999)[:-4], headers="content-encoding: gzip\r\n"), "cut"),
    ],
)
async def test_a_reply_that_does_not_come(script, code):
    """What was to be created may have been."""
    async with serving(script) as server:
        failure = await made(server, ApiCall("POST", server.url(), body=b"{}", creates=True), timeout_s=SHORT_S)
    assert isinstance(failure, Failure)
    assert failure.code == code
    assert failure.maybe_billed
    assert not failure.stale
    check_message(failure)


async def test_an_early_no_to_a_long_upload(tmp_path):
    """The reason is read, although the server does not want the rest."""
    path = tmp_path / "staged"
    path.write_bytes(b"x" * 3_000_000)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(b'{"error":"too large"}', "413 Content Too Large", "connection: close\r\n"))
        await writer.drain()
        writer.write_eof()
        await reader.read(1_000)
        await asyncio.sleep(0.05)
        writer.close()

    async with serving(converse=answer) as server:
        outcome = await made(server, ApiCall("POST", server.url(), upload=path, file_name="a.jsonl", file_field="file"))
    assert isinstance(outcome, Failure) or outcome.status == 413  # or the connection was reset before it was read


async def test_each_call_has_a_connection_of_its_own():
    """So that no call that creates something meets the end of an idle one."""
    connections = []

    async def answer(reader, writer):
        connections.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(reply())

    async with serving(converse=answer) as server, client_of(server) as client:
        for _ in range(3):
            assert (await client.call(ApiCall("GET", server.url()), timeout_s=LONG_S)).status == 200
    assert len(connections) == 3


async def test_a_long_upload_is_no_silence(tmp_path):
    """Time counts from the last byte that went or came."""
    path, size = tmp_path / "staged", 16_000_000
    with path.open("wb") as file:
        file.truncate(size)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(16):
            await reader.readexactly(size // 16)
            await asyncio.sleep(0.1)
        writer.write(reply())

    async with serving(converse=answer) as server:
        outcome = await made(server, ApiCall("POST", server.url(), upload=path), timeout_s=1.2)
    assert outcome.status == 200


# ---- redirects


async def test_another_origin_gets_no_call():
    """Neither by its address nor by a redirect: the key stays here."""
    async with serving(always()) as other:

        def moved(head, body, number):
            return reply(b"", "307 Temporary Redirect", f"location: {other.url()}\r\n")

        async with serving(moved) as server:
            foreign = await made(server, ApiCall("GET", other.url()))
            for method in ("GET", "POST", "DELETE"):
                assert (await made(server, ApiCall(method, server.url()))).status == 307
    assert isinstance(foreign, Failure)
    assert (foreign.code, foreign.verdict, foreign.unsent) == ("foreign_host", Verdict.STOP, False)
    assert not foreign.maybe_billed
    assert other.heads == []


async def test_a_redirect_within_the_origin(tmp_path):
    """Is followed with the key; a body goes along where the status says that the method stays."""

    def moved(status):
        return lambda head, body, number: reply(b"", status, "location: /v2/x\r\n") if number == 0 else reply(b"[]")

    async with serving(moved("308 Permanent Redirect")) as server:
        assert (await made(server, ApiCall("POST", server.url(), body=b'{"a":1}'))).body == b"[]"
    assert server.bodies == [b'{"a":1}', b'{"a":1}']
    assert header(server.heads[1], "authorization") == f"Bearer {CANARY}".encode()
    async with serving(moved("302 Found")) as server:
        assert (await made(server, ApiCall("POST", server.url(), body=b"{}"))).status == 302
        assert len(server.heads) == 1
    async with serving(moved("301 Moved Permanently")) as server:
        assert (await made(server, ApiCall("GET", server.url()))).status == 200


async def test_redirects_without_an_end():
    """End all the same."""
    async with serving(always(b"", "302 Found", "location: /again\r\n")) as server:
        assert (await made(server, ApiCall("GET", server.url()))).status == 302
    assert 1 < len(server.heads) < 10


async def test_content_at_a_storage_host(tmp_path):
    """Is fetched without the key and without the headers that are meant for the vendor."""
    async with serving(always(CONTENT)) as storage:
        to = f"location: {storage.url('bucket/x?sig=1')}\r\n"
        async with serving(always(b"", "302 Found", to)) as server, client_of(server) as client:
            call = ApiCall("GET", server.url(), {"X-Team": "a"})
            assert (await client.download(call, tmp_path / "out", timeout_s=LONG_S)).status == 200
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert header(storage.heads[0], "authorization") is None
    assert header(storage.heads[0], "x-team") is None
    assert CANARY.encode() not in storage.heads[0]


# ---- downloads


@pytest.mark.parametrize("packed", [False, True])
async def test_a_download_appears_whole(tmp_path, packed):
    """Also one that comes compressed without having been asked for so."""
    path = tmp_path / "out"
    body, headers = (gzip.compress(CONTENT), "content-encoding: gzip\r\n") if packed else (CONTENT, "")
    async with serving(always(body, headers=headers)) as server:
        answer = await downloaded(server, path)
    assert (answer.status, answer.body, path.read_bytes()) == (200, b"", CONTENT)
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "500 Internal Server Error", "204 No Content"])
async def test_no_content_leaves_no_file(tmp_path, status):
    """The reason comes back in its place."""
    body = b"" if status.startswith("204") else b'{"error":"x"}'
    async with serving(always(body, status)) as server:
        answer = await downloaded(server, tmp_path / "out")
    assert (answer.status, answer.body) == (int(status[:3]), body)
    assert list(tmp_path.iterdir()) == []


def ranged(etag=""):
    """A server that sends at most 100,000 bytes before it breaks off, and resumes where it is asked to."""

    def script(head, body, number):
        asked = header(head, "range")
        first = int(asked[len(b"bytes=") : -1]) if asked else 0
        span = f"content-range: bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}\r\n" if asked else ""
        return reply(CONTENT[first:], "206 Partial Content" if asked else "200 OK", span + etag, cut=100_000)

    return script


@pytest.mark.parametrize("etag", ["", 'etag: "v1"\r\n'])
async def test_a_cut_download_goes_on(tmp_path, etag):
    """Where it was cut, as often as something comes."""
    async with serving(ranged(etag)) as server:
        answer = await downloaded(server, tmp_path / "out")
    assert answer.status == 200
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert [header(head, "range") for head in server.heads[:3]] == [None, b"bytes=100000-", b"bytes=200000-"]
    assert header(server.heads[1], "if-range") == (b'"v1"' if etag else None)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_server_that_does_not_resume(tmp_path, packed):
    """Sends it all again: what is there already is left out."""
    body, headers = (gzip.compress(CONTENT), "content-encoding: gzip\r\n") if packed else (CONTENT, "")
    half = len(body) // 2
    async with serving(in_turn(reply(body, headers=headers, cut=half), reply(body, headers=headers))) as server:
        assert (await downloaded(server, tmp_path / "out")).status == 200
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert header(server.heads[1], "range") == (None if packed else f"bytes={half}-".encode())


@pytest.mark.parametrize(
    "second",
    [
        reply(CONTENT.replace(b"k-", b"j-")),
        reply(CONTENT[:100]),
        reply(CONTENT[50:], "206 Partial Content", f"content-range: bytes 50-{len(CONTENT) - 1}/{len(CONTENT)}\r\n"),
        reply(CONTENT[50_000:], "206 Partial Content"),
    ],
)
async def test_parts_of_two_files_are_never_joined(tmp_path, second):
    """Rather nothing than a mixture."""
    async with serving(in_turn(reply(CONTENT, cut=100_000), second)) as server:
        failure = await downloaded(server, tmp_path / "out")
    assert isinstance(failure, Failure)
    assert failure.verdict is Verdict.RETRY
    assert list(tmp_path.iterdir()) == []


def unmeasured(body, status="200 OK", headers=""):
    head = f"HTTP/1.1 {status}\r\n{headers}transfer-encoding: chunked\r\n\r\n".encode()
    return head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


SPAN = f"content-range: bytes 100000-{len(CONTENT) - 1}/{len(CONTENT)}\r\n"


@pytest.mark.parametrize(
    ("replies", "requests"),
    [
        ((unmeasured(CONTENT), reply(b"", "416 Range Not Satisfiable")), 2),
        ((unmeasured(CONTENT), unmeasured(CONTENT)), 2),
        ((unmeasured(CONTENT), reply(CONTENT)), 2),
        ((unmeasured(CONTENT[:100_000]), reply(CONTENT[100_000:], "206 Partial Content", SPAN)), 2),
        ((unmeasured(CONTENT[:100_000]), unmeasured(CONTENT[100_000:], "206 Partial Content", SPAN)), 2),
        ((unmeasured(CONTENT[:100_000]), unmeasured(CONTENT), reply(b"", "416 Range Not Satisfiable")), 3),
        ((unmeasured(CONTENT[:100_000]), reply(CONTENT)), 2),
    ],
)
async def test_an_end_that_no_length_confirms(tmp_path, replies, requests):
    """May have come too soon: what is behind it is asked for."""
    async with serving(in_turn(*replies)) as server:
        assert (await downloaded(server, tmp_path / "out")).status == 200
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert len(server.heads) == requests


@pytest.mark.parametrize("body", [reply(b""), unmeasured(b"")])
async def test_an_empty_file(tmp_path, body):
    """Is one, too."""
    async with serving(in_turn(body)) as server:
        assert (await downloaded(server, tmp_path / "out")).status == 200
    assert (tmp_path / "out").read_bytes() == b""


async def test_a_download_that_brings_nothing_further_ends(tmp_path):
    """With the failure of its last attempt."""
    async with serving(always(CONTENT, cut=100_000)) as server:
        failure = await downloaded(server, tmp_path / "out")
    assert (failure.code, failure.kind) == ("cut", FailureKind.NETWORK)
    assert 2 <= len(server.heads) <= 6
    assert list(tmp_path.iterdir()) == []


async def test_content_that_is_gone_between_two_parts(tmp_path):
    """Is an answer, not a cut."""
    async with serving(in_turn(reply(CONTENT, cut=100_000), reply(b"{}", "404 Not Found"))) as server:
        assert (await downloaded(server, tmp_path / "out")).status == 404
    assert list(tmp_path.iterdir()) == []


async def test_a_directory_that_cannot_be_written(tmp_path):
    """Is no fault of the network."""
    async with serving(always(CONTENT)) as server:
        with pytest.raises(OSError, match="No such file"):
            await downloaded(server, tmp_path / "none" / "out")


async def test_a_cancelled_download_leaves_nothing(tmp_path):
    """No half file under any name."""

    def slow(head, body, number):
        return reply(CONTENT, cut=100_000)[:-1] if number else None

    async with serving(slow) as server:
        with anyio.move_on_after(0.2) as scope:
            await downloaded(server, tmp_path / "out")
    assert scope.cancelled_caught
    assert list(tmp_path.iterdir()) == []


# ---- the way there


async def test_through_a_proxy(tmp_path, monkeypatch):
    """As the other clients: an https address is reached by a tunnel, and the proxy sees no key."""
    async with serving(lambda head, body, number: b"") as server:
        with TunnelProxy(server.port) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            url = "https://batches.test/v1/batches"
            failure = await made(url, ApiCall("POST", url, body=b"{}", creates=True), timeout_s=2)
    assert isinstance(failure, Failure)
    assert failure.unsent  # the server behind it speaks no TLS
    assert all(CANARY.encode() not in head for head in proxy.heads)
    assert proxy.heads[0].startswith(b"CONNECT batches.test:443")
