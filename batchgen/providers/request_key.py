"""What makes two requests the same: one key for a request, by which rows share an answer and find an earlier one.

The key is a hash of everything in the request as it is sent, with its fields in the order of their names. Left out is
only what carries it and cannot change the answer (`CARRIERS`, `CARRYING_HEADERS`), the server's host, and secrets. What
is not known here counts: a needless difference costs one more request, a missing one a wrong answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from batchgen.providers import open_provider, wire_of
from batchgen.providers.auth import public_url
from batchgen.providers.protocol import ModelSettings
from batchgen.values import Prompt

CARRIERS = frozenset({"stream", "stream_options", "incremental_output", "service_tier"})
"""Fields of a body that say how the answer is to come: in pieces or whole, and with which priority, at which price."""

CARRYING_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "user-agent",
        "x-accel-buffering",
        "x-dashscope-sse",
    }
)
"""Headers that say how the answer is to come, in lower case."""

_FORM = b"batchgen request 1"  # another number for other rules, so that no key of the old ones is taken for a new one
_USUAL_PATHS = (
    "/generation",
    "/text-generation",
    "/multimodal-generation",
    "/services/aigc",
    "/chat/completions",
    "/v1",
    "/api",
    "/compatible-mode",
    "/openai",
)


class RequestKeys:
    """Gives the keys of a job's requests. `response` are the settings that decide how answers are read."""

    def __init__(self, provider: str, settings: ModelSettings, response: Mapping[str, Any] | None = None) -> None:
        omitted = {*settings.omit} - {"model"}  # Azure has the model in its path: it was asked all the same
        canonical = msgspec.structs.replace(
            settings, headers={}, omit=tuple(omitted | CARRIERS), parameters=settings.parameters, canonical=True
        )
        self._provider = open_provider(provider, canonical)
        headers = {name.lower(): value for name, value in settings.headers.items()}
        constant = {
            "provider": wire_of(provider),
            "path": _own_path(self._provider.build_request(Prompt(), stream=False).url),
            "headers": {name: value for name, value in headers.items() if name not in CARRYING_HEADERS},
            "response": response,
        }
        self._base = hashlib.blake2b(_FORM + msgspec.json.encode(constant, order="sorted"), digest_size=16)

    def of(self, prompt: Prompt) -> bytes:
        """Return the 16 bytes that two prompts share if, and only if for all practice, they are the same request."""
        key = self._base.copy()
        key.update(self._provider.build_request(prompt, stream=False).body)
        return key.digest()


def _own_path(url: str) -> str:
    """Return what a URL has beside the host and the usual path of its calls: a deployment, a gateway's route."""
    parts = urlsplit(public_url(url))
    path = parts.path
    while (shorter := _without_end(path)) != path:
        path = shorter
    return f"{path}?{parts.query}" if parts.query else path


def _without_end(path: str) -> str:
    for end in _USUAL_PATHS:
        path = path.removesuffix(end)
    return path
