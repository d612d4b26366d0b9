"""What can go wrong between this process and the provider. Each transport maps its own exceptions to these."""

from __future__ import annotations

import errno
import socket
import ssl

from msgspec import Struct

from batchgen.secret import Secrets
from batchgen.transport.route import Route
from batchgen.values import Failure, FailureKind, Verdict

OPEN_FILES_ERRORS = frozenset({errno.ENFILE, errno.EMFILE, errno.EBUSY})
"""No file descriptor left for a socket, in the system or in this process; EBUSY is what glibc's resolver says then."""


class Trouble(Struct, frozen=True):
    """One way to fail. `code` becomes `error_code`; `{host}`, `{proxy}` and `{limit_s}` may stand in `text`."""

    code: str
    text: str
    kind: FailureKind = FailureKind.NETWORK
    verdict: Verdict = Verdict.RETRY
    unsent: bool = False
    """No byte of the request has been sent: it cannot have been billed."""
    unanswered: bool = False
    """No reply had begun: on a kept connection this is the ordinary end of an idle one."""


DNS = Trouble("dns", "the name {host} cannot be resolved", unsent=True)
CONNECT = Trouble("connect", "no connection to {host}", unsent=True)
CONNECT_TIMEOUT = Trouble("connect_timeout", "no connection to {host} in time", FailureKind.TIMEOUT, unsent=True)
OPEN_FILES = Trouble(
    "fd_limit",
    "no file descriptor is left for a connection to {host}: lower limits.concurrency or raise `ulimit -n`",
    verdict=Verdict.WAIT,  # a limit of this machine, which passes when fewer requests are in flight
    unsent=True,
)
CERTIFICATE = Trouble(
    "tls_certificate",
    "the certificate of {host} cannot be trusted; for a private authority set SSL_CERT_FILE to its PEM file",
    FailureKind.ENDPOINT,
    Verdict.STOP,
    unsent=True,
)
NOT_TLS = Trouble(
    "tls_protocol",
    "{host} does not speak TLS: is it an http:// address, or another port?",
    FailureKind.ENDPOINT,
    Verdict.STOP,
    unsent=True,
)
TLS = Trouble("tls", "no TLS connection to {host}", unsent=True)
PROXY_LOGIN = Trouble(
    "proxy_login",
    "the proxy {proxy} wants a user and password: put them into the proxy's URL",
    FailureKind.ENDPOINT,
    Verdict.STOP,
    unsent=True,
)
PROXY = Trouble("proxy", "no connection to {host}", unsent=True)
CLOSED = Trouble("closed", "{host} closed the connection before its reply", unanswered=True)
CUT = Trouble("cut", "the reply of {host} broke off")
DEADLINE = Trouble("timeout", "no whole reply from {host} within {limit_s:g} s", FailureKind.TIMEOUT)
SILENCE = Trouble("silence", "no byte from {host} for {limit_s:g} s", FailureKind.TIMEOUT)
BAD_HTTP = Trouble("bad_http", "the reply of {host} is no valid HTTP", FailureKind.UNREADABLE)
BAD_ENCODING = Trouble("bad_encoding", "the reply of {host} cannot be decompressed", FailureKind.UNREADABLE)
TOO_LARGE = Trouble("too_large", "the reply of {host} is larger than any answer", FailureKind.UNREADABLE)
UNSENDABLE = Trouble(
    "unsendable", "the request cannot be sent to {host}", FailureKind.INVALID_REQUEST, Verdict.STOP, unsent=True
)
FOREIGN = Trouble(
    "foreign_host",
    "the request is for another host than {host}, where the key must not go",
    FailureKind.ENDPOINT,
    Verdict.STOP,
    unsent=True,
)
CLOSED_HERE = Trouble("closed_here", "the transport was closed during the request")

CONNECT_ERRORS: tuple[tuple[type[BaseException], str, Trouble], ...] = (
    (ssl.SSLCertVerificationError, "", CERTIFICATE),
    (ssl.SSLError, "WRONG_VERSION_NUMBER", NOT_TLS),
    (ssl.SSLError, "RECORD_LAYER_FAILURE", NOT_TLS),
    (ssl.SSLError, "", TLS),
    (socket.gaierror, "", DNS),
)
"""The operating system's errors while connecting: class, words in the message, meaning. The first match counts."""


def failure(
    trouble: Trouble, route: Route, secrets: Secrets, detail: str, *, limit_s: float = 0.0, reused: bool = False
) -> Failure:
    """Return the `Failure` for a trouble. `detail` (class and message of the exception) is appended, secrets masked."""
    host = route.host if route.proxy is None else f"{route.host} by way of the proxy {route.proxy_host}"
    text = trouble.text.format(host=host, proxy=route.proxy_host, limit_s=limit_s)
    message = f"{text} ({detail})" if detail else text
    return Failure(
        trouble.kind,
        trouble.verdict,
        secrets.mask(message),
        code=trouble.code,
        maybe_billed=not trouble.unsent,
        stale=trouble.unanswered and reused,
    )
