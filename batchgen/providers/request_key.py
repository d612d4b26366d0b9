"""What makes two requests the same: one key for a request, by which rows share an answer and find an earlier one.

The key is a hash of everything in the request as it is sent, with its fields in the order of their names. Left out is
only what carries it and cannot change the answer (`CARRIERS`, `CARRYING_HEADERS`), the server's host, and secrets. What
is not known here counts: a needless difference costs one more request, a missing one a wrong answer.

The limit of an answer (`LIMITS`) is no part of the hash but stands behind it in the key. The model does not know it: an
answer that came to its own end is what would have come under any limit that has room for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from batchgen.providers import open_provider, wire_of
from batchgen.providers.auth import public_url
from batchgen.providers.protocol import ModelSettings
from batchgen.providers.request_parts import encoder, ends_in_text, from_column
from batchgen.tokens.parameters import effective_parameters
from batchgen.values import KEY_HASH_BYTES, Message, Prompt

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

LIMITS = ("max_tokens", "max_completion_tokens")
"""Parameters that cut an answer and do not change it before."""

_LIMIT_BYTES = 4
_PIECE, _LONG_BODY = 2_047, 100_000
_FORMS = {1: b"batchgen request 1", 2: b"batchgen request 2"}
"""Another number for other rules, so that no key of the old ones is taken for a new one. In the first form a limit was
hashed with all else; earlier runs are still found by it."""
_USUAL_PATHS = (
    "/generation",
    "/text-generation",
    "/multimodal-generation",
    "/services/aigc",
    "/chat/completions",
    "/messages",
    "/v1",
    "/api",
    "/compatible-mode",
    "/openai",
)


class _Beginning(NamedTuple):
    """The messages that a prompt has before its last one; the hash of its body up to there, and up to the last one's
    text."""

    messages: Sequence[Message]
    hashed: hashlib.blake2b
    to_text: hashlib.blake2b


class RequestKeys:
    """Gives the keys of a job's requests, which are those of its ordinary calls in any lane.

    `settings` are for these calls; `response` are the settings that decide how answers are read; `form` is that of the
    keys, `attach` says how files are sent: they count by their bytes."""

    def __init__(
        self,
        provider: str,
        settings: ModelSettings,
        response: Mapping[str, Any] | None = None,
        *,
        form: int = 2,
        attach: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = settings
        self._given = provider, response, attach
        self._form = form
        self.other_models: tuple[str, ...] = ()  # names that endpoints of the job ask for in place of its own
        omitted = {*settings.omit} - {"model"}  # Azure has the model in its path: it was asked all the same
        omit = omitted | CARRIERS | ({*LIMITS} if form > 1 else set())
        canonical = msgspec.structs.replace(
            settings, headers={}, omit=tuple(omit), parameters=settings.parameters, canonical=True
        )
        self._provider = open_provider(provider, canonical)
        headers = {name.lower(): value for name, value in settings.headers.items()}
        constant = {
            "provider": wire_of(provider),
            "path": _own_path(self._provider.build_request(Prompt(), stream=False).url),
            "headers": {name: value for name, value in headers.items() if name not in CARRYING_HEADERS},
            "response": response,
            **({} if attach is None else {"attach": attach}),
        }
        first = _FORMS[form] + msgspec.json.encode(constant, order="sorted")
        self._base = hashlib.blake2b(first, digest_size=KEY_HASH_BYTES)
        self._encode = encoder(canonical=True)
        self._plain = self._base.copy()  # for prompts that are nothing but messages of text, which nearly all are
        before, messages, after = self._body(Prompt()).partition(b'"messages":[]')
        self._plain.update(before + messages[:-1])
        self._after = messages[-1:] + after
        self._after_text = b',"role":"user"}' + self._after
        probe = Prompt(messages=[{"role": "user", "content": "?"}])
        whole = before + messages[:-1] + self._encode(probe.messages[0]) + self._after
        self._limit, unusual = self._limit_of(None)
        self._has_plain = self._body(probe) == whole and not unusual
        self._beginning = _Beginning(
            [], self._plain, _opened(self._plain)
        )  # of the last prompt: most have the same but for their last message

    def _body(self, prompt: Prompt) -> bytes:
        return self._provider.build_request(prompt, stream=False).body

    def of(self, prompt: Prompt, text: bytes | None = None) -> bytes:
        """Return the bytes that two prompts share if, and only if for all practice, they are the same request. `text`
        is `last_text(prompt)`, where that is known."""
        if self._has_plain and (text is not None or ends_in_text(prompt)):  # the same bytes, with half the work
            known, before = self._beginning, prompt.messages[:-1]
            beginning = known if known.messages == before else self._begin(before)
            if beginning is not None:
                if text is None:
                    key = beginning.hashed.copy()
                    _feed(key, self._encode(prompt.messages[-1]) + self._after)
                else:
                    key = beginning.to_text.copy()
                    _feed(key, text)
                    key.update(self._after_text)
                return key.digest() + self._limit
        key = self._base.copy()
        _feed(key, self._body(prompt))
        for attachment in prompt.attached:
            key.update(attachment.digest)
        limit, unusual = self._limit_of(prompt.parameters)
        key.update(unusual)
        return key.digest() + limit

    def _begin(self, messages: Sequence[Message]) -> _Beginning | None:
        """Return the hash of a body up to its last message, after these; None if not all of them are texts."""
        if any(type(message.get("content")) is not str for message in messages):
            return None
        hashed = self._plain.copy()
        if messages:
            _feed(hashed, self._encode(messages)[1:-1] + b",")
        self._beginning = _Beginning(messages, hashed, _opened(hashed))
        return self._beginning

    @cached_property
    def before(self) -> RequestKeys:
        """The keys of the form before this one."""
        provider, response, attach = self._given
        return RequestKeys(provider, self.settings, response, form=1, attach=attach)

    def _limit_of(self, own: Mapping[str, Any] | None) -> tuple[bytes, bytes]:
        """Return the end of a key: the limit; and what is to be hashed where a limit is not one usual number."""
        if self._form == 1:
            return b"", b""
        parameters = effective_parameters(self.settings.parameters, own)
        given = {name: parameters[name] for name in LIMITS if parameters.get(name) is not None}
        given = {name: v for name, v in given.items() if name not in self.settings.omit and not from_column(v)}
        values = [*given.values()]
        if len(values) == 1 and type(values[0]) is int and 0 < values[0] < 256**_LIMIT_BYTES:
            return values[0].to_bytes(_LIMIT_BYTES), b""
        return bytes(_LIMIT_BYTES), msgspec.json.encode(given, order="sorted") if given else b""

    def at(self, key: bytes, model: str) -> bytes:
        """Return the key of the request with this key where another model is asked."""
        if model not in self.other_models:
            return key
        named = hashlib.blake2b(key[:KEY_HASH_BYTES] + model.encode(), digest_size=KEY_HASH_BYTES)
        return named.digest() + key[KEY_HASH_BYTES:]

    def all(self, key: bytes) -> list[bytes]:
        """Return the key with those that the same request has at other endpoints."""
        return [key, *(self.at(key, model) for model in self.other_models)]


def limit_in(key: bytes) -> int | None:
    """Return the limit that stands in a key; None where there is none, or none that is a usual number."""
    return int.from_bytes(key[KEY_HASH_BYTES:]) or None


def _feed(key: hashlib.blake2b, body: bytes) -> None:
    """Hash a body in pieces of less than 2,048 bytes: with more at once hashlib hands the interpreter to the other
    threads of the run, and the event loop waits until it gets it back."""
    size = len(body)
    if size <= _PIECE or size > _LONG_BODY:
        key.update(body)
        return
    for start in range(0, size, _PIECE):
        key.update(body[start : start + _PIECE])


def _opened(hashed: hashlib.blake2b) -> hashlib.blake2b:
    """Return a hash that ends where the text of the next message begins."""
    opened = hashed.copy()
    opened.update(b'{"content":')
    return opened


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
