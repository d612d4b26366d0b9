"""How a server is shown the key, and which headers and parts of an address are likely secrets.

Most servers take `Authorization: Bearer KEY`; a vendor says where its key goes elsewhere (`Vendor.key_headers`).
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from batchgen.providers.vendor import Vendor, WireName
from batchgen.secret import Secret, SecretHeader

_SCHEME = re.compile(r"(?:Bearer|Basic|Token|Api-?Key|Key) +(?=\S)", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"key|token|secret|auth|passw|credential|cookie|signature|session|^(?:code|sig|pat|jwt)$", re.IGNORECASE
)
_NO_SECRET = re.compile(r"tokens|keyword|author(?!i)|idempotency", re.IGNORECASE)
_MASK = "***"

KEY_HEADERS = frozenset({"authorization", "api-key", "x-api-key"})
"""Headers that hold nothing but a key, in lower case."""


def key_header(vendor: Vendor, wire: WireName, named: str | None) -> str:
    """Return the name of the header that carries the key: the one that the job names, else the vendor's own."""
    return named or vendor.key_headers.get(wire, "Authorization")


def key_headers(vendor: Vendor, wire: WireName, named: str | None, key: Secret | None) -> list[SecretHeader]:
    """Return the headers that show the key to the server; none without a key."""
    name = key_header(vendor, wire, named)
    return [] if key is None else [SecretHeader(name, key, "Bearer " if name.lower() == "authorization" else "")]


def secret_header(name: str, value: str) -> SecretHeader:
    """Return a header with its whole value as the secret, but for a scheme such as `Bearer` before it."""
    scheme = _SCHEME.match(value)
    return SecretHeader(name, Secret(value[scheme.end() :]), scheme[0]) if scheme else SecretHeader(name, Secret(value))


def is_secret_name(name: str) -> bool:
    """Whether a header or a parameter of an address is likely to hold a secret, by its name."""
    return _SECRET_NAME.search(name) is not None and _NO_SECRET.search(name) is None


def query_secrets(url: str) -> list[Secret]:
    """Return the secrets that stand in the query of an address, as they are written there and as they are meant."""
    found = {
        form: Secret(form)
        for name, value in parse_qsl(urlsplit(url).query)
        if is_secret_name(name)
        for form in (value, quote(value, safe=""))
    }
    return list(found.values())


def public_url(url: str) -> str:
    """Return an address with the secrets of its query masked."""
    parts = urlsplit(url)
    fields = []
    for field in parts.query.split("&"):
        name, _, value = field.partition("=")
        fields.append(f"{name}={_MASK}" if value and is_secret_name(name) else field)
    return urlunsplit(parts._replace(query="&".join(fields)))
