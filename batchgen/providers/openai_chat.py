"""Chat completions: OpenAI, DashScope's compatible mode, vLLM, llama.cpp, `transformers serve`, LiteLLM.

https://github.com/openai/openai-openapi. Parameters stand at the top level of the body, vendors' own fields too;
a table `extra_body` is merged into the top level as the OpenAI SDK does. Streams ask for usage
(`stream_options.include_usage`) unless the job's `stream_options` say otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from batchgen.prompts.messages import as_messages
from batchgen.providers.auth import key_headers
from batchgen.providers.parameter_checks import remarks, stop_strings
from batchgen.providers.protocol import ModelSettings, Remark
from batchgen.providers.quick_decode import chat_reply
from batchgen.providers.reader import Exchange, ReplyShape, read_exchange
from batchgen.providers.reply_fields import find_chat_choice
from batchgen.providers.request_parts import (
    constant_parameters,
    encoder,
    members,
    with_user_headers,
    without,
)
from batchgen.providers.vendor import Finding, Vendor
from batchgen.secret import Secret, SecretHeader
from batchgen.tokens.parameters import effective_parameters
from batchgen.values import Completion, Failure, Prompt, Request, Response

_PATH = "/chat/completions"
_OTHER_ENDPOINTS = ("/completions", "/responses", "/messages", "/embeddings", "/models", "/generate")


def endpoint(base_url: str, vendor: Vendor) -> str:
    """Return the URL of the calls under `base_url`.

    - a host alone: the vendor's root and `/chat/completions` are added, mostly `/v1/chat/completions`;
    - a path, as the SDK wants it (`.../v1`, `.../openai`): `/chat/completions` is added;
    - a URL that ends in `/chat/completions`: used as it is.

    A query string (Azure's `api-version`) stays where it is.
    """
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/") or vendor.chat_root
    above, _, version = vendor.chat_root.rpartition("/")
    if above and path.endswith(above):
        path += f"/{version}"
    if not path.endswith(_PATH):
        path += _PATH
    return urlunsplit(parts._replace(path=path))


class OpenAIChat:
    """Chat completions bound to one model's settings. `clock` (Unix seconds) only measures dates in headers."""

    def __init__(self, settings: ModelSettings, vendor: Vendor, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._url = endpoint(settings.base_url, vendor)
        self._vendor = vendor
        self._omit = (*settings.omit, *vendor.omits)
        self._encode = encoder(canonical=settings.canonical)
        self._constant = constant_parameters(settings.parameters)
        self._headers = {
            stream: with_user_headers(
                {"Content-Type": "application/json", "Accept": "text/event-stream" if stream else "application/json"},
                settings.headers,
            )
            for stream in (False, True)
        }
        self._head = self._head_for(settings.name)
        self._tail = {stream: self._tail_for(None, stream) for stream in (False, True)}

    def headers(self, key: Secret | None) -> list[SecretHeader]:
        """Return the headers that show the key to the server. The provider itself never holds it."""
        return key_headers(self._vendor, "openai", self._settings.api_key_header, key)

    def build_request(self, prompt: Prompt, *, stream: bool) -> Request:
        """Return the request for one prompt. The older text form becomes messages: there is no other form here."""
        messages = prompt.messages if prompt.text is None else as_messages(prompt)
        if prompt.model is None and prompt.parameters is None:
            model, head, tail = self._settings.name, self._head, self._tail[stream]
        else:
            model = prompt.model or self._settings.name
            head = self._head_for(model)
            tail = self._tail_for(prompt.parameters, stream)
        return Request(self._url, head + self._encode(messages) + tail, self._headers[stream], stream, model)

    def _head_for(self, model: str) -> bytes:
        """Return the beginning of the body."""
        named = b"" if "model" in self._settings.omit else b'"model":' + self._encode(model) + b","
        return b"{" + named + b'"messages":'

    def _tail_for(self, own: Mapping[str, Any] | None, stream: bool) -> bytes:
        """Return the end of the body. `stream_options` go out with streams only: unstreamed they are refused."""
        fields = effective_parameters(self._constant, own)
        if stream:
            fields["stream"] = True
            fields.setdefault("stream_options", {"include_usage": True})
        else:
            fields.pop("stream", None)
            fields.pop("stream_options", None)
        fields = without(fields, self._omit)
        return b"," + members(fields, self._encode) + b"}" if fields else b"}"

    def read_response(self, request: Request, response: Response) -> Completion | Failure:
        """Return what a whole response means. Never raises, whatever the bytes are."""
        exchange = Exchange(request, response, self._vendor.errors, self._settings.name, self._clock())
        return read_exchange(exchange, SHAPE)

    def must_stream(self, model: str) -> bool:
        """Whether this model, with the settings' parameters, is known to answer streamed requests only."""
        return self._vendor.streams_only(model, effective_parameters(self._settings.parameters))

    def remarks(self) -> list[Remark]:
        """Return what is wrong or doubtful in the settings, known ranges and forbidden combinations included."""
        settings = self._settings
        parameters = effective_parameters(settings.parameters)
        own = _findings(settings, parameters)
        return remarks(settings, self._vendor, parameters, may_omit=("model", "stream_options"), own=own)


def _findings(settings: ModelSettings, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what chat completions alone refuse, and addresses of other endpoints of the same servers."""
    yield from stop_strings(parameters, token_ids=False)
    if not isinstance(settings.parameters.get("extra_body", {}), Mapping):
        yield "parameters.extra_body", "must be a table: its fields are sent at the top level", True
    parts = urlsplit(settings.base_url)
    path = parts.path.rstrip("/")
    if "/services/aigc/" in path:
        yield "base_url", 'is the native DashScope API: set model.provider = "dashscope", or give the host alone', True
    if path.endswith(_OTHER_ENDPOINTS) and not path.endswith(_PATH):
        yield "base_url", f"names another endpoint than chat completions: leave /{path.rpartition('/')[2]} out", True


SHAPE = ReplyShape(chat_reply, find_chat_choice, whole_messages=True)
"""How replies of chat completions are taken apart."""
