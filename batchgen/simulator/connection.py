"""A client's connection: reads requests, writes replies, and does the faults that concern the socket.

Replies are sent one after the other; pipelined requests wait. Latencies are timers of the event loop, so that thousands
of requests can wait at no cost.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, cast

import msgspec

from batchgen.simulator.batches.upload import CutError
from batchgen.simulator.behaviour import Behaviour
from batchgen.simulator.exchange import Admission, FileBody, Reply
from batchgen.simulator.file_sending import FileSending
from batchgen.simulator.http1 import BadRequestError, RequestReader

_RESET_AFTER_S = 0.02  # lets the client receive the first half: a reset discards what is still in the socket
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_STATUS_LINES[529] = "HTTP/1.1 529 Overloaded\r\n"  # Anthropic's own
_LAST_CHUNK = b"0\r\n\r\n"


class ClientConnection(asyncio.Protocol):
    """A client's connection. It is in the set `open_ones` as long as it is open."""

    def __init__(self, behaviour: Behaviour, loop: asyncio.AbstractEventLoop, open_ones: set[ClientConnection]) -> None:
        self._behaviour = behaviour
        self._loop = loop
        self._open_ones = open_ones
        self._reader = RequestReader(behaviour.sink_for)
        self._sending: FileSending | None = None
        self._may_write = True
        self._fault: str | None = None  # of the file that is being sent
        self._timer: asyncio.TimerHandle | None = None
        self._ticket: Admission | None = None
        self._busy = False  # a reply is being sent
        self._serving = False  # `_serve` is running
        self._keep = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._open_ones.add(self)
        stats = self._behaviour.stats
        stats.connections += 1
        stats.connections_opened += 1
        stats.peak_connections = max(stats.peak_connections, stats.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self)
        self._behaviour.stats.connections -= 1
        if self._timer is not None:
            self._timer.cancel()
        self._reader.abort()
        self._end_file()
        self._settle(delivered=False)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        if self._sending is not None:
            self._send_on(self._sending)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._serve()

    def close(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def _serve(self) -> None:
        """Reply to the requests that have arrived, until a reply takes time or no complete request is left."""
        self._serving = True
        self._serve_waiting()
        self._serving = False

    def _serve_waiting(self) -> None:
        while not self._busy and not self._transport.is_closing():
            try:
                request = self._reader.next_request()
            except BadRequestError as error:
                body = msgspec.json.encode({"error": str(error)})
                self._keep = False
                self._transport.write(_head(Reply(error.status), len(body), keep=False) + body)
                self._transport.close()
                return
            except CutError:
                self._reset()
                return
            if request is None:
                if self._reader.continue_wanted:
                    self._reader.continue_wanted = False
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._keep = request.headers.get("connection", "").lower() != "close"
            reply = self._behaviour.reply(request, self._loop.time())
            self._ticket = reply.ticket
            self._busy = True
            if reply.wait_s > 0:
                self._later(reply.wait_s, self._send, reply)
            else:
                self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.file is not None and reply.fault != "hang":
            self._send_file(reply, reply.file)
            return
        match reply.fault:
            case "reset":
                self._reset()
            case "hang":
                self._done(keep=False)
            case "reset_body" | "truncate":
                whole = b"".join(self._pieces(reply))
                start = whole.index(b"\r\n\r\n") + 4
                self._transport.write(whole[: start + (len(whole) - start) // 2])
                if reply.fault == "truncate":
                    self._done(keep=False)
                else:
                    self._later(_RESET_AFTER_S, self._reset)
            case "slow":
                head, _, rest = b"".join(self._pieces(reply)).partition(b"\r\n\r\n")
                self._transport.write(head + b"\r\n\r\n")
                self._drip(iter([rest[i : i + 1] for i in range(len(rest))]), self._behaviour.settings.drip_s)
            case _ if reply.frames and reply.frame_s > 0:
                self._drip(self._pieces(reply), reply.frame_s)
            case _:
                self._transport.write(b"".join(self._pieces(reply)))
                self._done(keep=self._keep)

    def _send_file(self, reply: Reply, body: FileBody) -> None:
        """Send a file, or half of it where a fault says so."""
        self._transport.write(_head(reply, None if body.chunked else body.size, keep=self._keep))
        self._fault = reply.fault
        self._sending = FileSending(self._transport, body, body.size // 2 if reply.fault else body.size)
        self._send_on(self._sending)

    def _send_on(self, sending: FileSending) -> None:
        while self._may_write and not self._transport.is_closing():
            if not sending.send():
                self._end_file()
                if self._fault == "reset_body":
                    self._later(_RESET_AFTER_S, self._reset)
                else:
                    self._done(keep=self._keep and self._fault is None)
                return

    def _end_file(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.close()

    def _pieces(self, reply: Reply) -> Iterator[bytes]:
        """Yield the bytes of a reply: head and body; or the head with the first frame, the other frames, the last
        chunk."""
        if not reply.frames:
            yield _head(reply, len(reply.body), keep=self._keep) + reply.body
            return
        head = _head(reply, None, keep=self._keep)
        for frame in reply.frames:
            yield b"%b%x\r\n%b\r\n" % (head, len(frame), frame)
            head = b""
        yield _LAST_CHUNK

    def _drip(self, pieces: Iterator[bytes], every_s: float) -> None:
        piece = next(pieces, None)
        if piece is None:
            self._done(keep=self._keep)
            return
        self._transport.write(piece)
        if piece == _LAST_CHUNK:
            self._done(keep=self._keep)
        else:
            self._later(every_s, self._drip, pieces, every_s)

    def _done(self, *, keep: bool) -> None:
        self._settle(delivered=True)
        self._busy = False
        if not keep:
            self._transport.close()
        elif not self._serving:
            self._serve()

    def _reset(self) -> None:
        """End the connection with a RST rather than a FIN."""
        self._settle(delivered=True)
        linger_off = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_off)
        self._transport.abort()

    def _settle(self, *, delivered: bool) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._behaviour.settle(ticket, self._loop.time(), delivered=delivered)

    def _later(self, wait_s: float, call: Callable[..., None], *args: Any) -> None:
        self._timer = self._loop.call_later(wait_s, call, *args)


def _head(reply: Reply, length: int | None, *, keep: bool) -> bytes:
    lines = [_STATUS_LINES[reply.status]]
    lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
    lines.append("transfer-encoding: chunked\r\n" if length is None else f"content-length: {length}\r\n")
    if not keep:
        lines.append("connection: close\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")
