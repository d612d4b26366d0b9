"""What the fault server can do to one request: each fault a short script over raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable

import pyarrow as pa

ANSWER = json.dumps({"choices": [{"message": {"content": "x" * 1000}, "finish_reason": "error"}], "usage": {}}).encode()
"""The whole body of a reply: good for a transport, while a provider sees that its answer is none."""

EVENTS = b"".join(b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % n for n in range(20)) + b"data: [DONE]\n\n"
"""The whole body of a good streamed reply."""

DRIP_S = 0.05
"""Pause between two bytes of a trickle."""

BOMB_BYTES = 512 * 1024 * 1024
"""What the gzip bomb decodes to."""


LARGE_BYTES = 30 * 1024 * 1024
"""A reply just below the cap."""


class Exchange:
    """One request that arrived: `number` counts on the server, `turn` on its connection, both from 0."""

    def __init__(self, head, body, number, turn, writer):
        self.head = head
        self.body = body
        self.number = number
        self.turn = turn
        self._writer = writer

    @property
    def path(self):
        """Path as the request line has it; of an absolute URL (asked of a proxy) the part behind the host."""
        target = self.head.split(b" ", 2)[1].decode()
        return "/" + target.split("://", 1)[-1].partition("/")[2]

    async def write(self, data):
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, body, *, status="200 OK", headers="", cut=None):
        """Send a reply with a right Content-Length; `cut` keeps back all behind that many bytes of the body."""
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        await self.write(head.encode() + body[:cut])

    async def chunk(self, data):
        """Send one chunk of a chunked body; an empty one ends it."""
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def start_chunked(self, headers="content-type: application/json\r\n"):
        """Send the head of a chunked reply."""
        await self.write(f"HTTP/1.1 200 OK\r\n{headers}transfer-encoding: chunked\r\n\r\n".encode())

    def close(self):
        """Close in order (FIN)."""
        self._writer.close()

    def reset(self):
        """Close so that the peer sees a reset (RST)."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Fault = Callable[[Exchange], Awaitable[None]]
FAULTS = {}


def fault(function):
    """Register a fault under its function's name."""
    FAULTS[function.__name__] = function
    return function


# Good replies: what must not be taken for a fault.


@fault
async def ok(exchange):
    """Plain reply, connection kept."""
    await exchange.reply(ANSWER, headers="x-request-id: r-1\r\nRetry-After: 7\r\nx-other: dropped\r\n")


@fault
async def ok_chunked(exchange):
    """The same in three chunks."""
    await exchange.start_chunked()
    for part in (ANSWER[:10], ANSWER[10:500], ANSWER[500:], b""):
        await exchange.chunk(part)


@fault
async def ok_gzip(exchange):
    """A gzip reply, whether asked for or not."""
    await exchange.reply(gzip.compress(ANSWER), headers="content-encoding: gzip\r\n")


@fault
async def ok_after_100(exchange):
    """A reply behind an informational one."""
    await exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    await exchange.reply(ANSWER)


@fault
async def ok_events(exchange):
    """A whole event stream, an event a chunk."""
    await exchange.start_chunked("content-type: text/event-stream\r\n")
    for event in EVENTS.split(b"\n\n")[:-1]:
        await exchange.chunk(event + b"\n\n")
    await exchange.chunk(b"")


@fault
async def ok_slow_events(exchange):
    """A whole event stream, `DRIP_S` between events: longer than a short timeout, never silent for long."""
    await exchange.start_chunked("content-type: text/event-stream\r\n")
    for event in EVENTS.split(b"\n\n")[:-1]:
        await exchange.chunk(event + b"\n\n")
        await asyncio.sleep(DRIP_S)
    await exchange.chunk(b"")


@fault
async def ok_until_close(exchange):
    """A body that ends with the connection: nothing tells whether it is whole."""
    await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + ANSWER)
    exchange.close()


@fault
async def early_refusal(exchange):
    """A reply with `connection: close`."""
    await exchange.reply(b"{}", status="413 Payload Too Large", headers="connection: close\r\n")
    exchange.close()


WRONG = b'{"whose": "nobody asked for this"}'
"""A reply to no request."""

said_unasked = []
"""A number for each `WRONG` that is out."""


@fault
async def two_replies(exchange):
    """A whole reply with another one right behind it."""
    extra = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(WRONG) + WRONG
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ANSWER)}\r\n\r\n"
    await exchange.write(head.encode() + ANSWER + extra)
    said_unasked.append(exchange.number)


@fault
async def late_reply(exchange):
    """A whole reply, and later, while the connection is idle, another one."""
    await ok(exchange)
    await asyncio.sleep(DRIP_S)
    await exchange.reply(WRONG)
    said_unasked.append(exchange.number)


@fault
async def ok_deflate(exchange):
    """Another compression, with zlib's header."""
    await exchange.reply(zlib.compress(ANSWER), headers="content-encoding: deflate\r\n")


@fault
async def ok_raw_deflate(exchange):
    """The same without that header, as some servers understand the name."""
    packer = zlib.compressobj(wbits=-15)
    await exchange.reply(packer.compress(ANSWER) + packer.flush(), headers="content-encoding: Deflate\r\n")


@fault
async def ok_brotli(exchange):
    """A compression that browsers ask for."""
    await exchange.reply(bytes(pa.compress(ANSWER, "brotli")), headers="content-encoding: br\r\n")


@fault
async def ok_zstd(exchange):
    """A newer one, in pieces."""
    packed = bytes(pa.compress(ANSWER, "zstd"))
    await exchange.start_chunked("content-encoding: zstd\r\n")
    for part in (packed[:1], packed[1:20], packed[20:], b""):
        await exchange.chunk(part)


@fault
async def ok_identity_and_gzip(exchange):
    """A list of encodings, of which one changes nothing, the other under its older name."""
    await exchange.reply(gzip.compress(ANSWER), headers="content-encoding: identity, x-gzip\r\n")


@fault
async def ok_unpacked_behind_gzip(exchange):
    """A gateway has decompressed the body and left the header."""
    await exchange.reply(ANSWER, headers="content-encoding: gzip\r\n")


@fault
async def ok_unpacked_behind_brotli(exchange):
    """The same with another name."""
    await exchange.reply(ANSWER, headers="content-encoding: br\r\n")


@fault
async def ok_with_line_feeds(exchange):
    """A head whose lines have no carriage returns."""
    await exchange.write(f"HTTP/1.1 200 OK\ncontent-length: {len(ANSWER)}\n\n".encode() + ANSWER)


@fault
async def ok_length_beside_chunks(exchange):
    """A proxy has put the chunks round a body, and left the length of it."""
    await exchange.start_chunked(f"content-length: {len(ANSWER)}\r\n")
    for part in (ANSWER[:10], ANSWER[10:], b""):
        await exchange.chunk(part)


@fault
async def ok_padded_chunks(exchange):
    """Blanks behind the sizes of chunks."""
    await exchange.start_chunked()
    await exchange.write(b"%x   \r\n%b\r\n0\r\n\r\n" % (len(ANSWER), ANSWER))


@fault
async def ok_same_length_twice(exchange):
    """A proxy has added the length that was there; the head comes in two pieces."""
    await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(ANSWER))
    await asyncio.sleep(0.01)
    await exchange.write(b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)


@fault
async def ok_lengths_in_a_list(exchange):
    """The same as another proxy writes it, behind a message that is none."""
    await exchange.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    await exchange.write(b"content-length: %d, %d\r\n\r\n" % (len(ANSWER), len(ANSWER)) + ANSWER)


@fault
async def ok_folded_header(exchange):
    """A header in two lines, as old programs write long ones."""
    await exchange.reply(ANSWER, headers="x-request-id: a\r\n  b\r\ncontent-security-policy: x;\r\n\ty\r\n")


@fault
async def ok_in_a_charset(exchange):
    """What belongs into another header."""
    await exchange.reply(ANSWER, headers="content-encoding: utf-8\r\n")


@fault
async def ok_padded_gzip(exchange):
    """Zeros behind the end of the compressed data."""
    await exchange.reply(gzip.compress(ANSWER) + bytes(9), headers="content-encoding: gzip\r\n")


@fault
async def cut_zstd(exchange):
    """Half of a body that can only be decompressed whole, as if it were all."""
    packed = bytes(pa.compress(ANSWER, "zstd"))
    await exchange.reply(packed[: len(packed) // 2], headers="content-encoding: zstd\r\n")


@fault
async def empty_gzip(exchange):
    """A refusal without a body that is said to be gzip."""
    head = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n"
    await exchange.write(head.encode())


# Replies that are whole but wrong: the provider's business, the transport hands them on.


@fault
async def html_200(exchange):
    """A captive portal."""
    await exchange.reply(b"<html>log in</html>")


@fault
async def two_waits(exchange):
    """The server and the proxy before it each say how long to wait."""
    await exchange.reply(b"{}", status="429 Too Many", headers="retry-after: 2\r\nretry-after: 30\r\n")


@fault
async def html_502(exchange):
    """A proxy's own error page."""
    await exchange.reply(b"<html>502</html>", status="502 Bad Gateway")


@fault
async def empty_204(exchange):
    """A reply without a body."""
    await exchange.write(b"HTTP/1.1 204 No Content\r\n\r\n")


@fault
async def redirect(exchange):
    """A redirect to the good reply of this server: following it would succeed."""
    await exchange.reply(b"", status="307 Temporary Redirect", headers="location: /ok\r\n")


@fault
async def bad_utf8(exchange):
    """Bytes that are no text."""
    await exchange.reply(b'{"a": "\xff\xfe"}')


@fault
async def bad_header_value(exchange):
    """A header value outside ASCII."""
    await exchange.write(
        b"HTTP/1.1 200 OK\r\nx-request-id: \xff\xe4\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
    )


# What a proxy says to CONNECT.


@fault
async def proxy_502(exchange):
    """The proxy does not reach the host."""
    await exchange.reply(b"", status="502 Bad Gateway")
    exchange.close()


@fault
async def proxy_407(exchange):
    """The proxy wants a user and password."""
    await exchange.reply(b"", status="407 Proxy Authentication Required", headers="proxy-authenticate: Basic\r\n")
    exchange.close()


# The connection breaks.


@fault
async def close_before_reply(exchange):
    """The request is read, then the connection is closed."""
    exchange.close()


@fault
async def reset_before_reply(exchange):
    """The request is read, then the connection is reset."""
    exchange.reset()


@fault
async def stale_close(exchange):
    """The first request of a connection is answered, the second meets a close."""
    if exchange.turn == 0:
        await ok(exchange)
    else:
        exchange.close()


@fault
async def stale_reset(exchange):
    """The first request of a connection is answered, the second meets a reset."""
    if exchange.turn == 0:
        await ok(exchange)
    else:
        exchange.reset()


@fault
async def close_after_reply(exchange):
    """A reply that promises to keep the connection, which is then closed at once."""
    await ok(exchange)
    exchange.close()


@fault
async def cut_head(exchange):
    """The connection ends within the reply's head."""
    await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    exchange.close()


@fault
async def reset_in_body(exchange):
    """The connection is reset within the body."""
    await exchange.reply(ANSWER, cut=300)
    await asyncio.sleep(DRIP_S)  # a reset at once would throw away what the peer has not read yet
    exchange.reset()


@fault
async def short_length(exchange):
    """The body is shorter than its Content-Length."""
    await exchange.reply(ANSWER, cut=300)
    exchange.close()


@fault
async def cut_chunk(exchange):
    """The connection ends within a chunk."""
    await exchange.start_chunked()
    await exchange.write(b"400\r\n" + ANSWER[:300])
    exchange.close()


@fault
async def cut_between_chunks(exchange):
    """The connection ends between two events, without the last chunk."""
    await exchange.start_chunked("content-type: text/event-stream\r\n")
    await exchange.chunk(EVENTS[:100])
    exchange.close()


# Bytes that are no HTTP, or no gzip.


@fault
async def cut_gzip(exchange):
    """Half of a gzip body under a Content-Length that fits the half."""
    packed = gzip.compress(ANSWER)
    await exchange.reply(packed[: len(packed) // 2], headers="content-encoding: gzip\r\n")


@fault
async def gzip_garbage(exchange):
    """A body that claims to be gzip and is not."""
    await exchange.reply(b"this is no gzip", headers="content-encoding: gzip\r\n")


@fault
async def unknown_encoding(exchange):
    """A content encoding nobody asked for."""
    await exchange.reply(b"\x0b\x02\x80packed\x03", headers="content-encoding: br\r\n")


@fault
async def key_for_an_encoding(exchange):
    """A content encoding that quotes the request's key."""
    key = next(line for line in exchange.head.split(b"\r\n") if line.lower().startswith(b"authorization"))
    await exchange.reply(b"packed", headers=f"content-encoding: {key.split(b' ')[-1].decode()}\r\n")


@fault
async def bad_status_line(exchange):
    """A first line that is no status line."""
    await exchange.write(b"HELLO WORLD\r\n\r\n")
    exchange.close()


@fault
async def huge_header(exchange):
    """Two megabytes in one header."""
    with contextlib.suppress(ConnectionError):
        await exchange.reply(ANSWER, headers="x-big: " + "a" * 2_000_000 + "\r\n")


@fault
async def two_lengths(exchange):
    """Two Content-Length headers that disagree."""
    await exchange.reply(ANSWER, headers=f"content-length: {len(ANSWER) - 5}\r\n")
    exchange.close()


@fault
async def tls_alert(exchange):
    """What a TLS server says to a plain request: an alert record."""
    await exchange.write(b"\x15\x03\x01\x00\x02\x02\x16")
    exchange.close()


@fault
async def endless_trailer(exchange):
    """A whole chunked body, and behind it a trailer without an end."""
    await exchange.start_chunked()
    await exchange.chunk(ANSWER)
    await exchange.write(b"0\r\nx-more: ")
    with contextlib.suppress(ConnectionError):
        while True:
            await exchange.write(b"a" * 65536)


# Too much.


@fault
async def gzip_bomb(exchange):
    """Half a megabyte that decodes to half a gigabyte (`BOMB_BYTES`)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * (1 << 20)) + packer.flush(
        zlib.Z_FULL_FLUSH
    )  # stands by itself, so it can be repeated
    with contextlib.suppress(ConnectionError):
        await exchange.reply(start + block * (BOMB_BYTES >> 20), headers="content-encoding: gzip\r\n")


@fault
async def endless(exchange):
    """A chunked body without an end, as fast as it is taken."""
    await exchange.start_chunked()
    block = b" " * 65536
    with contextlib.suppress(ConnectionError):
        while True:
            await exchange.chunk(block)


@fault
async def large(exchange):
    """A good reply of `LARGE_BYTES`, most of it blanks, no faster than it is taken."""
    await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % LARGE_BYTES)
    block = b" " * 65536
    left = LARGE_BYTES - len(ANSWER)
    while left:
        await exchange.write(block[:left])
        left -= min(left, len(block))
    await exchange.write(ANSWER)


@fault
async def half_large(exchange):
    """A good reply of half a megabyte: large enough to be counted."""
    await exchange.reply(b" " * 500_000 + ANSWER)


# Too slow.


@fault
async def hang(exchange):
    """Nothing, for ever."""
    await asyncio.Event().wait()


@fault
async def hang_in_body(exchange):
    """The head and some body, then nothing."""
    await exchange.reply(ANSWER, cut=300)
    await asyncio.Event().wait()


@fault
async def trickle(exchange):
    """One byte every `DRIP_S`: never silent, never done."""
    await exchange.reply(ANSWER, cut=0)
    with contextlib.suppress(ConnectionError):
        for byte in ANSWER:
            await exchange.write(bytes([byte]))
            await asyncio.sleep(DRIP_S)


@fault
async def trickle_head(exchange):
    """A head, one byte every `DRIP_S`, that never ends."""
    await exchange.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    with contextlib.suppress(ConnectionError):
        while True:
            await exchange.write(b"a")
            await asyncio.sleep(DRIP_S)


@fault
async def drip_comments(exchange):
    """An event stream of keep-alive comments without an end."""
    await exchange.start_chunked("content-type: text/event-stream\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            await exchange.chunk(b": keep-alive\n\n")
            await asyncio.sleep(DRIP_S)
