"""How a request travels: one small seam, two implementations under the same tests.

`open_transport` is the one way to get one. `asyncio_client.py` (asyncio and httptools) is for the hot path: 15-25 µs of
CPU a request from 64 to 2,000 connections. `httpx_client.py` (httpx) is always there: for odd proxies, custom TLS
contexts, mock transports in tests, and all calls that are not hot. Both keep connections alive, verify certificates,
follow no redirect, retry nothing, and report what went wrong in the words of `failures.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Literal, Protocol, Self

from batchgen.errors import JobError
from batchgen.secret import Secret
from batchgen.transport.open_files import connections_allowed
from batchgen.transport.route import Route, is_plaintext_to_elsewhere, route_to
from batchgen.values import Failure, Request, Response

__all__ = ["BODY_CAP", "OpenTransport", "Transport", "is_plaintext_to_elsewhere", "open_transport", "route_to"]

BODY_CAP = 32 * 1024 * 1024
"""Most decoded bytes of one response body (faults: 0.5 MB of gzip became 533 MB)."""


STREAM_FACTOR = 20
"""A streamed attempt may last this many times its longest silence: keep-alive comments must not go on for ever."""

IDLE_S = 4.0
"""How long an idle connection is kept: less than the servers (5 s in DashScope's SDK, 60-75 s in most gateways)."""


class Transport(Protocol):
    """Sends requests over kept-alive connections. Retries nothing, follows no redirect."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send(self, request: Request, *, timeout_s: float) -> Response | Failure:
        """POST the request and return the whole response, or a failure from the list in `failures.py`.

        `timeout_s` bounds the whole attempt (connect to last byte); for a streamed request, the longest silence, and
        20 times that bounds the attempt. Raises nothing but cancellation, which closes the connection.

        `Failure.maybe_billed` is False only if no byte of the request can have been sent. `Failure.stale` is True if a
        connection that may have been a kept one broke before any reply: worth one more try at once.
        """


class OpenTransport(Transport, Protocol):
    """A transport as `open_transport` gives it, with what the caller should know or say."""

    @property
    def kind(self) -> Literal["fast", "httpx"]:
        """Which of the two this is."""

    @property
    def route(self) -> Route:
        """Host and proxy the requests take."""

    @property
    def concurrency(self) -> int:
        """Most requests in flight: what was asked for, or less if the limit on open files does not allow it."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user: proxy in use, fast client missing, concurrency lowered, key sent in the clear."""


def open_transport(
    kind: Literal["fast", "httpx"],
    *,
    base_url: str,
    key: Secret | None,
    concurrency: int,
    connect_timeout_s: float = 15.0,
) -> OpenTransport:
    """Return a transport for requests to the origin of `base_url`, to be entered with `async with`.

    Requests to any other origin are refused, so the key cannot leave for another host. Certificates are checked against
    the system's roots (and certifi's, for httpx), or instead against `SSL_CERT_FILE` / `SSL_CERT_DIR` where set. Raises
    `JobError` for a URL, proxy, key or certificate file that cannot be used. Where the fast client is not installed
    `kind="fast"` gives the httpx one with a note.
    """
    route = route_to(base_url)
    if key is not None:
        _check_key(key)
    allowed = connections_allowed(concurrency)
    notes = list(_notes(route, base_url, key))
    if allowed < concurrency:
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
            return FastTransport(route, key, allowed, notes, connect_timeout_s=connect_timeout_s)
    from batchgen.transport.httpx_client import PlainTransport

    return PlainTransport(route, key, allowed, notes, connect_timeout_s=connect_timeout_s)


def _check_key(key: Secret) -> None:
    """Refuse a key that no header can carry: the clients' own errors would quote it."""
    value = key.reveal()
    if not value or not all("!" <= letter <= "~" for letter in value):
        raise JobError(
            "the API key is empty or has a blank, a line break or a letter outside ASCII in it, which no header can "
            "carry: check the variable named by model.api_key_env"
        )


def _notes(route: Route, base_url: str, key: Secret | None) -> Iterator[str]:
    if route.proxy is not None:
        yield f"Requests to {route.host} go through the proxy {route.proxy_host}, which sees whatever is not https://."
    if is_plaintext_to_elsewhere(base_url):
        what = "Prompts" if key is None else "The API key and all prompts"
        yield f"{what} travel unencrypted to {route.host}: use https:// if it can."
