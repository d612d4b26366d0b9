"""Replies that are read by the head of those before them: the same outcome as by the parser, in every detail."""

import asyncio

import pytest

from batchgen.transport.http1 import Connection
from batchgen.transport.reply_memory import SMALL_BYTES, Room
from batchgen.transport.send_buffer import Outbox
from batchgen.transport.usual_replies import HEADS, LOOKS, UsualReplies

HEAD = b"HTTP/1.1 200 OK\r\nDate: Sun, 29 Nov 2026\r\ncontent-type: application/json\r\nX-Request-Id: r-1\r\n"
REPLY = HEAD + b"content-length: 14\r\n\r\n" + b'{"text": "ab"}'


class NeverUsual(UsualReplies):
    """Leaves every reply to the parser."""

    def learn(self, data):
        pass


class FakeSocket:
    """Counts what a connection does to it."""

    def __init__(self):
        self.aborted = False

    def is_closing(self):
        return self.aborted

    def write(self, data):
        pass

    def get_write_buffer_size(self):
        return 0

    def abort(self):
        self.aborted = True


async def outcomes(usual, *replies):
    """Return what becomes of requests whose replies come in these pieces; a connection that is gone gets another."""
    seen, connection = [], None
    for pieces in replies:
        if connection is None:
            connection = Connection(
                lambda _: seen.append("kept"), lambda _: seen.append("gone"), Outbox(), Room(), usual
            )
            connection.connection_made(FakeSocket())
        waiter = connection.ask(b"POST", 0.0, 60.0)
        connection.write()
        for piece in pieces:
            if not connection.socket_transport.aborted:
                connection.data_received(piece)
        if not waiter.done():
            seen.append("waits")
            connection.connection_lost(None)
        seen.append(await waiter)
        if connection.socket_transport is None or connection.socket_transport.aborted:
            connection = None
    return seen


def same(*replies):
    """Return the outcomes, which have to be those of the parser."""
    found = asyncio.run(outcomes(UsualReplies(), *replies))
    assert found == asyncio.run(outcomes(NeverUsual(), *replies)), replies
    return found


def test_a_reply_is_read_by_the_head_of_the_one_before():
    """The parser is not asked any more, and the values are those of this reply."""
    usual = UsualReplies()
    assert usual.read(REPLY) is None
    usual.learn(REPLY)
    other = REPLY.replace(b"r-1", b"another").replace(b"29 Nov", b"30 Nov").replace(b'"ab"', b'"cd"')
    reply = usual.read(other)
    assert reply.status == 200
    assert reply.body == b'{"text": "cd"}'
    assert reply.headers == {"content-type": "application/json", "x-request-id": "another"}
    assert same([REPLY], [other])[-1] == reply


@pytest.mark.parametrize("byte", [b"\r", b"\n", b"\0", b"\x7f", b" ", b"\t", b":", b"9", b"\xe9", b""])
def test_a_head_with_one_byte_changed_means_the_same(byte):
    """Whatever stands where: another status, a broken line, another length, a name that is none."""
    for place in range(REPLY.index(b"{")):
        same([REPLY], [REPLY[:place] + byte + REPLY[place + 1 :]], [REPLY])


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: close",
        b"connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Transfer-Encoding: chunked",
        b"Content-Encoding: gzip",
        b"Content-Length: 14",
        b"Content-Length: 15",
        b"Retry-After: 3\r\nRetry-After: 4",
        b"content-type: text/plain",
        b"Upgrade: h2c",
        b" folded",
        b" folded: on",
        b"none",
        b"a b: c",
        b": c",
        b"retry-after:3",
        b"retry-after:   3  ",
        b"retry-after: \xe9",
        b"x-unread: \xe9",
    ],
)
def test_a_further_line_means_the_same(line):
    """Both in the head that is remembered and in one that follows it."""
    odd = HEAD + line + REPLY.removeprefix(HEAD.removesuffix(b"\r\n"))
    same([REPLY], [odd], [REPLY], [odd])
    same([odd], [odd], [REPLY])


@pytest.mark.parametrize("status", [b"HTTP/1.0 200 OK", b"HTTP/1.1 201 Created", b"HTTP/1.1 204 None", b"HTTP/1.1 200"])
def test_another_first_line_means_the_same(status):
    """An older version closes its connections, and not every status has a body."""
    odd = REPLY.replace(b"HTTP/1.1 200 OK", status)
    same([odd], [odd], [REPLY], [odd])


def test_other_pieces_and_other_bodies_mean_the_same():
    """A reply in two pieces, one with bytes behind it, a short one, an empty one, a large one."""
    for place in range(1, len(REPLY)):
        same([REPLY], [REPLY[:place], REPLY[place:]], [REPLY])
    same([REPLY], [REPLY + b"x"], [REPLY])
    same([REPLY], [REPLY + REPLY], [REPLY])
    same([REPLY], [REPLY[:-1]])
    same([REPLY], [b"HTTP/1.1 100 Continue\r\n\r\n" + REPLY], [b"HTTP/1.1 100 Continue\r\n\r\n", REPLY], [REPLY])
    usual = UsualReplies()
    usual.learn(REPLY)
    for size in (0, SMALL_BYTES, SMALL_BYTES + 1):
        sized = HEAD + b"content-length: %d\r\n\r\n" % size + bytes(size)
        same([REPLY], [sized], [sized])
        assert (usual.read(sized) is None) == (size > SMALL_BYTES)  # the parser sees to the memory of large ones
    same([REPLY.replace(b": 14", b": 014")], [REPLY.replace(b": 14", b": 014")], [REPLY])


def test_a_connection_does_not_ask_its_parser():
    """Once it knows the head."""

    async def ask_twice():
        connection = Connection(lambda _: None, lambda _: None, Outbox(), Room(), UsualReplies())
        connection.connection_made(FakeSocket())
        for parser in (connection._parser, None):
            connection._parser = parser
            waiter = connection.ask(b"POST", 0.0, 60.0)
            connection.write()
            connection.data_received(REPLY)
            assert (await waiter).body == b'{"text": "ab"}'

    asyncio.run(ask_twice())


def test_few_heads_are_remembered():
    """A server whose every reply has other headers takes no memory."""
    usual = UsualReplies()
    for number in range(HEADS + 5):
        usual.learn(REPLY.replace(b"Date", b"X-Number-%d" % number))
    assert len(usual._heads) == HEADS


def test_few_replies_are_looked_at():
    """Where no head can be remembered, as it says what becomes of the connection, nobody looks at every reply."""
    usual = UsualReplies()
    for _ in range(LOOKS):
        usual.learn(REPLY.replace(b"Date", b"Connection"))
    usual.learn(REPLY)
    assert usual.read(REPLY) is None
