"""Parses HTTP/1.1 requests from bytes that arrive in pieces.

Simple requests (HTTP/1.1, each header once, Content-Length or no body) are parsed here, for speed in tests with 100,000
rows. All others, such as those with chunked bodies, are left to h11.
"""

from __future__ import annotations

from collections.abc import Callable

import h11

from batchgen.simulator.batches.upload import BodySink
from batchgen.simulator.exchange import HttpRequest

SinkFor = Callable[[str, str, dict[str, str]], BodySink | None]
"""Returns what takes the body of a request with this method, target and headers; None for memory."""

BODY_CAP = 64 * 1024 * 1024
"""The most bytes of a request's body, unless it is written to disk."""

_SPOOLED_FROM = 1024 * 1024  # bytes of a body that may be written to disk while it arrives

_HEAD_CAP = 64 * 1024
_LEFT_TO_H11 = frozenset({"transfer-encoding", "expect", "upgrade"})


class BadRequestError(Exception):
    """The request is not valid HTTP/1.1 or too large; the connection has to be closed. `status` is that of the
    reply."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RequestReader:
    """Collects bytes; `next_request` returns the next complete request, or None until there is one.

    `continue_wanted` becomes true when the client waits for `100 Continue`; whoever sends that resets it. `sink_for`
    finds what takes a large body; it may raise CutError, which `next_request` lets through.
    """

    def __init__(self, sink_for: SinkFor = lambda method, target, headers: None) -> None:
        self._sink_for = sink_for
        self._sink: BodySink | None = None
        self._missing = 0  # bytes of the sink's body
        self._bytes = bytearray()
        self._head: tuple[str, str, dict[str, str], int, int] | None = (
            None  # method, target, headers, start, end of body
        )
        self._h11: h11.Connection | None = None
        self._parts: list[bytes] = []
        self._started: h11.Request | None = None
        self.continue_wanted = False

    def feed(self, data: bytes) -> None:
        """Add bytes from the socket."""
        self._bytes += data

    def next_request(self) -> HttpRequest | None:
        """Return the next complete request; None if there is none yet. Raises BadRequestError."""
        if self._h11 is not None:
            return self._next_by_h11(self._h11)
        if self._sink is not None:
            return self._next_by_sink(self._sink)
        if self._head is None:
            end = self._bytes.find(b"\r\n\r\n")
            if end < 0:
                if len(self._bytes) > _HEAD_CAP:
                    raise BadRequestError(431, "The head of the request is too large.")
                return None
            self._head = _plain_head(bytes(self._bytes[:end]), end + 4)
            if self._head is None:
                self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_CAP)
                return self._next_by_h11(self._h11)
        method, target, headers, start, end = self._head
        if end - start > _SPOOLED_FROM:
            self._sink = self._sink_for(method, target, headers)
            if self._sink is not None:
                del self._bytes[:start]
                self._missing = end - start
                return self._next_by_sink(self._sink)
            if end - start > BODY_CAP:
                raise BadRequestError(413, "The body of the request is too large.")
        if len(self._bytes) < end:
            return None
        body = bytes(self._bytes[start:end])
        del self._bytes[:end]
        self._head = None
        return HttpRequest(method, target, headers, body)

    def abort(self) -> None:
        """Forget a body that will not be completed."""
        if self._sink is not None:
            self._sink.abort()

    def _next_by_sink(self, sink: BodySink) -> HttpRequest | None:
        piece = bytes(self._bytes[: self._missing])
        del self._bytes[: self._missing]
        self._missing -= len(piece)
        sink.write(piece)
        if self._missing:
            return None
        sink.end()
        assert self._head is not None
        method, target, headers, _, _ = self._head
        self._head = self._sink = None
        return HttpRequest(method, target, headers, sink=sink)

    def _next_by_h11(self, connection: h11.Connection) -> HttpRequest | None:
        try:
            if self._bytes:
                connection.receive_data(bytes(self._bytes))
                self._bytes.clear()
            while True:
                event = connection.next_event()
                if isinstance(event, h11.Request):
                    self._started = event
                    self._sink = self._sink_for(*_told(event))
                elif isinstance(event, h11.Data) and self._sink is not None:
                    self._sink.write(bytes(event.data))
                elif isinstance(event, h11.Data):
                    self._parts.append(bytes(event.data))
                    if sum(map(len, self._parts)) > BODY_CAP:
                        raise BadRequestError(413, "The body of the request is too large.")
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    self.continue_wanted = connection.they_are_waiting_for_100_continue
                    return None
        except h11.RemoteProtocolError as error:
            raise BadRequestError(error.error_status_hint, str(error)) from error
        self._bytes += connection.trailing_data[0]
        self._h11 = None
        self.continue_wanted = False
        request, body = self._started, b"".join(self._parts)
        self._started, self._parts = None, []
        assert request is not None
        method, target, headers = _told(request)
        if request.http_version < b"1.1":
            headers["connection"] = "close"
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.end()
        return HttpRequest(method, target, headers, body, sink)


def _told(request: h11.Request) -> tuple[str, str, dict[str, str]]:
    """Return method, target and headers."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
    return request.method.decode(), request.target.decode("latin-1"), headers


def _plain_head(head: bytes, start: int) -> tuple[str, str, dict[str, str], int, int] | None:
    """Return method, target, headers, start and end of the body; None if h11 has to parse the request."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or " " in name or "\t" in name or name in headers or name in _LEFT_TO_H11:
            return None
        headers[name] = value.strip()
    length = headers.get("content-length", "0")
    if "host" not in headers or not (length.isascii() and length.isdigit()):
        return None
    return words[0], words[1], headers, start, start + int(length)
