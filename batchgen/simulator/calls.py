"""Reads request bodies as strictly as the vendors: into a `Call`, or the `Problem` for which it is refused.

Fields that are not known here are ignored, as they mostly are by the vendors.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.simulator.answers import count_input_tokens
from batchgen.simulator.messages_call import call_fields
from batchgen.simulator.pictures import picture_tokens
from batchgen.simulator.rules import InvalidError, Problem, Wire, check_messages, check_parameters, refuse
from batchgen.simulator.settings import Settings

_NATIVE = "/api/v1/services/aigc/"
CHAT_PATHS: Mapping[str, tuple[Wire, bool]] = {
    f"{_NATIVE}text-generation/generation": ("native", False),
    f"{_NATIVE}multimodal-generation/generation": ("native", True),
    "/compatible-mode/v1/chat/completions": ("compatible", False),
    "/v1/chat/completions": ("openai", False),
    "/openai/v1/chat/completions": ("openai", False),
    "/chat/completions": ("openai", False),
    "/v1/messages": ("anthropic", False),
}
"""The wire format of each path, and whether it is the multimodal path."""


class Call(Struct, frozen=True, kw_only=True):
    """A valid chat request, the same for all wire formats. `thinking_budget` is None where the model does not think."""

    wire: Wire
    model: str
    messages: tuple[Mapping[str, Any], ...]
    stream: bool
    multimodal: bool = False
    text_format: bool = False
    incremental: bool = True
    include_usage: bool = True
    thinking_budget: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: bool = False
    response_format: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = "auto"
    service_tier: str | None = None
    high_resolution: bool = False

    @property
    def input_tokens(self) -> int:
        """The tokens of the prompt, with those of its pictures."""
        pictures = picture_tokens(self.model, self.messages, high_resolution=self.high_resolution)
        return count_input_tokens(self.messages, self.tools) + pictures


@lru_cache(maxsize=1024)
def matches(model: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a model's name fits one of the patterns (`*`, `?`, `[...]`)."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def read_call(path: str, headers: Mapping[str, str], body: bytes, settings: Settings) -> Call | Problem:
    """Return the call that a POST to one of `CHAT_PATHS` makes. Header names are in lower case."""
    wire, multimodal = CHAT_PATHS[path]
    try:
        if not headers.get("content-type", "").lower().startswith("application/json"):
            refuse("The Content-Type must be application/json.")
        try:
            fields = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            refuse("The request body is not valid JSON.")
        if not isinstance(fields, dict):
            refuse("The request body must be a JSON object.")
        model = fields.get("model")
        if not isinstance(model, str) or not model:
            refuse("Model is required.", "model", "BadRequest.EmptyModel")
        if settings.models is not None and model not in settings.models:
            refuse(f"The model `{model}` does not exist or you do not have access to it.", None, "ModelNotFound", 404)
        if wire == "anthropic":
            return Call(wire=wire, model=model, **call_fields(fields, headers))
        return (
            _read_native(model, fields, headers, settings, multimodal)
            if wire == "native"
            else _read_chat(wire, model, fields, settings)
        )
    except InvalidError as error:
        return error.problem


def _read_native(
    model: str, fields: dict[str, Any], headers: Mapping[str, str], settings: Settings, multimodal: bool
) -> Call:
    if headers.get("x-dashscope-async", "").lower() == "enable":
        refuse("current user api does not support asynchronous calls.", None, "AccessDenied", 403)
    given, parameters = fields.get("input"), fields.get("parameters")
    if not isinstance(given, dict) or not given:
        refuse("Input is required.", "input", "BadRequest.EmptyInput")
    if not isinstance(parameters, dict):
        refuse("Parameters are required.", "parameters", "BadRequest.EmptyParameters")
    if matches(model, settings.multimodal) is not multimodal:
        refuse("url error, please check url！")
    messages = _native_messages(given)
    check_messages("native", messages, list_content=multimodal)
    check_parameters("native", parameters, messages)
    stream = headers.get("x-dashscope-sse", "").lower() == "enable" or "text/event-stream" in headers.get("accept", "")
    default_format = "message" if multimodal or matches(model, ("qwen3*", "qwq*", "qvq*", "qwen4*")) else "text"
    text_format = parameters.get("result_format", default_format) == "text"
    incremental = parameters.get("incremental_output", False)
    thinking_budget = _thinking(model, parameters, stream, settings)
    if parameters.get("tools") and text_format:
        refuse("result_format must be message when tools are given.", "result_format")
    if thinking_budget is not None and stream and not incremental:
        refuse("incremental_output must be true in thinking mode.", "incremental_output")
    return Call(
        wire="native",
        model=model,
        messages=tuple(messages),
        stream=stream,
        multimodal=multimodal,
        text_format=text_format,
        incremental=incremental,
        thinking_budget=thinking_budget,
        high_resolution=parameters.get("vl_high_resolution_images") is True,
        **_common(parameters),
    )


def _native_messages(given: Mapping[str, Any]) -> list[Any]:
    """Return the messages of `input`: its `messages`, or those that `prompt` and the deprecated `history` stand for."""
    if "messages" in given:
        messages = given["messages"]
        if not isinstance(messages, list) or not messages:
            refuse("[] is too short - 'messages'", "messages")
        return list(messages)
    messages = []
    for turn in given.get("history") or ():
        if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) for key in ("user", "bot")):
            refuse("history must be a list of {user, bot}.", "history")
        messages += [{"role": "user", "content": turn["user"]}, {"role": "assistant", "content": turn["bot"]}]
    prompt = given.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        refuse("Either prompt or messages must be given.", "prompt", "BadRequest.EmptyInput")
    return [*messages, {"role": "user", "content": prompt}]


def _read_chat(wire: Wire, model: str, fields: dict[str, Any], settings: Settings) -> Call:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        refuse("[] is too short - 'messages'", "messages")
    check_messages(wire, messages, list_content=True)
    check_parameters(wire, fields, messages)
    stream = fields.get("stream") or False
    if not isinstance(stream, bool):
        refuse("stream must be a boolean.", "stream")
    options = fields.get("stream_options")
    if options is not None and not stream:
        refuse("stream_options is only allowed when stream is true.", "stream_options")
    return Call(
        wire=wire,
        model=model,
        messages=tuple(messages),
        stream=stream,
        include_usage=not stream or bool((options or {}).get("include_usage")),
        thinking_budget=_thinking(model, fields, stream, settings),
        service_tier=_service_tier(wire, fields),
        high_resolution=fields.get("vl_high_resolution_images") is True,
        **_common(fields),
    )


def _service_tier(wire: Wire, fields: Mapping[str, Any]) -> str | None:
    """Return the class of service that answers; only OpenAI's form has several."""
    asked = fields.get("service_tier", "auto")
    if asked not in ("auto", "default", "flex", "priority"):
        refuse(f"Invalid value: {asked!r}. Supported values are: 'auto', 'default', 'flex', and 'priority'.")
    return ("default" if asked == "auto" else str(asked)) if wire == "openai" and "service_tier" in fields else None


def _common(parameters: Mapping[str, Any]) -> dict[str, Any]:
    stop = parameters.get("stop")
    marks = [stop] if isinstance(stop, str) else stop or []
    return {
        "max_tokens": parameters.get("max_completion_tokens") or parameters.get("max_tokens"),
        "stop": tuple(mark for mark in marks if isinstance(mark, str) and mark),
        "n": parameters.get("n") or 1,
        "logprobs": bool(parameters.get("logprobs")),
        "response_format": parameters.get("response_format"),
        "tools": tuple(parameters.get("tools") or ()),
        "tool_choice": parameters.get("tool_choice") or "auto",
    }


def _thinking(model: str, parameters: Mapping[str, Any], stream: bool, settings: Settings) -> int | None:
    """Return the most tokens to think, None for no thinking. Refuse parameters that the model does not support."""
    wish = parameters.get("enable_thinking")
    always = matches(model, settings.thinking_always)
    if wish and not matches(model, settings.thinking):
        refuse("The model does not support enable_thinking.", None, "InvalidParameter.NotSupportEnableThinking")
    if wish is False and always:
        refuse("The value of the enable_thinking parameter is restricted to True.", "enable_thinking")
    if not stream and matches(model, settings.stream_only):
        refuse("This model only support stream mode, please enable the stream parameter to access the model.")
    thinks = always or (matches(model, settings.thinking_default) if wish is None else wish)
    if not thinks:
        return None
    if not stream and matches(model, settings.stream_to_think):
        refuse("parameter.enable_thinking must be set to false for non-streaming calls", "enable_thinking")
    return parameters.get("thinking_budget") or 1_000_000
