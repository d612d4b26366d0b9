"""Both transports against a server that misbehaves: every row of the network fault list."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from batchgen.providers.wire import retry_after_s
from batchgen.secret import Secret, SecretHeader, Secrets
from batchgen.transport.protocol import BODY_CAP
from batchgen.transport.reply_memory import ROOM_BYTES, Room
from batchgen.values import Failure, FailureKind, Request, Response, Verdict
from tests.transport.conftest import ASYNCIO, CANARY, UVLOOP
from tests.transport.fault_scripts import LARGE_BYTES, said_unasked
from tests.transport.faults import ANSWER, EVENTS, FaultServer, closed_port
from tests.transport.sending import LONG_S, check_message, request_to, send, until

pytestmark = pytest.mark.anyio

BOTH_LOOPS = pytest.mark.parametrize("anyio_backend", [UVLOOP, ASYNCIO], ids=["uvloop", "asyncio"])

PEAK = "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024\n"
"""Most memory that a process has had, in MB; what `getrusage` tells begins with its parent's."""

SHORT_S = 0.4  # reached by what hangs
RETRY, STOP = Verdict.RETRY, Verdict.STOP


# Good replies


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("ok", 200, ANSWER),
        ("ok_chunked", 200, ANSWER),
        ("ok_gzip", 200, ANSWER),
        ("ok_deflate", 200, ANSWER),
        ("ok_raw_deflate", 200, ANSWER),
        ("ok_brotli", 200, ANSWER),
        ("ok_zstd", 200, ANSWER),
        ("ok_identity_and_gzip", 200, ANSWER),
        ("ok_unpacked_behind_gzip", 200, ANSWER),
        ("ok_unpacked_behind_brotli", 200, ANSWER),
        ("ok_in_a_charset", 200, ANSWER),
        ("ok_padded_gzip", 200, ANSWER),
        ("ok_with_line_feeds", 200, ANSWER),
        ("ok_length_beside_chunks", 200, ANSWER),
        ("ok_padded_chunks", 200, ANSWER),
        ("ok_same_length_twice", 200, ANSWER),
        ("ok_lengths_in_a_list", 200, ANSWER),
        ("ok_folded_header", 200, ANSWER),
        ("ok_after_100", 200, ANSWER),
        ("ok_until_close", 200, ANSWER),
        ("ok_events", 200, EVENTS),
        ("early_refusal", 413, b"{}"),
        ("html_200", 200, b"<html>log in</html>"),
        ("html_502", 502, b"<html>502</html>"),
        ("empty_204", 204, b""),
        ("empty_gzip", 429, b""),
        ("bad_utf8", 200, b'{"a": "\xff\xfe"}'),
        ("bad_header_value", 200, ANSWER),
        ("no_such_fault", 404, b'{"error": "no such fault"}'),
    ],
)
async def test_hands_on_a_whole_reply(transport_to, server, path, status, body, streamed):
    """Whatever is a whole reply comes back as it is, plain or streamed, whatever its status and content."""
    async with transport_to(server.url("")) as transport:
        response = await send(transport, server.url(path), streamed=streamed)
    assert isinstance(response, Response), response
    assert (response.status, response.body) == (status, body)
    assert type(response.body) is bytes


async def test_all_waits_that_a_reply_names_are_handed_on(transport_to, server):
    """The longer one counts, whichever comes first."""
    async with transport_to(server.url("")) as transport:
        response = await send(transport, server.url("two_waits"))
        assert retry_after_s(response.headers, 0.0) == 30
        folded = await send(transport, server.url("ok_folded_header"))
        assert folded.headers["x-request-id"] == "a b"


@BOTH_LOOPS
async def test_sends_the_request_with_key_and_headers(transport_to, server):
    """The request arrives once, with its own headers, the key, no wish for compression, and its body."""
    before = len(server.heads)
    async with transport_to(server.url("")) as transport:
        await send(transport, server.url("ok/chat/completions"))
    assert len(server.heads) == before + 1
    lines = server.heads[-1].decode().lower().split("\r\n")
    assert lines[0] == "post /ok/chat/completions http/1.1"
    for line in (f"authorization: bearer {CANARY}", "content-type: application/json", "x-team: a"):
        assert lines.count(line) == 1
    assert "accept-encoding: identity" in lines
    assert "user-agent: batchgen" in lines
    assert server.bodies[-1] == b'{"a": 1}'


async def test_every_secret_header_arrives_once_and_none_is_logged(transport_to, server, caplog):
    """Headers with secrets take the place of the request's own of the same name."""
    caplog.set_level(logging.DEBUG)
    team, key = SecretHeader("X-TEAM", Secret("team-secret-55aa")), SecretHeader("api-key", Secret(CANARY))
    async with transport_to(server.url(""), secrets=Secrets([team, key])) as transport:
        assert isinstance(await send(transport, server.url("ok")), Response)
    lines = server.heads[-1].decode().lower().split("\r\n")
    assert [line for line in lines if line.startswith("x-team")] == ["x-team: team-secret-55aa"]
    assert lines.count(f"api-key: {CANARY}") == 1
    assert "team-secret" not in caplog.text
    assert CANARY not in caplog.text


async def test_without_a_key_no_authorization_is_sent(transport_to, server):
    """A local server without keys gets none."""
    async with transport_to(server.url(""), secrets=Secrets()) as transport:
        assert isinstance(await send(transport, server.url("ok")), Response)
    assert b"authorization" not in server.heads[-1].lower()


async def test_keeps_only_the_headers_that_are_read(transport_to, server):
    """Headers come with lower-case names; those nobody reads are dropped."""
    async with transport_to(server.url("")) as transport:
        response = await send(transport, server.url("ok"))
    assert isinstance(response, Response)
    assert response.headers == {"content-type": "application/json", "x-request-id": "r-1", "retry-after": "7"}


async def test_follows_no_redirect(transport_to, server):
    """A redirect comes back with its location; nothing is sent there."""
    before = len(server.heads)
    async with transport_to(server.url("")) as transport:
        response = await send(transport, server.url("redirect"))
    assert isinstance(response, Response)
    assert (response.status, response.headers["location"]) == (307, "/ok")
    assert len(server.heads) == before + 1


@BOTH_LOOPS
async def test_keeps_connections(transport_to):
    """Requests one after the other take one connection, those at once no more than there are, and close frees them."""
    with FaultServer() as server:
        async with transport_to(server.url("")) as transport:
            for _ in range(5):
                await send(transport, server.url("ok"))
            assert server.connections == 1
            for _ in range(4):
                async with anyio.create_task_group() as group:
                    for _ in range(8):
                        group.start_soon(send, transport, server.url("ok"))
            assert server.connections <= 8
        await until(lambda: server.open_connections == 0)


@BOTH_LOOPS
@pytest.mark.parametrize("path", ["two_replies", "late_reply"])
async def test_a_reply_to_no_request_reaches_no_row(request, kind, transport_to, path):
    """What a server says unasked, at once or later, is never taken for the answer to the next request."""
    if (kind, path) == ("httpx", "two_replies"):
        request.applymarker(pytest.mark.xfail(reason="httpcore 1.0 keeps what h11 has read too much", strict=True))
    with FaultServer() as server:
        async with transport_to(server.url("")) as transport:
            for _ in range(3):
                before = len(said_unasked)
                outcome = await send(transport, server.url(path))
                if isinstance(outcome, Failure):  # the last one's second reply came just now: nothing was sent
                    assert outcome.stale, outcome
                    continue
                assert outcome.body == ANSWER
                await until(lambda before=before: len(said_unasked) > before)


@BOTH_LOOPS
async def test_an_unread_reply_to_no_request_reaches_no_row(transport_to):
    """What a server says unasked while the loop is busy, so that nobody has read it when the next request is due."""
    with FaultServer() as server:
        async with transport_to(server.url("")) as transport:
            for _ in range(4):
                before = len(said_unasked)
                outcome = await send(transport, server.url("late_reply"))
                if isinstance(outcome, Failure):  # seen before the request went out
                    assert outcome.stale
                    continue
                assert outcome.body == ANSWER
                deadline_s = time.monotonic() + 5
                while len(said_unasked) == before:  # the server is a thread: the loop does not turn meanwhile
                    assert time.monotonic() < deadline_s
                    time.sleep(0.001)  # noqa: ASYNC251


@BOTH_LOOPS
@pytest.mark.parametrize("transport_to", ["fast"], indirect=True)
async def test_what_is_given_up_at_once_is_never_sent(transport_to):
    """A request cancelled in the turn of the loop that asked it costs nothing; the next one goes out."""
    with FaultServer() as server:
        async with transport_to(server.url("")) as transport:
            await send(transport, server.url("ok"))
            before = len(server.heads)
            given_up = asyncio.ensure_future(send(transport, server.url("ok")))
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert isinstance(await send(transport, server.url("ok")), Response)
            assert len(server.heads) == before + 1


# Breaks, nonsense, excess

BROKEN = [
    # path, kind, code, stale on a connection that may have been a kept one
    ("close_before_reply", FailureKind.NETWORK, "closed", True),
    ("reset_before_reply", FailureKind.NETWORK, "closed", True),
    ("cut_head", FailureKind.NETWORK, "closed", True),
    ("reset_in_body", FailureKind.NETWORK, "cut", False),
    ("short_length", FailureKind.NETWORK, "cut", False),
    ("cut_chunk", FailureKind.NETWORK, "cut", False),
    ("cut_between_chunks", FailureKind.NETWORK, "cut", False),
    ("cut_gzip", FailureKind.NETWORK, "cut", False),
    ("gzip_garbage", FailureKind.UNREADABLE, "bad_encoding", False),
    ("cut_zstd", FailureKind.UNREADABLE, "bad_encoding", False),
    ("unknown_encoding", FailureKind.UNREADABLE, "bad_encoding", False),
    ("bad_status_line", FailureKind.UNREADABLE, "bad_http", False),
    ("huge_header", FailureKind.UNREADABLE, "bad_http", False),
    ("two_lengths", FailureKind.UNREADABLE, "bad_http", False),
    ("tls_alert", FailureKind.UNREADABLE, "bad_http", False),
    ("endless_trailer", FailureKind.UNREADABLE, "bad_http", False),
    ("endless", FailureKind.UNREADABLE, "too_large", False),
    ("gzip_bomb", FailureKind.UNREADABLE, "too_large", False),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("path", "kind_of_failure", "code", "_stale"), BROKEN)
async def test_a_broken_reply_is_a_failure_that_may_be_billed(
    transport_to,
    server,
    path,
    kind_of_failure,
    code,
    _stale,
    streamed,
):
    """No part of a broken reply passes for an answer; the request was sent once, so it may be billed."""
    before = len(server.heads)
    async with transport_to(server.url("")) as transport:
        failure = await send(transport, server.url(path), streamed=streamed)
    assert isinstance(failure, Failure), failure.body[:100]
    assert (failure.kind, failure.code, failure.verdict) == (kind_of_failure, code, RETRY)
    assert failure.maybe_billed
    assert not failure.stale, "a first connection is no kept one"
    check_message(failure)
    assert len(server.heads) == before + 1


@pytest.mark.parametrize("path", ["stale_close", "stale_reset"])
async def test_a_kept_connection_that_broke_is_stale(transport_to, server, path):
    """The second request of a connection meets its end: stale, sent once, and the next try gets a new connection."""
    async with transport_to(server.url("")) as transport:
        before = len(server.heads)
        assert isinstance(await send(transport, server.url(path)), Response)
        failure = await send(transport, server.url(path))
        assert isinstance(failure, Failure)
        assert (failure.code, failure.stale, failure.maybe_billed) == ("closed", True, True)
        check_message(failure)
        assert len(server.heads) == before + 2
        assert isinstance(await send(transport, server.url(path)), Response)


async def test_connections_closed_while_idle_cost_nothing(transport_to, server):
    """A server that closes behind each reply reads each request once: what failed never reached it, what did passed."""
    before = len(server.heads)
    stale = 0
    async with transport_to(server.url("")) as transport:
        for _ in range(100):
            outcome = await send(transport, server.url("close_after_reply"))
            if isinstance(outcome, Failure):
                assert outcome.stale
                stale += 1
    assert len(server.heads) - before == 100 - stale


@pytest.mark.parametrize("path", ["endless", "gzip_bomb"])
def test_a_bomb_stays_small(kind, server, path):
    """A body beyond the cap costs less than twice the cap of memory, in a process of its own."""
    script = (
        "import asyncio, re, sys\n"
        "from batchgen.secret import Secrets\n"
        "from batchgen.transport import open_transport\n"
        "from batchgen.values import Request\n"
        f"{PEAK}"
        "async def main(kind, url):\n"
        "    async with open_transport(kind, base_url=url, secrets=Secrets(), concurrency=1) as transport:\n"
        "        before = peak()\n"
        "        failure = await transport.send(Request(url, b'{}', {}), timeout_s=60)\n"
        "        print(failure.code, peak() - before)\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, kind, server.url(path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=root)
    code, grown_mb = done.stdout.split()
    assert code == "too_large"
    assert int(grown_mb) < 2 * (BODY_CAP >> 20)


@BOTH_LOOPS
async def test_a_connection_that_had_to_wait_for_room_is_used_again(transport_to, server):
    """Replies that share too little room take turns, round after round, over the same connections."""
    async with transport_to(server.url(""), concurrency=4) as transport:
        transport.room = Room(300_000)
        outcomes = []

        async def ask():
            outcomes.append(await send(transport, server.url("half_large")))

        for _ in range(4):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(ask)
        assert transport.room._held == 0
    assert [len(outcome.body) for outcome in outcomes if isinstance(outcome, Response)] == [500_000 + len(ANSWER)] * 16


@pytest.mark.parametrize("streamed", [False, True])
def test_many_large_replies_at_once_take_turns(kind, server, streamed):
    """64 replies of 30 MB begin together: each arrives whole, and the process stays far below their 1.9 GB."""
    script = (
        "import asyncio, re, sys\n"
        "from batchgen.secret import Secrets\n"
        "from batchgen.transport import open_transport\n"
        "from batchgen.values import Request\n"
        f"{PEAK}"
        "async def main(kind, url, streamed):\n"
        "    async def size():\n"
        "        reply = await transport.send(Request(url, b'{}', {}, streamed == 'True'), timeout_s=100)\n"
        "        return len(reply.body)\n"
        "    async with open_transport(kind, base_url=url, secrets=Secrets(), concurrency=64) as transport:\n"
        "        before = peak()\n"
        "        sizes = await asyncio.gather(*(size() for _ in range(64)))\n"
        "        print(set(sizes), peak() - before)\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, kind, server.url("large"), str(streamed)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=root)
    sizes, grown_mb = done.stdout.split()
    assert sizes == f"{{{LARGE_BYTES}}}"
    assert int(grown_mb) < 5 * (ROOM_BYTES + BODY_CAP) // 2 >> 20


@pytest.mark.parametrize("path", ["ok", "gzip_bomb", "hang_in_body"])
def test_a_process_may_end_right_behind_its_last_reply(kind, server, path):
    """The client's own thread is out of the interpreter when the transport is left: no abort at exit."""
    script = (
        "import asyncio, sys\n"
        "from batchgen.secret import Secrets\n"
        "from batchgen.transport import open_transport\n"
        "from batchgen.values import Request\n"
        "async def main(kind, url):\n"
        "    async with open_transport(kind, base_url=url, secrets=Secrets(), concurrency=1) as transport:\n"
        "        await transport.send(Request(url, b'{}', {}), timeout_s=1)\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, kind, server.url(path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]) for _ in range(6)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, errors


# Time


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("path", "streamed", "code"),
    [
        ("hang", False, "timeout"),
        ("hang_in_body", False, "timeout"),
        ("trickle", False, "timeout"),
        ("trickle_head", False, "timeout"),
        ("ok_slow_events", False, "timeout"),
        ("hang", True, "silence"),
        ("hang_in_body", True, "silence"),
        ("trickle_head", True, "silence"),
    ],
)
async def test_slowness_ends_in_time(transport_to, server, path, streamed, code):
    """A plain attempt ends after `timeout_s` whatever drips in; a streamed one when nothing came for that long."""
    async with transport_to(server.url("")) as transport:
        start = time.monotonic()
        failure = await send(transport, server.url(path), timeout_s=SHORT_S, streamed=streamed)
        elapsed_s = time.monotonic() - start
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code, failure.verdict) == (FailureKind.TIMEOUT, code, RETRY)
    assert failure.maybe_billed
    assert not failure.stale
    assert f"{SHORT_S} s" in failure.message
    check_message(failure)
    assert 0.9 * SHORT_S < elapsed_s < SHORT_S + 1


@BOTH_LOOPS
async def test_a_stream_may_last_longer_than_its_longest_silence(transport_to, server):
    """Twenty events, one every 50 ms, pass under a timeout of 400 ms."""
    async with transport_to(server.url("")) as transport:
        response = await send(transport, server.url("ok_slow_events"), timeout_s=SHORT_S, streamed=True)
    assert isinstance(response, Response)
    assert response.body == EVENTS


async def test_keep_alive_comments_do_not_keep_a_stream_for_ever(kind, transport_to, server, monkeypatch):
    """A stream that is never silent ends after its timeout times a factor (20; here 1.5, to be quick)."""
    monkeypatch.setattr(
        f"batchgen.transport.{'asyncio_client' if kind == 'fast' else 'httpx_client'}.STREAM_FACTOR", 1.5
    )
    async with transport_to(server.url("")) as transport:
        start = time.monotonic()
        failure = await send(transport, server.url("drip_comments"), timeout_s=1.0, streamed=True)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code) == (FailureKind.TIMEOUT, "timeout")
    assert 1.4 < time.monotonic() - start < 4


@BOTH_LOOPS
async def test_cancelling_frees_the_connection(transport_to):
    """A cancelled attempt, plain or streamed, closes its connection, by its timeout at the latest, and others go on."""
    with FaultServer() as server:
        async with transport_to(server.url("")) as transport:
            for path in ("hang", "hang_in_body", "trickle"):
                for streamed in (False, True):
                    with anyio.move_on_after(0.15) as scope:
                        await transport.send(request_to(server.url(path), streamed=streamed), timeout_s=1.0)
                    assert scope.cancelled_caught
            await until(lambda: server.open_connections == 0)
            assert isinstance(await send(transport, server.url("ok")), Response)


# Connecting


async def test_refused_and_unknown_hosts_were_not_billed(transport_to):
    """Nothing was sent where nobody listens or no such name exists."""
    for url, code in [(f"http://127.0.0.1:{closed_port()}/", "connect"), ("http://no-such-host.invalid/", "dns")]:
        async with transport_to(url) as transport:
            failure = await send(transport, url)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.code, failure.verdict) == (FailureKind.NETWORK, code, RETRY)
        assert not failure.maybe_billed
        assert not failure.stale
        check_message(failure)


async def test_a_connection_that_is_never_made_times_out_unbilled(transport_to):
    """A full backlog leaves the handshake without an answer: the connect timeout ends it."""
    with socket.socket() as deaf, socket.socket() as filler, socket.socket() as filler_2:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for sock in (filler, filler_2):
            sock.setblocking(False)
            sock.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        async with transport_to(url, connect_timeout_s=SHORT_S) as transport:
            failure = await send(transport, url)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code, failure.maybe_billed) == (FailureKind.TIMEOUT, "connect_timeout", False)
    check_message(failure)


async def test_exhausted_file_descriptors_are_told_apart(transport_to):
    """Without a free descriptor the failure is local: its code tells the caller to lower the concurrency."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        async with transport_to(url) as transport:
            with no_descriptors_left():
                failure = await send(transport, url, timeout_s=2)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code, failure.verdict) == (FailureKind.NETWORK, "fd_limit", Verdict.WAIT)
    assert not failure.maybe_billed
    check_message(failure)


@pytest.mark.parametrize("host", ["localhost", "no-such-host.invalid"])
async def test_a_name_that_cannot_be_looked_up_for_want_of_descriptors(transport_to, host):
    """What the resolver then says of the name, or of a busy device, is not believed."""
    url = f"http://{host}:{closed_port()}/"
    async with transport_to(url) as transport:
        await send(transport, url, timeout_s=2)  # threads and loops open their files at first use
        with no_descriptors_left():
            failure = await send(transport, url, timeout_s=2)
    assert isinstance(failure, Failure)
    assert (failure.code, failure.verdict, failure.maybe_billed) == ("fd_limit", Verdict.WAIT, False)


async def test_refuses_another_origin(transport_to, server):
    """A request for another host, port or scheme is not sent, so the key stays with its provider."""
    origin = server.url("").rstrip("/")
    async with transport_to(server.url("")) as transport:
        before = len(server.heads)
        for url in (f"http://localhost:{server.port}/ok", origin + "0/ok", origin + "@evil.test/ok"):
            failure = await send(transport, url)
            assert isinstance(failure, Failure)
            assert (failure.kind, failure.verdict, failure.maybe_billed) == (FailureKind.ENDPOINT, STOP, False)
        assert len(server.heads) == before


async def test_a_header_no_request_can_carry_is_a_failure(transport_to, server):
    """A line break in a header is refused before anything is sent."""
    async with transport_to(server.url("")) as transport:
        before = len(server.heads)
        request = Request(server.url("ok"), b"{}", {"x-team": "a\r\nx-evil: b"})
        failure = await transport.send(request, timeout_s=LONG_S)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.verdict) == (FailureKind.INVALID_REQUEST, STOP)
        assert not failure.maybe_billed
        assert len(server.heads) == before


async def test_a_name_no_host_can_have_is_a_failure(transport_to):
    """An empty or endless label is an answer like any other, not an exception."""
    for host in ("a..b.test", f"{'a' * 70}.test"):
        async with transport_to(f"http://{host}/") as transport:
            failure = await send(transport, f"http://{host}/ok")
        assert isinstance(failure, Failure)
        assert not failure.maybe_billed


async def test_the_key_shows_nowhere(transport_to, server, caplog, capfd):
    """At debug level, through every fault, no byte of the key is logged, printed or put into a failure."""
    caplog.set_level(logging.DEBUG)
    async with transport_to(server.url("")) as transport:
        for path, *_ in [("ok",), ("redirect",), ("key_for_an_encoding",), *BROKEN[:-2]]:
            outcome = await send(transport, server.url(path))
            assert CANARY not in repr(outcome)
        assert CANARY not in repr(transport)
        assert CANARY not in repr(vars(transport))
    assert CANARY not in caplog.text
    assert CANARY not in "".join(capfd.readouterr())


@contextlib.contextmanager
def no_descriptors_left():
    """Take all file descriptors that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 5, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
