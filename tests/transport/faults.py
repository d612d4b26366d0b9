"""A server that misbehaves on the level of bytes, for every test that needs a bad network.

    with FaultServer() as server:
        transport.send(Request(url=server.url("cut_chunk"), ...))

The first segment of the path names the fault (a key of `FAULTS`), so a provider's own path may follow it. A `choose`
function may decide per request instead: `FaultServer(choose=lambda exchange: "hang" if exchange.number % 7 else "ok")`.
The server runs in its own thread and loop; what it saw (`connections`, `heads`, `bodies`) may be read at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import weakref

from tests.transport.fault_scripts import ANSWER, EVENTS, FAULTS, Exchange

__all__ = ["ANSWER", "EVENTS", "FAULTS", "Exchange", "FaultServer", "TunnelProxy", "by_path", "closed_port"]


def by_path(exchange):
    """Take the fault from the first segment of the path; an unknown one is answered with 404."""
    return exchange.path.split("/", 2)[1]


class FaultServer:
    """The server, in its own thread from `__enter__` to `__exit__`. `tls` makes it speak TLS."""

    def __init__(self, *, choose=by_path, tls=None):
        self._choose = choose
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault server", daemon=True)
        self._running = set()
        self._writers = weakref.WeakSet()
        self.port = 0
        self.connections = 0
        self.heads = []
        self.bodies = []

    def url(self, path, *, host="127.0.0.1"):
        """URL of a fault, or of any path."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/{path}"

    @property
    def open_connections(self):
        """Connections that are open now, as far as the server has noticed."""
        return len(self._running)

    def __enter__(self):
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, kind, error, trace):
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self):
        self._server.close()
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:  # a TLS one may still wait for the peer's goodbye
            writer.transport.abort()
        await asyncio.sleep(0.01)  # lets the aborted transports call connection_lost before the loop ends

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            self._running.discard(task)
            writer.close()

    async def _converse(self, reader, writer):
        turn = 0
        while not writer.is_closing():
            first = await reader.readexactly(1)
            if first == b"\x16":  # a TLS client hello on a plain port: what nginx says to it
                writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            head = first + await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_content_length(head))
            exchange = Exchange(head, body, len(self.heads), turn, writer)
            self.heads.append(head)
            self.bodies.append(body)
            turn += 1
            script = FAULTS.get(self._choose(exchange))
            if script is None:
                await exchange.reply(b'{"error": "no such fault"}', status="404 Not Found")
            else:
                await self._until_peer_leaves(reader, script(exchange))

    @staticmethod
    async def _until_peer_leaves(reader, script):
        """Run the script, but no longer than the peer keeps the connection (a hang must not outlive its client)."""
        running = asyncio.ensure_future(script)
        try:
            while not running.done():
                await asyncio.wait([running], timeout=0.02)
                if reader.at_eof() or reader.exception() is not None:
                    running.cancel()
                    raise ConnectionResetError
            await running
        finally:
            running.cancel()


class TunnelProxy:
    """A proxy that answers CONNECT with a way through to `port` of this machine; `heads` are the requests it got."""

    def __init__(self, port):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.heads = []

    def __enter__(self):
        threading.Thread(target=self._accept, name="tunnel proxy", daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._tunnel, args=(near,), daemon=True).start()

    def _tunnel(self, near):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += near.recv(4096)
        self.heads.append(head)
        with near, socket.create_connection(("127.0.0.1", self._target)) as far:
            near.sendall(b"HTTP/1.1 200 Connection established\r\nx-proxy: yes\r\n\r\n")
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            _copy(near, far)
            back.join()


def _copy(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _content_length(head):
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def closed_port():
    """Return a loopback port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
