"""Which messages and parameters the vendors refuse, and with which error.

Both DashScope paths have the ranges and combinations of the native API
(https://docs.qwencloud.com/api-reference/chat/dashscope), the other path those of OpenAI's specification.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

from msgspec import Struct

from batchgen.simulator.answers import text_of

Wire = Literal["native", "compatible", "openai", "anthropic"]


class Problem(Struct, frozen=True):
    """Why a request is refused: status, code of the native API, message. `error_bodies` has the codes of other
    formats."""

    status: int
    code: str
    message: str
    param: str | None = None


class InvalidError(Exception):
    """A request is refused for this problem; `read_call` catches it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def refuse(message: str, param: str | None = None, code: str = "InvalidParameter", status: int = 400) -> NoReturn:
    """Raise InvalidError with the problem of a request."""
    raise InvalidError(Problem(status, code, message, param))


def check_messages(wire: Wire, messages: list[Any], *, list_content: bool) -> None:
    """Refuse messages whose roles, order or contents the vendor refuses. `list_content` allows lists of parts."""
    roles = ("system", "user", "assistant", "tool") + (("developer",) if wire == "openai" else ())
    bad_role = ("InternalError.Algo", 500) if wire == "native" else ("InvalidParameter", 400)
    before = ""
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in roles:
            refuse(f"Role must be in {list(roles)} - '{where}.role'", f"{where}.role", *bad_role)
        if wire != "openai" and role == "system" and i > 0:
            refuse("Role system must be the first message.", f"{where}.role")
        if wire == "native" and role == before and role in ("user", "assistant"):
            refuse("Role user and assistant must alternate.", f"{where}.role")
        if role == "tool" and not (message.get("tool_call_id") or message.get("name")):
            refuse("tool_call_id is required in a tool message.", f"{where}.tool_call_id")
        _check_content(message, where, list_content)
        before = role
    if wire == "native" and before not in ("user", "tool"):
        refuse("list index out of range", "messages", "InternalError", 500)
    if wire == "compatible" and before not in ("user", "tool"):
        refuse("The last message must be of role user or tool.", "messages")


def _check_content(message: Mapping[str, Any], where: str, list_content: bool) -> None:
    content = message.get("content")
    if isinstance(content, list) and list_content:
        if not content or not all(isinstance(part, dict) for part in content):
            refuse("content must be a list of parts.", f"{where}.content")
        if any(not isinstance(part.get("text", ""), str) for part in content):
            refuse("text must be a string.", f"{where}.content")
    elif not isinstance(content, str) and not (content is None and message.get("tool_calls")):
        refuse("Input should be a valid string", f"{where}.content")
    if message["role"] == "user" and isinstance(content, str) and not content:
        refuse("The content of a user message must not be empty.", f"{where}.content")


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
    """Whether `stop` is a string, or a list of strings, of token ids, or of lists of token ids."""
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


def check_parameters(wire: Wire, parameters: Mapping[str, Any], messages: list[Any]) -> None:
    """Refuse parameters with a wrong type or out of range, and combinations that exclude each other."""
    rules = _OPENAI_RULES if wire == "openai" else _RULES
    for name, value in parameters.items():
        rule = rules.get(name)
        if rule is not None and value is not None and not rule(value):
            refuse(f"The value of the {name} parameter is out of its range or type.", name)
    form = parameters.get("response_format")
    if form is not None:
        _check_response_format(form, messages)
    tools = parameters.get("tools")
    if tools is not None:
        if not isinstance(tools, list) or not tools:
            refuse("[] is too short - 'tools'", "tools")
        for tool in tools or ():
            function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
            if not isinstance(function, dict) or not _TOOL_NAME.fullmatch(str(function.get("name", ""))):
                refuse("A tool needs type function and a function with a valid name.", "tools")
        if (parameters.get("n") or 1) > 1:
            refuse("n must be 1 with tools.", "n")
    choice = parameters.get("tool_choice")
    if choice is not None:
        words = ("auto", "none", "required") if wire == "openai" else ("auto", "none")
        named = isinstance(choice, dict) and isinstance((choice.get("function") or {}).get("name"), str)
        if not named and choice not in words:
            refuse("tool_choice must be auto, none or a function.", "tool_choice")


def _check_response_format(form: Any, messages: list[Any]) -> None:
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        refuse("response_format must be of type text, json_object or json_schema.", "response_format")
    if kind == "json_schema":
        schema = form.get("json_schema")
        if not isinstance(schema, dict) or not schema.get("name") or not isinstance(schema.get("schema"), dict):
            refuse("json_schema needs a name and a schema.", "response_format")
    if kind == "json_object" and not any("json" in text_of(m.get("content")).lower() for m in messages):
        refuse(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
        )
