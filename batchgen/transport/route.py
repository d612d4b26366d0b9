"""The route to the provider's host: directly or through a proxy, encrypted or not.

It is decided here for both transports, because httpx and httpcore read `NO_PROXY` in their own ways.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from msgspec import Struct

from batchgen.errors import JobError

DEFAULT_PORTS = {"http": 80, "https": 443}

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%(?:[01][0-9A-Fa-f]|7[Ff])")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PLACEHOLDER = re.compile(r"<[^>]*>|\$?\{[^}]*\}|YOUR[-_]\w+")

KEEPALIVE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 60, 30, 3
"""TCP keep-alive: seconds until the first probe, seconds between probes, unanswered probes until the connection
ends."""

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
"""The options of every socket: level, option, value."""


class Route(Struct, frozen=True):
    """Where requests go. `origin` is `scheme://host[:port]`, with which all URLs begin; `proxy` may hold a password."""

    origin: str
    host: str
    proxy: str | None = None

    @property
    def proxy_host(self) -> str | None:
        """Host and port of the proxy, without user and password."""
        return None if self.proxy is None else urlsplit(self.proxy).netloc.rpartition("@")[2]

    def __repr__(self) -> str:
        return f"Route(origin={self.origin!r}, proxy_host={self.proxy_host!r})"


def route_to(url: str) -> Route:
    """Return the route to the host of `url`, as set by `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` (or lower
    case).

    A loopback address never goes through a proxy: it would mean the proxy's own machine. Raises `JobError` for a URL
    that cannot work, and for a proxy that cannot be used.
    """
    parts = _parts(url, _problem_with(url))
    origin = f"{parts.scheme}://{parts.netloc}"
    host = parts.netloc
    if host.startswith("[") and not socket.has_ipv6:
        raise JobError(f"model.base_url has an IPv6 address ({host}), and this system has no IPv6")
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or _is_loopback(parts.hostname or "") or _is_excepted(parts, proxies.get("no", "")):
        return Route(origin, host)
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    _check_proxy(proxy, parts, host)
    return Route(origin, host, proxy)


def check_url(url: str) -> SplitResult:
    """Return the parts of `model.base_url`. Raises `JobError`, with the reason, for one that can never work.

    Stricter than `route_to`: it also looks at the host's name, which the system would only refuse at the first request.
    """
    return _parts(url, _problem_with(url) or _problem_with_host(url))


def _parts(url: str, reason: str | None) -> SplitResult:
    if reason is not None:
        shown = "" if "@" in url else f" is {url!r}, which"
        raise JobError(f"model.base_url{shown} {reason}")
    return urlsplit(url)


def _problem_with(url: str) -> str | None:
    """Return what is wrong with an address, None for one that may work."""
    if any(not " " < letter < "\x7f" for letter in url):
        return "has a blank, a control character or a letter outside ASCII in it"
    if (placeholder := _PLACEHOLDER.search(url)) is not None:
        return f"still has the placeholder {placeholder[0]} in it: write the real value in its place"
    try:
        parts = urlsplit(url)
        port = parts.port  # a port that is not a number raises only when it is read
    except ValueError as error:
        return f"is no URL: {error}"
    host = parts.hostname
    if parts.scheme.lower() not in DEFAULT_PORTS or not host:
        return "is no http:// or https:// URL with a host"
    if "@" in parts.netloc:
        return "has a user or password in it: put the key into the variable that model.api_key_env names"
    if port == 0 or parts.netloc.endswith(":"):
        return "has no port after the colon"
    if (escape := _BAD_ESCAPE.search(url)) is not None:
        return f"has {url[escape.start() : escape.start() + 3]!r} in it, which is no character that a URL may have"
    if "\\" in url or parts.fragment or url.endswith("#"):
        return "has a backslash or a # in it, which no server is sent"
    return None


def _problem_with_host(url: str) -> str | None:
    """Return what is wrong with the host of an address that is otherwise right."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    labels = host.removesuffix(".").split(".")
    address = len(labels) == 4 and all(label.isdigit() for label in labels)
    named = len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
    if parts.netloc.startswith("[") or (named and not (address and any(int(label) > 255 for label in labels))):
        return None
    return f"has a host that no name or address can be: {host!r}"


def _check_proxy(proxy: str, target: SplitResult, host: str) -> None:
    """Raise `JobError` for a proxy that cannot be used; the message shows no password."""
    where = f"the proxy in {target.scheme.upper()}_PROXY or ALL_PROXY"
    try:
        parts = urlsplit(proxy)
        _ = parts.port
    except ValueError:
        raise JobError(f"{where} is no URL") from None
    if parts.scheme.lower().startswith("socks"):
        raise JobError(
            f"{where} is a SOCKS proxy, which batchgen does not speak: name an http:// proxy there, "
            f"or set NO_PROXY={host} to connect directly"
        )
    if parts.scheme.lower() not in DEFAULT_PORTS or not parts.hostname or not proxy.isascii() or " " in proxy:
        raise JobError(f"{where} is no http:// or https:// URL with a host")


def is_plaintext_to_elsewhere(url: str) -> bool:
    """Whether `url` would send key and prompts unencrypted to another machine."""
    parts = urlsplit(url)
    return parts.scheme.lower() == "http" and not _is_loopback(parts.hostname or "")


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
