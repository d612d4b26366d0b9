"""The DashScope native text-generation API. https://docs.qwencloud.com/api-reference/chat/dashscope

Request: `{"model", "input": {"messages"} | {"prompt", "history"?}, "parameters": {...}}`. `parameters` is always sent
(a missing object can give `BadRequest.EmptyParameters`), with `result_format = "message"` unless the job says
otherwise. Streaming is asked for by header, never in the body; then `incremental_output` is true unless the job says
otherwise or `tools` forbid it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from msgspec import structs

from batchgen.prompts.messages import as_messages
from batchgen.providers.auth import key_headers
from batchgen.providers.openai_chat import OpenAIChat
from batchgen.providers.parameter_checks import remarks, stop_strings
from batchgen.providers.protocol import ModelSettings, Remark
from batchgen.providers.quick_decode import native_reply
from batchgen.providers.reader import Exchange, ReplyShape, read_exchange
from batchgen.providers.reply_fields import Choice, find_chat_choice
from batchgen.providers.request_parts import (
    constant_parameters,
    encoder,
    from_column,
    with_user_headers,
    without,
)
from batchgen.providers.vendor import Finding, Vendor
from batchgen.providers.vendors.dashscope import is_multimodal, needs_increments
from batchgen.secret import Secret, SecretHeader
from batchgen.tokens.parameters import with_row_parameters
from batchgen.values import Completion, Failure, Message, Prompt, Request, Response

TEXT_PATH = "/services/aigc/text-generation/generation"
MULTIMODAL_PATH = "/services/aigc/multimodal-generation/generation"

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
_SSE = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
    "X-DashScope-SSE": "enable",
    "X-Accel-Buffering": "no",  # asks proxies not to hold frames back, as the official SDK does
}
# In a body of ours this can only be the parameter: inside a string the quotes would be escaped.
_CUMULATIVE = b'"incremental_output":false'
_MEDIA = ("image", "video", "audio", "image_url", "video_url", "input_audio")


def endpoint(base_url: str, *, multimodal: bool) -> str:
    """Return the URL of the calls under `base_url`.

    - a host, or a path that is no API root (a gateway's prefix): `/api/v1/services/aigc/...` is added;
    - a URL that ends in `/api/v1`, as the SDK wants it: `/services/aigc/...` is added;
    - a complete endpoint, ending in `/generation`: used as it is, whatever the model.

    A query string stays where it is. `multimodal` chooses `multimodal-generation` where there is a choice.
    """
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if not path.endswith("/generation"):
        root = path.removesuffix("/v1").removesuffix("/api")
        path = root + "/api/v1" + (MULTIMODAL_PATH if multimodal else TEXT_PATH)
    return urlunsplit(parts._replace(path=path))


class DashScopeNative:
    """The native format bound to one model's settings. `clock` (Unix seconds) only measures dates in headers."""

    def __init__(self, settings: ModelSettings, vendor: Vendor, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._vendor = vendor
        self._clock = clock
        self._text_url = endpoint(settings.base_url, multimodal=False)
        self._multimodal_url = endpoint(settings.base_url, multimodal=True)
        self._encode = encoder(canonical=settings.canonical)
        self._constant = {"result_format": "message", **constant_parameters(settings.parameters)}
        self._headers = {
            stream: with_user_headers(_SSE if stream else _JSON, settings.headers) for stream in (False, True)
        }
        self._head = b'{"model":' + self._encode(settings.name) + b',"input":'
        self._tail = {stream: self._parameters(settings.name, None, stream) for stream in (False, True)}
        self._multimodal = self._is_multimodal(settings.name)

    def headers(self, key: Secret | None) -> list[SecretHeader]:
        """Return the headers that show the key to the server. The provider itself never holds it."""
        return key_headers(self._vendor, "dashscope", self._settings.api_key_header, key)

    def build_request(self, prompt: Prompt, *, stream: bool) -> Request:
        """Return the request for one prompt. Costs about the encoding of its messages."""
        model = prompt.model
        if model is None and prompt.parameters is None:
            model, head, tail, multimodal = self._settings.name, self._head, self._tail[stream], self._multimodal
        else:
            model = model or self._settings.name
            head = b'{"model":' + self._encode(model) + b',"input":'
            tail = self._parameters(model, prompt.parameters, stream)
            multimodal = self._is_multimodal(model)
        if prompt.text is None:
            multimodal = multimodal or _has_media(prompt.messages)
            asked: Any = {"messages": _as_parts(prompt.messages) if multimodal else prompt.messages}
        else:
            asked = _prompt_input(prompt, multimodal)
        url = self._multimodal_url if multimodal else self._text_url
        return Request(url, head + self._encode(asked) + tail, self._headers[stream], stream, model)

    def read_response(self, request: Request, response: Response) -> Completion | Failure:
        """Return what a whole response means. Never raises, whatever the bytes are."""
        exchange = Exchange(request, response, self._vendor.errors, self._settings.name, self._clock())
        # Left out, it is false: frames repeat the text so far.
        cumulative = request.streamed and (_CUMULATIVE in request.body or "incremental_output" in self._settings.omit)
        return read_exchange(exchange, CUMULATIVE_SHAPE if cumulative else SHAPE)

    def must_stream(self, model: str) -> bool:
        """Whether this model, with the settings' parameters, is known to answer streamed requests only."""
        return self._vendor.streams_only(model, self._settings.parameters)

    def remarks(self) -> list[Remark]:
        """Return what is wrong or doubtful in the settings, known ranges and forbidden combinations included."""
        settings = self._settings
        own = _findings(settings, settings.parameters)
        may_omit = ("result_format", "incremental_output")
        return remarks(settings, self._vendor, settings.parameters, may_omit=may_omit, own=own)

    def _parameters(self, model: str, own: Mapping[str, Any] | None, stream: bool) -> bytes:
        """Return the end of the body. With `tools`, models that do not insist on increments get cumulative frames:
        older pages forbid the two together, and cumulative frames are right everywhere else."""
        parameters = with_row_parameters(self._constant, own)
        if stream and "incremental_output" not in parameters:
            incremental = not parameters.get("tools") or needs_increments(model, parameters)
            parameters["incremental_output"] = incremental
        return b',"parameters":' + self._encode(without(parameters, self._settings.omit)) + b"}"

    def _is_multimodal(self, model: str) -> bool:
        """A complete endpoint in `base_url` decides; else the model's name."""
        if self._text_url == self._multimodal_url:
            return urlsplit(self._text_url).path.endswith(MULTIMODAL_PATH)
        return is_multimodal(model)


def _findings(settings: ModelSettings, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what the native format alone refuses."""
    model, path = settings.name, urlsplit(settings.base_url).path
    if "compatible-mode" in path or path.endswith("/chat/completions"):
        yield "base_url", 'is the chat-completions API: set model.provider = "openai", or give the host alone', True
    form = parameters.get("result_format")
    if form is not None and not from_column(form) and form not in ("text", "message"):
        yield "parameters.result_format", f'must be "message" or "text", not {form!r}', True
    if form == "text":
        if "tools" in parameters:
            yield "parameters.result_format", 'must be "message" with tools', True
        if parameters.get("enable_thinking") is True:
            yield "parameters.result_format", 'must be "message" while thinking', True
    increments = parameters.get("incremental_output")
    if increments is False and needs_increments(model, parameters):
        yield "parameters.incremental_output", f"{model} streams only with true; leave it out", True
    if increments is True and "tools" in parameters and not needs_increments(model, parameters):
        known = model.startswith("qwen")
        yield "parameters.incremental_output", "cannot be combined with tools; leave it out", known
    if "output_in_full" in parameters:
        yield (
            "parameters.output_in_full",
            "is from an old page and has no effect; the name is incremental_output",
            False,
        )
    yield from stop_strings(parameters, token_ids=True)


def _has_media(messages: Sequence[Message]) -> bool:
    """Whether a message shows more than text, which only the multimodal path takes."""
    for message in messages:
        content = message.get("content")
        if (
            type(content) is not str
            and isinstance(content, Sequence)
            and any(name in part for part in content if isinstance(part, Mapping) for name in _MEDIA)
        ):
            return True
    return False


def _as_parts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the messages with `content` as the list that the multimodal path wants."""
    return [{**message, "content": _parts(message.get("content"))} for message in messages]


def _parts(content: Any) -> Any:
    if isinstance(content, str):
        return [{"text": content}]
    if isinstance(content, Sequence):
        return [_native_part(part) for part in content]
    return content


def _native_part(part: Any) -> Any:
    """Return a part in the native form: chat completions' `{"type": "image_url", ...}` becomes `{"image": url}`."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text":
        return {"text": part.get("text")}
    for theirs, native in (("image_url", "image"), ("video_url", "video")):
        if kind == theirs:
            place = part.get(theirs)
            return {native: place.get("url") if isinstance(place, Mapping) else place}
    return part


def _prompt_input(prompt: Prompt, multimodal: bool) -> dict[str, Any]:
    """Return `input` for a prompt given as text, by the SDK's rules: with `messages` it is the last user message."""
    if multimodal:
        return {"messages": _as_parts(as_messages(prompt))}
    if prompt.history:
        return {"prompt": prompt.text, "history": prompt.history}
    if prompt.messages:
        return {"messages": [*prompt.messages, {"role": "user", "content": prompt.text}]}
    return {"prompt": prompt.text}


class DashScopeInChatForm(OpenAIChat):
    """A job of the native format sent as chat completions, as Batch Chat wants it: parts of messages are converted."""

    def build_request(self, prompt: Prompt, *, stream: bool) -> Request:
        """Return the request for one prompt, with images and the like in the form of chat completions."""
        if any(type(message.get("content")) is not str for message in prompt.messages):
            messages = [{**message, "content": _chat_content(message.get("content"))} for message in prompt.messages]
            prompt = structs.replace(prompt, messages=messages)
        return super().build_request(prompt, stream=stream)


_CHAT_PARTS = {"image": ("image_url", "url"), "video": ("video_url", "url"), "audio": ("input_audio", "data")}


def _chat_content(content: Any) -> Any:
    if isinstance(content, str) or not isinstance(content, Sequence):
        return content
    return [_chat_part(part) for part in content]


def _chat_part(part: Any) -> Any:
    """Return a part in the form of chat completions: `{"image": url}` becomes `{"type": "image_url", ...}`."""
    if not isinstance(part, Mapping) or "type" in part:
        return part
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    for native, (theirs, place) in _CHAT_PARTS.items():
        if native in part:
            if not isinstance(part[native], str):  # frames of a video
                return {"type": native, native: part[native]}
            return {"type": theirs, theirs: {place: part[native]}}
    return part


def find_choice(document: Mapping[str, Any], index: int | None = 0) -> Choice | None:
    """Return the choice of a document in message format, or the text format made into one; None if it has neither.

    Gateways answer in the form of chat completions, too.
    """
    output = document.get("output", document)
    if not isinstance(output, dict):
        return None
    choices = {"choices": output.get("choices") or output.get("choise")}  # misspelt so in a page's table
    choice = find_chat_choice(choices, index) or find_chat_choice(choices, None)
    if choice is not None:
        if output is document and not choice.get("finish_reason") and "delta" not in choice:
            return None  # in the other form only what is whole counts
        return choice
    if output is document or (output.get("text") is None and output.get("finish_reason") is None):
        return None
    message = output.get("message")
    if not isinstance(message, dict):
        message = {"content": output.get("text")}
    return {"message": message, "finish_reason": output.get("finish_reason")}


SHAPE = ReplyShape(native_reply, find_choice, whole_messages=False)
CUMULATIVE_SHAPE = ReplyShape(native_reply, find_choice, whole_messages=False, cumulative=True)
"""How replies of the native API are taken apart, and those whose frames repeat the text so far."""
