"""Opening a connection: name resolution, TCP, a proxy's tunnel, TLS.

Connections that are opened at the same time share one name lookup, which is repeated after `NAME_S` seconds. Where a
name has several addresses, each new connection tries the next one first, and one of the other address family as well
when the first is slow to answer (RFC 8305).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol, cast
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs
import anyio
from aiohappyeyeballs import AddrInfoType

from batchgen.transport import failures
from batchgen.transport.certificates import tls_context
from batchgen.transport.failures import CONNECT_ERRORS, OPEN_FILES_ERRORS
from batchgen.transport.http1 import Broken, Connection
from batchgen.transport.open_files import descriptors_exhausted
from batchgen.transport.route import DEFAULT_PORTS, SOCKET_OPTIONS, Route

NAME_S = 30.0
"""Seconds for which the addresses of a name are reused."""

NEXT_ADDRESS_S = 0.25
"""Seconds that one address may take before the next is tried as well (RFC 8305, section 8)."""


class NewConnection(Protocol):
    """Makes the protocol object that receives a connection's bytes."""

    def __call__(self, *, tunnel: bool) -> Connection: ...


async def _resolve(host: str, port: int) -> list[AddrInfoType]:
    """Return the addresses of a name, from the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return cast("list[AddrInfoType]", found)


class Dialler:
    """Opens connections to one origin. Raises `JobError` if a certificate file that is set cannot be read."""

    def __init__(
        self,
        route: Route,
        *,
        resolve: Callable[[str, int], Awaitable[list[AddrInfoType]]] = _resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        target = urlsplit(route.origin)
        first = target if route.proxy is None else urlsplit(route.proxy)
        self._host = target.hostname or ""
        self._port = target.port or DEFAULT_PORTS[target.scheme.lower()]
        self._first_host = first.hostname or ""
        self._first_port = first.port or DEFAULT_PORTS[first.scheme.lower()]
        self._tls = tls_context() if target.scheme.lower() == "https" else None
        if self._tls is not None:
            self._tls.set_alpn_protocols(["http/1.1"])
        self._tunnels = route.proxy is not None and self._tls is not None
        self.proxy_login = ""
        """The value of `Proxy-Authorization`, where the proxy's URL has a user."""
        if route.proxy is not None and first.username is not None:
            login = f"{unquote(first.username)}:{unquote(first.password or '')}"
            self.proxy_login = f"Basic {base64.b64encode(login.encode()).decode()}"
        self._resolve = resolve
        self._clock = clock
        self._lookup: asyncio.Future[list[AddrInfoType]] | None = None
        self._looked_up_s = 0.0
        self._turn = 0

    async def connect(self, build: NewConnection, timeout_s: float) -> Connection | Broken:
        """Return a connection that is ready for a request, or the reason why none could be opened in `timeout_s`."""
        loop = asyncio.get_running_loop()
        made: Connection | None = None

        def connection() -> Connection:
            nonlocal made
            made = build(tunnel=self._tunnels)
            return made

        outcome: Connection | Broken = Broken(failures.CONNECT_TIMEOUT)
        try:
            with anyio.move_on_after(timeout_s):
                sock = await self._connect_socket()
                tls = None if self._tunnels else self._tls
                await loop.create_connection(
                    connection, sock=sock, ssl=tls, server_hostname=self._host if tls is not None else None
                )
                assert made is not None
                outcome = made if not self._tunnels else await self._tunnel(made, timeout_s)
        except (OSError, RuntimeError, ValueError) as error:  # uvloop's own; a name that IDNA refuses
            outcome = _read_error(error)
        finally:
            if made is not None and outcome is not made:
                made.end(Broken(failures.CONNECT))
        return outcome

    async def _connect_socket(self) -> socket.socket:
        lookup = self._lookup
        if lookup is None or (lookup.done() and self._clock() - self._looked_up_s > NAME_S):
            self._looked_up_s = self._clock()
            lookup = self._lookup = asyncio.ensure_future(self._resolve(self._first_host, self._first_port))
            # Marks the exception as retrieved, in case nobody waits for it.
            lookup.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            addresses = await asyncio.shield(lookup)
        except (OSError, ValueError):
            if self._lookup is lookup:
                self._lookup = None
            raise
        self._turn += 1
        first = self._turn % len(addresses)
        return await aiohappyeyeballs.start_connection(
            addresses[first:] + addresses[:first],
            happy_eyeballs_delay=NEXT_ADDRESS_S,
            socket_factory=_new_socket,
        )

    async def _tunnel(self, connection: Connection, timeout_s: float) -> Connection | Broken:
        """Ask the proxy for a tunnel to the provider (`CONNECT`), and start TLS in it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        lines = [f"CONNECT {host}:{self._port} HTTP/1.1", f"host: {host}:{self._port}", "user-agent: batchgen"]
        if self.proxy_login:
            lines.append(f"proxy-authorization: {self.proxy_login}")
        reply = await connection.ask(
            "\r\n".join([*lines, "", ""]).encode(), asyncio.get_running_loop().time(), timeout_s
        )
        if isinstance(reply, Broken):
            return Broken(failures.PROXY, reply.detail or reply.trouble.code)
        if reply.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return Broken(failures.PROXY_LOGIN)
        if not HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            return Broken(failures.PROXY, f"HTTP {reply.status}")
        transport = connection.socket_transport
        if transport is None:
            return Broken(failures.PROXY, "the tunnel was closed")
        assert self._tls is not None
        encrypted = await asyncio.get_running_loop().start_tls(
            transport, connection, self._tls, server_hostname=self._host
        )
        if encrypted is None:
            return Broken(failures.PROXY, "the tunnel was closed")
        connection.switch_to(encrypted)
        return connection


def _new_socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    for level, name, value in SOCKET_OPTIONS:
        with contextlib.suppress(OSError):  # optional: the connection works without it
            sock.setsockopt(level, name, value)
    return sock


def _read_error(error: OSError | RuntimeError | ValueError) -> Broken:
    """Return what an error while connecting means, with the class and the message of the exception."""
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, OSError) and error.errno in OPEN_FILES_ERRORS:
        return Broken(failures.OPEN_FILES, detail)
    if isinstance(error, TimeoutError):
        return Broken(failures.CONNECT_TIMEOUT)
    trouble = next(
        (trouble for kind, words, trouble in CONNECT_ERRORS if isinstance(error, kind) and words in str(error)),
        failures.CONNECT,
    )
    if trouble in (failures.DNS, failures.CONNECT) and descriptors_exhausted():
        trouble = failures.OPEN_FILES
    return Broken(trouble, detail)
