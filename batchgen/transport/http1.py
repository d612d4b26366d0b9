"""One HTTP/1.1 connection, with one request at a time, parsed by httptools (llhttp, the parser of Node.js).

Each reply belongs to the one request that was sent. Anything but exactly one complete, well-formed reply closes the
connection. Deadlines are timers of the loop; the size of a body is checked while it arrives.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from msgspec import Struct

from batchgen.transport import failures
from batchgen.transport.failures import Trouble
from batchgen.transport.odd_head import usual_head
from batchgen.transport.protocol import BODY_CAP, STREAM_STEP
from batchgen.transport.reply_memory import SMALL_BYTES, Room, Share
from batchgen.transport.send_buffer import Outbox
from batchgen.transport.stream_body import StreamBody
from batchgen.transport.unpack import Unpacker, UnpackError
from batchgen.transport.usual_replies import UsualReplies
from batchgen.values import KEPT_HEADERS, Response

HEAD_CAP = 256 * 1024
"""The most bytes of a reply's status line and headers: llhttp itself has no limit."""

_REPEATED = (b"retry-after", b"retry-after-ms")
"""Headers of which each counts where there are several."""

_KEPT = {name.encode(): name for name in KEPT_HEADERS}
_LENGTHS = (b"content-length", b"transfer-encoding")
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_FINAL = 200  # statuses below are those of informational messages, which come before the reply


def _parser(protocol: Connection) -> HttpResponseParser:
    """Return a parser that takes what httpx takes, too: lines that end with a line feed alone, a length beside chunks
    (which count), and blanks behind the size of a chunk. A server that writes so does it in every reply."""
    parser = HttpResponseParser(protocol)
    parser.set_dangerous_leniencies(
        lenient_chunked_length=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return parser


class Broken(Struct, frozen=True):
    """Why a request got no reply; `detail` is the message of the parser or of the operating system."""

    trouble: Trouble
    detail: str = ""


class Connection(asyncio.Protocol):
    """Sends requests one after the other: `ask` returns a future of the outcome, `free` is called when it is done.

    `gone` is called when it takes no more requests; `usual` are the heads that the server writes. With `tunnel` the
    connection is to a proxy: the reply to `CONNECT` has no body.
    """

    __slots__ = (  # so many attributes would be in a dictionary of each connection, which costs twice at each access
        "_body", "_body_bytes", "_encoding", "_expires_s", "_free", "_gone", "_head", "_head_bytes", "_headers",
        "_heard_s", "_in_body", "_keeps", "_loop", "_outbox", "_parser", "_paused", "_request", "_rings_s", "_share",
        "_silence_s", "_status", "_stream", "_surplus", "_timer", "_trouble", "_tunnel", "_unpack", "_until_close",
        "_usual", "_waiter", "_whole", "idle_since_s", "reused", "socket_transport",
    )  # fmt: skip

    def __init__(
        self,
        free: Callable[[Connection], None],
        gone: Callable[[Connection], None],
        outbox: Outbox,
        room: Room,
        usual: UsualReplies,
        *,
        tunnel: bool = False,
    ) -> None:
        self._free = free
        self._gone = gone
        self._outbox = outbox
        self._usual = usual
        self._share = Share(room, self._read_on)
        self._tunnel = tunnel
        self._loop = asyncio.get_running_loop()
        self._parser = _parser(self)
        self.socket_transport: asyncio.Transport | None = None
        """The transport object of the event loop, while the connection is open."""
        self._waiter: asyncio.Future[Response | Broken] | None = None
        self._request: bytes | None = None  # until it is written
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = self._expires_s = self._heard_s = 0.0
        self._silence_s = math.inf
        self._head_bytes = self._status = 0
        self._head = bytearray()  # what has come of a head that is not complete
        self._headers: dict[str, str] = {}
        self._encoding = b"identity"
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._stream: StreamBody | None = None  # what has been put together of a long one
        self._unpack: Unpacker | None = None
        self._trouble: Broken | None = None
        self._in_body = self._until_close = self._whole = self._keeps = self._surplus = False
        self._paused = False
        self.reused = False
        self.idle_since_s = 0.0

    # For the transport

    def ask(
        self, request: bytes, now_s: float, total_s: float, silence_s: float = math.inf
    ) -> asyncio.Future[Response | Broken]:
        """Send a request at the end of the loop's iteration; return a future, which always gets a result.

        `total_s` bounds the time until the reply is complete, `silence_s` the time without a byte of it.
        """
        waiter = self._waiter = self._loop.create_future()
        self._heard_s = now_s
        self._expires_s = now_s + total_s
        self._silence_s = silence_s
        if self._timer is None or now_s + total_s < self._rings_s or now_s + silence_s < self._rings_s:
            self._arm(now_s)
        self._in_body = self._until_close = self._whole = self._keeps = self._surplus = False
        self._head_bytes = 0
        self._head.clear()
        self._request = request
        self._outbox.add(self)
        return waiter

    def end(self, why: Broken) -> None:
        """Close the connection at once, and give the reason as the outcome of the request in flight."""
        self._settle(why)
        self._gone(self)
        if self.socket_transport is not None:
            self.socket_transport.abort()

    def give_up(self, waiter: asyncio.Future[Response | Broken]) -> None:
        """Close the connection if this request is still in flight; after its reply it may carry another one."""
        if self._waiter is waiter:
            self.end(Broken(failures.CLOSED_HERE))

    def switch_to(self, transport: asyncio.Transport) -> None:
        """Continue over an encrypted transport, once the proxy has opened its tunnel."""
        self.socket_transport = transport
        self._parser = _parser(self)
        self._tunnel = False

    # For the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.socket_transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._request is not None:  # bytes without a request: an unasked reply, or no HTTP
            self.end(Broken(failures.CLOSED))
            return
        begins = not (self._in_body or self._head or self._tunnel)
        if begins and (reply := self._usual.read(data)) is not None:
            self._hand_over(reply)
            return
        parts = len(self._body)
        self._parse(data)
        if self._whole:
            if begins and self._status == HTTPStatus.OK:
                self._usual.learn(data)
            self._finish()
            return
        if not self._in_body and self._trouble is None:
            self._head += data
        if not self._in_body or len(self._body) == parts:  # head, trailer or chunk extension
            self._head_bytes += len(data)
        if self._in_body:  # a head that arrives byte by byte does not count as progress
            self._heard_s = self._loop.time()
        if self._trouble is not None:
            self.end(self._trouble)
        elif self._head_bytes > HEAD_CAP:
            self.end(Broken(failures.BAD_HTTP, f"a head or trailer of over {HEAD_CAP} bytes"))

    def _parse(self, data: bytes, *, mended: bool = False) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._trouble = Broken(failures.BAD_HTTP, "a change of protocol nobody asked for")
        except HttpParserError as error:
            usual = None if self._in_body or mended else usual_head(bytes(self._head) + data)
            if self._whole:  # bytes behind a complete reply: the reply is kept, the connection is closed
                self._surplus = True
            elif usual is not None:
                self._parser = _parser(self)
                self._parse(usual, mended=True)
            elif self._trouble is None:
                self._trouble = Broken(failures.BAD_HTTP, f"{type(error).__name__}: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self.socket_transport = None
        self._gone(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is None:
            return
        if self._in_body and self._until_close and error is None:
            self._finish()
            return
        trouble = failures.CUT if self._in_body else failures.CLOSED
        self._settle(Broken(trouble, f"{type(error).__name__}: {error}" if error is not None else ""))

    # For the parser

    def on_message_begin(self) -> None:
        if self._whole:
            raise HttpParserError("a second reply to one request")
        self._headers = {}
        self._encoding = b"identity"
        self._until_close = True
        self._body = []
        self._body_bytes = 0
        self._stream = None
        self._unpack = None

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        kept = _KEPT.get(name)
        if kept is not None:
            if value.isascii():  # no header that is used has other characters
                before = self._headers.setdefault(kept, value.decode())
                if name in _REPEATED and before != value.decode():
                    self._headers[kept] = f"{before}, {value.decode()}"
        elif name in _LENGTHS:
            self._until_close = False
        elif name == b"content-encoding":
            self._encoding = value.lower()

    def on_headers_complete(self) -> None:
        status = self._status = self._parser.get_status_code()
        if status < _FINAL:
            return
        self._in_body = True
        if self._tunnel:
            self._whole = True
            return
        if status in _BODILESS:
            self._until_close = False
        if self._encoding != b"identity":
            try:
                self._unpack = Unpacker(self._encoding.decode("latin-1"))
            except UnpackError as error:
                self._trouble = Broken(failures.BAD_ENCODING, str(error))

    def on_body(self, data: bytes) -> None:
        if self._trouble is not None:
            return
        if self._unpack is None and self._body_bytes + len(data) <= SMALL_BYTES:  # as nearly always
            self._body.append(data)
            self._body_bytes += len(data)
        else:
            self._add((data,) if self._unpack is None else self._unpack.parts(data))

    def _add(self, parts: Iterable[bytes]) -> None:
        try:
            for part in parts:
                self._body.append(part)
                self._body_bytes += len(part)
                if self._body_bytes > SMALL_BYTES:
                    if self._body_bytes > STREAM_STEP and self._silence_s < math.inf:
                        self._put_together()
                    if self._body_bytes > BODY_CAP:
                        self._trouble = Broken(failures.TOO_LARGE, f"over {BODY_CAP} bytes")
                        return
                    if not self._share.grow(max(0, self._body_bytes - self._share.size)):
                        self._paused = True
                        assert self.socket_transport is not None
                        self.socket_transport.pause_reading()
        except UnpackError as error:
            self._trouble = Broken(failures.CUT if error.cut else failures.BAD_ENCODING, str(error))

    def on_message_complete(self) -> None:
        if self._in_body:  # else it was an informational one (1xx)
            self._whole = True
            self._keeps = self._parser.should_keep_alive()

    # Inside

    def write(self) -> None:
        """Write the request, unless the connection was closed since: a cancelled request is never sent."""
        request, self._request = self._request, None
        transport = self.socket_transport
        if request is not None and transport is not None and not transport.is_closing():
            transport.write(request)

    def _put_together(self) -> None:
        """Merge the frames of a long stream from time to time: its size is measured by the answer in it."""
        if self._stream is None:
            self._stream = StreamBody()
        elif self._body_bytes - self._stream.size < STREAM_STEP:
            return
        self._stream.add(b"".join(self._body))
        self._body = []
        self._body_bytes = self._stream.size

    def _finish(self) -> None:
        """Put the complete reply together, or end with what is wrong with it."""
        if self._unpack is not None and self._trouble is None:
            self._add(self._unpack.rest())
        if self._trouble is not None:
            self.end(self._trouble)
            return
        body = self._body if self._stream is None else [self._stream.whole(), *self._body]
        self._stream = None
        whole = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self._hand_over(Response(self._status, self._headers, whole), keeps=self._keeps and not self._surplus)

    def _hand_over(self, reply: Response, *, keeps: bool = True) -> None:
        """Set a complete reply as the outcome, and offer the connection for the next request if it can be kept."""
        transport = self.socket_transport
        if transport is not None and not self._tunnel:
            if keeps and not transport.get_write_buffer_size():
                self.reused = True
                self._settle(reply)
                self._free(self)
                return
            self._gone(self)
            transport.abort()
        self._settle(reply)

    def _read_on(self) -> None:
        """Resume reading: there is memory again."""
        self._paused = False
        self._heard_s = self._loop.time()
        transport = self.socket_transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def _settle(self, outcome: Response | Broken) -> None:
        if self._share.size:
            self._share.give_back()
        if self._paused:  # the end of the body had been read already
            self._read_on()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(outcome)

    # One timer for the whole life of a connection. Moving it for each request would cost 2 µs: it fires at the earliest
    # deadline that it knows, and is then set again.

    @property
    def _next_look_s(self) -> float:
        return min(self._expires_s, self._heard_s + self._silence_s)

    def _arm(self, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_s = self._next_look_s
        self._timer = self._loop.call_later(max(0.0, self._rings_s - now_s), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        now_s = self._loop.time()
        if now_s >= self._expires_s:
            self.end(Broken(failures.DEADLINE))
        elif self._paused:  # reading is paused here, so that the server is not silent
            self._heard_s = now_s
            self._arm(now_s)
        elif now_s >= self._heard_s + self._silence_s:
            self.end(Broken(failures.SILENCE))
        else:
            self._arm(now_s)
