"""Sending requests over HTTP: one protocol (`protocol.Transport`) and two clients that pass the same tests.

`open_transport` returns one of them. `asyncio_client.py` (asyncio and httptools) is the fast one: 15 to 25 µs of CPU
time for each request, with 64 to 2,000 connections. `httpx_client.py` (httpx) is always installed and serves unusual
proxies, custom TLS contexts and mock transports in tests. Both keep connections alive, verify certificates, follow no
redirects, retry nothing, and describe each error with one of the entries of `failures.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from batchgen.secret import Secrets
from batchgen.transport.certificates import tls_context
from batchgen.transport.open_files import connections_allowed
from batchgen.transport.protocol import OpenTransport
from batchgen.transport.reply_memory import Room
from batchgen.transport.route import Route, is_plaintext_to_elsewhere, route_to

if TYPE_CHECKING:
    from batchgen.transport.file_client import FileClient

__all__ = ["OpenTransport", "is_plaintext_to_elsewhere", "open_file_client", "open_transport", "preflight"]

MOST_CONNECTIONS = 2_000
"""The most requests in flight when the job sets no concurrency; more connections were slower in measurements."""


def open_transport(
    kind: Literal["fast", "httpx"],
    *,
    base_url: str,
    secrets: Secrets,
    concurrency: int | None,
    connect_timeout_s: float = 15.0,
    room: Room | None = None,
) -> OpenTransport:
    """Return a transport for requests to the origin of `base_url`, to be entered with `async with`.

    `concurrency` is the most requests in flight; None means up to `MOST_CONNECTIONS`. Requests to any other origin are
    refused, so that no secret is sent to another host. Certificates are checked against
    the system's roots (and certifi's, for httpx), or instead against `SSL_CERT_FILE` / `SSL_CERT_DIR` where set. Raises
    `JobError` as `preflight` does. Where the fast client is not installed
    `kind="fast"` gives the httpx one with a note. Transports with the same `room` share its memory for large replies.
    """
    route, room = preflight(base_url), room or Room()
    allowed = connections_allowed(concurrency or MOST_CONNECTIONS)
    notes = list(_notes(route, base_url, secrets))
    if concurrency is not None and allowed < concurrency:
        notes.append(
            f"Only {allowed} connections fit under this process's limit on open files: limits.concurrency is lowered "
            f"from {concurrency} to {allowed}. Raise the hard limit (`ulimit -Hn`) for more."
        )
    if kind == "fast" and route.proxy is not None and route.proxy.lower().startswith("https:"):
        notes.append(f"The proxy {route.proxy_host} is spoken to in TLS: httpx is used instead of the fast client.")
    elif kind == "fast":
        try:
            from batchgen.transport.asyncio_client import FastTransport
        except ImportError as error:
            notes.append(
                f"The fast client cannot be loaded ({error}); httpx is used instead, at about a tenth of the speed."
            )
        else:
            return FastTransport(route, secrets, allowed, notes, room=room, connect_timeout_s=connect_timeout_s)
    from batchgen.transport.httpx_client import PlainTransport

    return PlainTransport(route, secrets, allowed, notes, room=room, connect_timeout_s=connect_timeout_s)


def open_file_client(base_url: str, secrets: Secrets, *, connect_timeout_s: float = 15.0) -> FileClient:
    """Return the client for files and batches at the origin of `base_url`, to be entered with `async with`.

    Raises `JobError` as `preflight` does.
    """
    from batchgen.transport.file_client import FileClient

    return FileClient(preflight(base_url), secrets, connect_timeout_s=connect_timeout_s)


def preflight(base_url: str) -> Route:
    """Return the route to the origin of `base_url`, without sending anything or resolving its name.

    Raises `JobError` for a URL, a proxy or a certificate file that cannot be used.
    """
    route = route_to(base_url)
    if base_url.lower().startswith("https:"):
        tls_context()
    return route


def _notes(route: Route, base_url: str, secrets: Secrets) -> Iterator[str]:
    if route.proxy is not None:
        yield f"Requests to {route.host} go through the proxy {route.proxy_host}, which sees whatever is not https://."
    if is_plaintext_to_elsewhere(base_url):
        what = "Prompts" if not secrets.headers else "The API key and all prompts"
        yield f"{what} travel unencrypted to {route.host}: use https:// if it can."
