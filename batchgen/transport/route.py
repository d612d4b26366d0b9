"""The way to the provider's host: directly or through a proxy, encrypted or not.

Decided here once for both transports, because their own readings of `NO_PROXY` differ.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from msgspec import Struct

from batchgen.errors import JobError

DEFAULT_PORTS = {"http": 80, "https": 443}

KEEPALIVE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 60, 30, 3
"""TCP keep-alive: seconds until the first probe, seconds between probes, probes unanswered until the end."""

SOCKET_OPTIONS = [
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE", KEEPALIVE_S),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", KEEPALIVE_COUNT),
    )
    if hasattr(socket, name)
]
"""What every connection is given: level, option, value."""


class Route(Struct, frozen=True):
    """Where requests go. `origin` is `scheme://host[:port]` as all URLs begin; `proxy` may hold a password."""

    origin: str
    host: str
    proxy: str | None = None

    @property
    def proxy_host(self) -> str | None:
        """Host and port of the proxy, fit to be shown."""
        return None if self.proxy is None else urlsplit(self.proxy).netloc.rpartition("@")[2]

    def __repr__(self) -> str:
        return f"Route(origin={self.origin!r}, proxy_host={self.proxy_host!r})"


def route_to(url: str) -> Route:
    """Return the way to the host of `url`, by `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` (or lower case).

    A loopback address never goes through a proxy: it would mean the proxy's own machine. Raises `JobError` for a URL
    that is no http(s) URL with a host, and for a proxy URL likewise.
    """
    parts = _split(url, "model.base_url")
    origin = f"{parts.scheme}://{parts.netloc}"
    host = parts.netloc
    if "@" in host:
        raise JobError(
            "model.base_url has a user or password in it: put the key into the variable model.api_key_env names"
        )
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or _is_loopback(parts.hostname or "") or _is_excepted(parts, proxies.get("no", "")):
        return Route(origin, host)
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    _split(proxy, f"the proxy in {parts.scheme.upper()}_PROXY or ALL_PROXY", shown="")
    return Route(origin, host, proxy)


def is_plaintext_to_elsewhere(url: str) -> bool:
    """Whether `url` would send key and prompts unencrypted to another machine."""
    parts = urlsplit(url)
    return parts.scheme.lower() == "http" and not _is_loopback(parts.hostname or "")


def _split(url: str, what: str, *, shown: str | None = None) -> SplitResult:
    """Return the parts of `url`; `shown` replaces it in the error where it could hold a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is no number raises only when it is read
    except ValueError as error:
        raise JobError(f"{what} is no URL{f': {url!r}' if shown is None else ''} ({error})") from None
    if parts.scheme.lower() not in DEFAULT_PORTS or not parts.hostname or not url.isascii() or " " in url:
        raise JobError(f"{what} is no http:// or https:// URL with a host{f': {url!r}' if shown is None else ''}")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_excepted(parts: SplitResult, no_proxy: str) -> bool:
    """Whether `NO_PROXY` names the host: `*`, a host or its parent domain, an address or network, each with `:port`."""
    host = parts.hostname or ""
    port = parts.port or DEFAULT_PORTS[parts.scheme.lower()]
    return any(_names(entry.strip().lower(), host, port) for entry in no_proxy.split(",") if entry.strip())


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, tail = entry.rpartition(":")
    if colon and tail.isdigit() and ":" not in name:  # a second colon makes it an IPv6 address
        if int(tail) != port:
            return False
        entry = name
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        domain = entry.removeprefix("*").removeprefix(".")
        return host == domain or host.endswith(f".{domain}")
