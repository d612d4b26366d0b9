"""Rows that ask the same: which requests are one, and when sharing an answer changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from batchgen.values import Request


def request_key(request: Request) -> bytes:
    """Return 16 bytes that two requests share if, and only if for all practice, they are the same to the provider.

    URL, body, headers (in any order) and the way of answering count. A key is no secret, but it comes from a prompt.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (
        request.url.encode(),
        b"stream" if request.streamed else b"whole",
        request.body,
        *(f"{name.lower()}:{request.headers[name]}".encode() for name in sorted(request.headers, key=str.lower)),
    ):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def dedupe_default(parameters: Mapping[str, Any]) -> bool:
    """Return whether rows with one request share its answer when the job does not say: temperature 0 or a fixed seed.

    A value that comes from a column (a table) is neither; `extra_body` counts as if written at the top.
    """
    extra = parameters.get("extra_body")
    merged = {**parameters, **extra} if isinstance(extra, Mapping) else parameters
    temperature, seed = merged.get("temperature"), merged.get("seed")
    is_zero = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    return is_zero or (isinstance(seed, int) and not isinstance(seed, bool))
