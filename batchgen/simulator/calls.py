"""A request body, read as strictly as the vendors read it: a `Call`, or the `Problem` that refuses it. Pure.

Ranges and combinations are those of the native API for both DashScope forms and of OpenAI for the plain path; fields
that are not named here pass unread, as the vendors do with most of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from batchgen.simulator.answers import text_of
from batchgen.simulator.settings import Settings

Wire = Literal["native", "compatible", "openai"]

_NATIVE = "/api/v1/services/aigc/"
CHAT_PATHS: Mapping[str, tuple[Wire, bool]] = {
    f"{_NATIVE}text-generation/generation": ("native", False),
    f"{_NATIVE}multimodal-generation/generation": ("native", True),
    "/compatible-mode/v1/chat/completions": ("compatible", False),
    "/v1/chat/completions": ("openai", False),
    "/chat/completions": ("openai", False),
}
"""Path → wire format, and whether it is the multimodal path."""


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


class Problem(Struct, frozen=True):
    """Why a request is refused: status, the native code, and the vendor's message. `bodies` finds the other shapes."""

    status: int
    code: str
    message: str
    param: str | None = None


class _InvalidError(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def _refuse(message: str, param: str | None = None, code: str = "InvalidParameter", status: int = 400) -> None:
    raise _InvalidError(Problem(status, code, message, param))


@lru_cache(maxsize=1024)
def matches(model: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a model's name fits one of the patterns (`*`, `?`, `[...]`)."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def read_call(path: str, headers: Mapping[str, str], body: bytes, settings: Settings) -> Call | Problem:
    """Return the call that a POST to one of `CHAT_PATHS` makes. Header names are in lower case."""
    wire, multimodal = CHAT_PATHS[path]
    try:
        if not headers.get("content-type", "").lower().startswith("application/json"):
            _refuse("The Content-Type must be application/json.")
        try:
            fields = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            _refuse("The request body is not valid JSON.")
        if not isinstance(fields, dict):
            _refuse("The request body must be a JSON object.")
        model = fields.get("model")
        if not isinstance(model, str) or not model:
            _refuse("Model is required.", "model", "BadRequest.EmptyModel")
        if settings.models is not None and model not in settings.models:
            _refuse(f"The model `{model}` does not exist or you do not have access to it.", None, "ModelNotFound", 404)
        return (
            _read_native(model, fields, headers, settings, multimodal)
            if wire == "native"
            else _read_chat(wire, model, fields, settings)
        )
    except _InvalidError as error:
        return error.problem


def _read_native(
    model: str, fields: dict[str, Any], headers: Mapping[str, str], settings: Settings, multimodal: bool
) -> Call:
    if headers.get("x-dashscope-async", "").lower() == "enable":
        _refuse("current user api does not support asynchronous calls.", None, "AccessDenied", 403)
    given, parameters = fields.get("input"), fields.get("parameters")
    if not isinstance(given, dict) or not given:
        _refuse("Input is required.", "input", "BadRequest.EmptyInput")
    if not isinstance(parameters, dict):
        _refuse("Parameters are required.", "parameters", "BadRequest.EmptyParameters")
    if matches(model, settings.multimodal) is not multimodal:
        _refuse("url error, please check url！")
    messages = _native_messages(given)
    _check_messages("native", messages, list_content=multimodal)
    _check_parameters("native", parameters, messages)
    stream = headers.get("x-dashscope-sse", "").lower() == "enable" or "text/event-stream" in headers.get("accept", "")
    default_format = "message" if multimodal or matches(model, ("qwen3*", "qwq*", "qvq*", "qwen4*")) else "text"
    text_format = parameters.get("result_format", default_format) == "text"
    incremental = parameters.get("incremental_output", False)
    thinking_budget = _thinking(model, parameters, stream, settings)
    if parameters.get("tools") and text_format:
        _refuse("result_format must be message when tools are given.", "result_format")
    if thinking_budget is not None and stream and not incremental:
        _refuse("incremental_output must be true in thinking mode.", "incremental_output")
    return Call(
        wire="native",
        model=model,
        messages=tuple(messages),
        stream=stream,
        multimodal=multimodal,
        text_format=text_format,
        incremental=incremental,
        thinking_budget=thinking_budget,
        **_common(parameters),
    )


def _native_messages(given: Mapping[str, Any]) -> list[Any]:
    """Return the messages of `input`: `messages`, or those that `prompt` and the deprecated `history` stand for."""
    if "messages" in given:
        messages = given["messages"]
        if not isinstance(messages, list) or not messages:
            _refuse("[] is too short - 'messages'", "messages")
        return list(messages)
    messages = []
    for turn in given.get("history") or ():
        if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) for key in ("user", "bot")):
            _refuse("history must be a list of {user, bot}.", "history")
        messages += [{"role": "user", "content": turn["user"]}, {"role": "assistant", "content": turn["bot"]}]
    prompt = given.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        _refuse("Either prompt or messages must be given.", "prompt", "BadRequest.EmptyInput")
    return [*messages, {"role": "user", "content": prompt}]


def _read_chat(wire: Wire, model: str, fields: dict[str, Any], settings: Settings) -> Call:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        _refuse("[] is too short - 'messages'", "messages")
        raise AssertionError
    _check_messages(wire, messages, list_content=True)
    _check_parameters(wire, fields, messages)
    stream = fields.get("stream") or False
    if not isinstance(stream, bool):
        _refuse("stream must be a boolean.", "stream")
    options = fields.get("stream_options")
    if options is not None and not stream:
        _refuse("stream_options is only allowed when stream is true.", "stream_options")
    return Call(
        wire=wire,
        model=model,
        messages=tuple(messages),
        stream=stream,
        include_usage=not stream or bool((options or {}).get("include_usage")),
        thinking_budget=_thinking(model, fields, stream, settings),
        **_common(fields),
    )


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
    """Return the most tokens to think, None for no thinking. Refuses what the model cannot do."""
    wish = parameters.get("enable_thinking")
    always = matches(model, settings.thinking_always)
    if wish and not matches(model, settings.thinking):
        _refuse("The model does not support enable_thinking.", None, "InvalidParameter.NotSupportEnableThinking")
    if wish is False and always:
        _refuse("The value of the enable_thinking parameter is restricted to True.", "enable_thinking")
    if not stream and matches(model, settings.stream_only):
        _refuse("This model only support stream mode, please enable the stream parameter to access the model.")
    thinks = always or (matches(model, settings.thinking_default) if wish is None else wish)
    if not thinks:
        return None
    if not stream and matches(model, settings.stream_to_think):
        _refuse("parameter.enable_thinking must be set to false for non-streaming calls", "enable_thinking")
    return parameters.get("thinking_budget") or 1_000_000


def _check_messages(wire: Wire, messages: list[Any], *, list_content: bool) -> None:
    roles = ("system", "user", "assistant", "tool") + (("developer",) if wire == "openai" else ())
    bad_role = {"code": "InternalError.Algo", "status": 500} if wire == "native" else {}
    before = ""
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in roles:
            _refuse(f"Role must be in {list(roles)} - '{where}.role'", f"{where}.role", **bad_role)
        if wire != "openai" and role == "system" and i > 0:
            _refuse("Role system must be the first message.", f"{where}.role")
        if wire == "native" and role == before and role in ("user", "assistant"):
            _refuse("Role user and assistant must alternate.", f"{where}.role")
        if role == "tool" and not (message.get("tool_call_id") or message.get("name")):
            _refuse("tool_call_id is required in a tool message.", f"{where}.tool_call_id")
        _check_content(message, where, list_content)
        before = role
    if wire != "openai" and before not in ("user", "tool"):
        status = {"code": "InternalError", "status": 500} if wire == "native" else {}
        _refuse("list index out of range" if status else "The last message must be of user or tool.", "messages", **status)


def _check_content(message: Mapping[str, Any], where: str, list_content: bool) -> None:
    content = message.get("content")
    if isinstance(content, list) and list_content:
        if not content or not all(isinstance(part, dict) for part in content):
            _refuse("content must be a list of parts.", f"{where}.content")
        if any(not isinstance(part.get("text", ""), str) for part in content):
            _refuse("text must be a string.", f"{where}.content")
    elif not isinstance(content, str) and not (content is None and message.get("tool_calls")):
        _refuse("Input should be a valid string", f"{where}.content")
    if message["role"] == "user" and isinstance(content, str) and not content:
        _refuse("The content of a user message must not be empty.", f"{where}.content")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(low: int, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _between(low: float, high: float, *, with_low: bool = True, with_high: bool = True) -> Callable[[Any], bool]:
    return lambda value: (
        _is_number(value) and (low < value < high or (value == low and with_low) or (value == high and with_high))
    )


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_stop(value: Any) -> bool:
    """A string, or a list of one kind: strings, token ids, or lists of token ids."""
    if isinstance(value, str):
        return True
    kinds = {type(part) for part in value} if isinstance(value, list) else {None}
    return not kinds or (len(kinds) == 1 and kinds <= {str, int, list})


_BILLION = 2**31 - 1
_RULES: dict[str, Callable[[Any], bool]] = {
    "temperature": _between(0, 2, with_high=False),
    "top_p": _between(0, 1, with_low=False),
    "top_k": _is_whole(0, _BILLION),
    "seed": _is_whole(0, 2**64 - 1),
    "max_tokens": _is_whole(1, _BILLION),
    "max_completion_tokens": _is_whole(1, _BILLION),
    "thinking_budget": _is_whole(1, _BILLION),
    "presence_penalty": _between(-2, 2),
    "frequency_penalty": _between(-2, 2),
    "repetition_penalty": _between(0, 1e9, with_low=False),
    "n": _is_whole(1, 4),
    "top_logprobs": _is_whole(0, 5),
    "logprobs": _is_bool,
    "enable_thinking": _is_bool,
    "enable_search": _is_bool,
    "incremental_output": _is_bool,
    "parallel_tool_calls": _is_bool,
    "result_format": lambda value: value in ("text", "message"),
    "stop": _is_stop,
}
_OPENAI_RULES = _RULES | {
    "temperature": _between(0, 2),
    "top_p": _between(0, 1),
    "seed": _is_whole(-(2**63), 2**63 - 1),
    "n": _is_whole(1, 128),
    "top_logprobs": _is_whole(0, 20),
}
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _check_parameters(wire: Wire, parameters: Mapping[str, Any], messages: list[Any]) -> None:
    rules = _OPENAI_RULES if wire == "openai" else _RULES
    for name, value in parameters.items():
        rule = rules.get(name)
        if rule is not None and value is not None and not rule(value):
            _refuse(f"The value of the {name} parameter is out of its range or type.", name)
    form = parameters.get("response_format")
    if form is not None:
        _check_response_format(form, messages)
    tools = parameters.get("tools")
    if tools is not None:
        if not isinstance(tools, list) or not tools:
            _refuse("[] is too short - 'tools'", "tools")
        for tool in tools or ():
            function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
            if not isinstance(function, dict) or not _TOOL_NAME.fullmatch(str(function.get("name", ""))):
                _refuse("A tool needs type function and a function with a valid name.", "tools")
        if (parameters.get("n") or 1) > 1:
            _refuse("n must be 1 with tools.", "n")
    choice = parameters.get("tool_choice")
    if choice is not None:
        words = ("auto", "none", "required") if wire == "openai" else ("auto", "none")
        named = isinstance(choice, dict) and isinstance((choice.get("function") or {}).get("name"), str)
        if not named and choice not in words:
            _refuse("tool_choice must be auto, none or a function.", "tool_choice")


def _check_response_format(form: Any, messages: list[Any]) -> None:
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        _refuse("response_format must be of type text, json_object or json_schema.", "response_format")
    if kind == "json_schema":
        schema = form.get("json_schema")
        if not isinstance(schema, dict) or not schema.get("name") or not isinstance(schema.get("schema"), dict):
            _refuse("json_schema needs a name and a schema.", "response_format")
    if kind == "json_object" and not any("json" in text_of(m.get("content")).lower() for m in messages):
        _refuse(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
        )
