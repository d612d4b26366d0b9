"""Anthropic's Messages API. https://platform.claude.com/docs/en/api/messages

System messages stand at the top of the body; results of tools are parts of a user message; tools and the means of JSON
may be written as chat completions have them and are converted, what is in Anthropic's own form is sent as it is. An
answer is a list of blocks (text, thinking, calls of tools), which a stream sends piece by piece, each piece as an event
that names its block.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from batchgen.prompts.messages import as_messages
from batchgen.providers.anthropic_replies import MessagesReply
from batchgen.providers.auth import key_headers
from batchgen.providers.parameter_checks import remarks
from batchgen.providers.protocol import ModelSettings, Remark
from batchgen.providers.quick_decode import claude_reply
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
from batchgen.providers.wire import UnreadableError, decode_json
from batchgen.secret import Secret, SecretHeader
from batchgen.tokens.parameters import effective_parameters
from batchgen.values import Completion, Failure, Message, Prompt, Request, Response

VERSION = "2023-06-01"
"""What `anthropic-version` says, unless the job's own header says otherwise."""

_PATH = "/v1/messages"
_DATA_URL = re.compile(r"data:([\w.+/-]+);base64,(.*)", re.DOTALL)
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}

# What a schema may hold in `output_config.format`; answers are validated against the schema as it was written.
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
_SCHEMA_KEYS = frozenset(
    {
        *("type", "enum", "const", "description", "title", "format", "default"),
        *("properties", "required", "additionalProperties", "items", "anyOf", "$ref", "$defs"),
    }
)


def endpoint(base_url: str) -> str:
    """Return the URL of the calls under `base_url`: a host, a root that ends in `/v1`, or the whole of it."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if not path.endswith("/messages"):
        path = path.removesuffix("/v1") + _PATH
    return urlunsplit(parts._replace(path=path))


class AnthropicMessages:
    """The Messages API bound to one model's settings. `clock` (Unix seconds) only measures dates in headers."""

    def __init__(self, settings: ModelSettings, vendor: Vendor, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._vendor = vendor
        self._clock = clock
        self._url = endpoint(settings.base_url)
        self._encode = encoder(canonical=settings.canonical)
        self._constant = constant_parameters(settings.parameters)
        self._headers = {
            stream: with_user_headers(
                {
                    "Content-Type": "application/json",
                    "Accept": "text/event-stream" if stream else "application/json",
                    "anthropic-version": VERSION,
                },
                settings.headers,
            )
            for stream in (False, True)
        }
        self._head = self._head_for(settings.name)
        self._tail = {stream: self._tail_for(None, stream) for stream in (False, True)}

    def headers(self, key: Secret | None) -> list[SecretHeader]:
        """Return the headers that show the key to the server. The provider itself never holds it."""
        return key_headers(self._vendor, "anthropic", self._settings.api_key_header, key)

    def build_request(self, prompt: Prompt, *, stream: bool) -> Request:
        """Return the request for one prompt. The older text form becomes messages: there is no other form here."""
        system, turns = split_messages(prompt.messages if prompt.text is None else as_messages(prompt))
        if prompt.model is None and prompt.parameters is None:
            model, head, tail = self._settings.name, self._head, self._tail[stream]
        else:
            model = prompt.model or self._settings.name
            head = self._head_for(model)
            tail = self._tail_for(prompt.parameters, stream)
        said = b',"system":' + self._encode(system) if system else b""
        return Request(self._url, head + self._encode(turns) + said + tail, self._headers[stream], stream, model)

    def _head_for(self, model: str) -> bytes:
        return b'{"model":' + self._encode(model) + b',"messages":'

    def _tail_for(self, own: Mapping[str, Any] | None, stream: bool) -> bytes:
        fields = own_parameters(effective_parameters(self._constant, own))
        fields.pop("stream", None)
        if stream:
            fields["stream"] = True
        fields = without(fields, self._settings.omit)
        return b"," + members(fields, self._encode) + b"}" if fields else b"}"

    def read_response(self, request: Request, response: Response) -> Completion | Failure:
        """Return what a whole response means. Never raises, whatever the bytes are."""
        exchange = Exchange(request, response, self._vendor.errors, self._settings.name, self._clock())
        return read_exchange(exchange, SHAPE)

    def must_stream(self, model: str) -> bool:
        """Whether this model, with the settings' parameters, is known to answer streamed requests only."""
        return self._vendor.streams_only(model, self._settings.parameters)

    def remarks(self) -> list[Remark]:
        """Return what is wrong or doubtful in the settings, known ranges and forbidden combinations included."""
        settings = self._settings
        return remarks(settings, self._vendor, settings.parameters, may_omit=(), own=_findings(settings))


def _findings(settings: ModelSettings) -> Iterator[Finding]:
    if urlsplit(settings.base_url).path.rstrip("/").endswith("/chat/completions"):
        yield "base_url", 'is the chat-completions API: set model.provider = "openai", or give the host alone', True


# ---- requests


def own_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with tools, the choice of one and the means of JSON in Anthropic's form."""
    fields = dict(parameters)
    tools, choice, form = fields.get("tools"), fields.get("tool_choice"), fields.pop("response_format", None)
    if isinstance(tools, list):
        fields["tools"] = [_tool(tool) for tool in tools]
    if isinstance(choice, str) and choice in _CHOICES:
        fields["tool_choice"] = {"type": _CHOICES[choice]}
    elif isinstance(choice, Mapping) and isinstance(choice.get("function"), Mapping):
        fields["tool_choice"] = {"type": "tool", "name": choice["function"].get("name")}
    described = form.get("json_schema") if isinstance(form, Mapping) else None
    if isinstance(described, Mapping) and described.get("strict"):  # else the model is only told of the schema
        asked = {"type": "json_schema", "schema": _schema(described.get("schema"))}
        given = fields.get("output_config")
        fields["output_config"] = {**(given if isinstance(given, Mapping) else {}), "format": asked}
    return fields


def _tool(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        return tool
    beside = {name: value for name, value in tool.items() if name not in ("type", "function")}
    given = {name: value for name, value in function.items() if name not in ("parameters", "strict")}
    return {**given, "input_schema": function.get("parameters") or {"type": "object"}, **beside}


def _schema(schema: Any) -> Any:
    """Return a schema without the keywords that are refused, such as bounds of numbers and lengths."""
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    for name, value in schema.items():
        if name in ("properties", "$defs") and isinstance(value, Mapping):
            kept[name] = {key: _schema(inner) for key, inner in value.items()}
        elif name == "anyOf" and isinstance(value, Sequence):
            kept[name] = [_schema(inner) for inner in value]
        elif name in _SCHEMA_KEYS:
            kept[name] = _schema(value) if name == "items" else value
    return kept


def split_messages(messages: Sequence[Message]) -> tuple[Any, list[Message]]:
    """Return what stands at the top as `system` (a text or blocks; empty for none), and the turns."""
    system: list[Any] = []
    turns: list[Message] = []
    results: list[Any] | None = None  # of the tools called last, which one message has to hold
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            said = content if isinstance(content, str) else _blocks(message)
            result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": said}
            if results is None:
                results = []
                turns.append({"role": "user", "content": results})
            results.append(result)
            continue
        results = None
        if role in ("system", "developer"):
            system.append(content if isinstance(content, str) and "cache_control" not in message else _blocks(message))
        elif type(content) is str and len(message) == 2:
            turns.append(message)
        else:
            blocks = [*_blocks(message), *map(_call, message.get("tool_calls") or ())]
            turns.append({"role": role, "content": blocks})
    if all(isinstance(text, str) for text in system):
        return "\n\n".join(system), turns
    return [
        block for said in system for block in ([{"type": "text", "text": said}] if isinstance(said, str) else said)
    ], turns


def _blocks(message: Message) -> list[Any]:
    """Return a message's content as blocks; a `cache_control` beside it marks the last one."""
    content = message.get("content")
    if isinstance(content, str):
        blocks: list[Any] = [{"type": "text", "text": content}] if content else []
    else:
        blocks = [_block(part) for part in content] if isinstance(content, Sequence) else []
    mark = message.get("cache_control")
    if mark is not None and blocks and isinstance(blocks[-1], Mapping):
        blocks[-1] = {**blocks[-1], "cache_control": mark}
    return blocks


def _block(part: Any) -> Any:
    """Return a part of a message as a block; one that is in Anthropic's form already stays as it is."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return part
    place = part.get("image_url")
    url = str(place.get("url") if isinstance(place, Mapping) else place)
    inline = _DATA_URL.fullmatch(url)
    source = (
        {"type": "url", "url": url}
        if inline is None
        else {"type": "base64", "media_type": inline[1], "data": inline[2]}
    )
    mark = {"cache_control": part["cache_control"]} if "cache_control" in part else {}
    return {"type": "image", "source": source, **mark}


def _call(call: Any) -> Any:
    """Return a call of a tool, as chat completions have it, as a block."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = decode_json(arguments.encode()) if arguments else {}
        except UnreadableError:
            arguments = {"arguments": arguments}  # only an object is taken
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments or {}}


# ---- replies


SHAPE = ReplyShape(claude_reply, find_chat_choice, whole_messages=False, translate=MessagesReply)
"""How replies of the Messages API are taken apart."""
