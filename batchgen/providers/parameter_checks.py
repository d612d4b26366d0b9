"""What `check` can say about `[model]` before anything is sent: known ranges and forbidden combinations.

Fatal is what no model of the provider takes, or what cannot mean what its writer wants; where one model is stricter
than another, it is a warning and the request goes out. Names not known here pass untouched and unremarked. A value
that comes from a column is not judged.
Sources: https://docs.qwencloud.com/api-reference/chat/dashscope, https://github.com/openai/openai-openapi
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from batchgen.providers import models
from batchgen.providers.auth import KEY_HEADERS, is_azure
from batchgen.providers.protocol import ModelSettings, Remark
from batchgen.providers.request_parts import constant_parameters, from_column

_SEED_31 = 2**31 - 1
_SEED_64 = 2**64 - 1
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REASONING_MODEL = re.compile(r"^(?:o\d|gpt-(?:[5-9]|\d\d))")
_NO_STOP = re.compile(r"^(?:o3|o4-mini)")


class Range(Struct, frozen=True):
    """Which numbers a parameter takes; `text` is the range as the user reads it."""

    fits: Callable[[float], bool]
    text: str
    whole: bool = False


_POSITIVE = Range(lambda n: n >= 1, "a whole number from 1", whole=True)
_SYMMETRIC = Range(lambda n: -2 <= n <= 2, "a number from -2 to 2")

_DASHSCOPE_RANGES = {
    "temperature": Range(lambda n: 0 <= n < 2, "a number from 0 to below 2"),
    "top_p": Range(lambda n: 0 < n <= 1, "a number above 0, at most 1"),
    "top_k": Range(lambda n: n >= 0, "a whole number from 0", whole=True),
    "repetition_penalty": Range(lambda n: n > 0, "a number above 0"),
    "presence_penalty": _SYMMETRIC,
    "seed": Range(lambda n: 0 <= n <= _SEED_64, "a whole number from 0 to 2^31-1", whole=True),
    "max_tokens": _POSITIVE,
    "max_completion_tokens": _POSITIVE,
    "thinking_budget": _POSITIVE,
    "top_logprobs": Range(lambda n: 0 <= n <= 5, "a whole number from 0 to 5", whole=True),
}
_OPENAI_RANGES = {
    "temperature": Range(lambda n: 0 <= n <= 2, "a number from 0 to 2"),
    "top_p": Range(lambda n: 0 <= n <= 1, "a number from 0 to 1"),
    "presence_penalty": _SYMMETRIC,
    "frequency_penalty": _SYMMETRIC,
    "seed": Range(lambda n: -(2**63) <= n < 2**63, "a whole number of 64 bits", whole=True),
    "max_tokens": _POSITIVE,
    "max_completion_tokens": _POSITIVE,
    "top_logprobs": Range(lambda n: 0 <= n <= 20, "a whole number from 0 to 20", whole=True),
}

# Parameters of the APIs and of servers that speak their format. Others are passed on; one that is nearly one of these
# is likely a slip, and a limit on the answer's length that nobody reads costs money.
_KNOWN = frozenset(
    [
        "best_of",
        "enable_search",
        "enable_thinking",
        "frequency_penalty",
        "function_call",
        "functions",
        "ignore_eos",
        "incremental_output",
        "length_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_input_tokens",
        "max_tokens",
        "metadata",
        "min_p",
        "min_tokens",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "result_format",
        "search_options",
        "seed",
        "service_tier",
        "stop",
        "stop_token_ids",
        "store",
        "stream_options",
        "temperature",
        "thinking_budget",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "translation_options",
        "user",
        "verbosity",
    ]
)

# Headers that say where a request ends or what becomes of its connection: two opinions on that mix up requests.
FRAMING = frozenset({"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"})

_OTHER_ENDPOINTS = ("/completions", "/responses", "/messages", "/embeddings", "/models", "/generate")

# Not wire fields: batchgen writes them, or they are arguments of the SDKs.
_ELSEWHERE = {
    "stream": "use model.stream",
    "model": "use model.name",
    "messages": "messages come from [prompt]",
    "prompt": "the prompt comes from [prompt]",
    "history": "use prompt.history",
    "input": "the input comes from [prompt]",
    "api_key": "name the variable that holds the key in model.api_key_env",
    "headers": "use [model.headers]",
    "extra_headers": "use [model.headers]",
    "workspace": 'use [model.headers] "X-DashScope-WorkSpace"',
    "timeout": "use limits.timeout_s",
    "request_timeout": "use limits.timeout_s",
    "max_retries": "use retry.max_attempts",
    "extra_query": "put the query string into model.base_url",
    "base_url": "use model.base_url",
    "base_address": "use model.base_url",
}

_Finding = tuple[str, str, bool]
"""(dotted name under `model.`, text, fatal)."""


def dashscope_remarks(settings: ModelSettings) -> list[Remark]:
    """Return the remarks for the native format."""
    parameters = settings.parameters
    findings = [
        *_elsewhere(parameters),
        *_ranges(constant_parameters(parameters), _DASHSCOPE_RANGES),
        *_common(parameters),
        *_qwen(settings.name, parameters),
        *_native(settings.name, parameters),
        *_headers(settings.headers),
        *_omit(settings, ("result_format", "incremental_output")),
        *_base_url(settings.base_url, native=True),
    ]
    return _as_remarks(findings)


def openai_remarks(settings: ModelSettings, *, compatible_mode: bool) -> list[Remark]:
    """Return the remarks for chat completions; `compatible_mode`: the server is DashScope."""
    extra = settings.parameters.get("extra_body")
    merged = {**settings.parameters, **extra} if isinstance(extra, Mapping) else dict(settings.parameters)
    findings = [
        *_elsewhere(merged),
        *_ranges(constant_parameters(merged), _DASHSCOPE_RANGES if compatible_mode else _OPENAI_RANGES),
        *_common(merged),
        *(_qwen(settings.name, merged) if compatible_mode else ()),
        *_chat(settings.name, merged, urlsplit(settings.base_url).hostname == "api.openai.com"),
        *_headers(settings.headers),
        *_omit(settings, ("model", "stream_options")),
        *_base_url(settings.base_url, native=False),
    ]
    return _as_remarks(findings)


def _as_remarks(findings: list[_Finding]) -> list[Remark]:
    return [Remark(f"model.{key}", text, fatal) for key, text, fatal in findings]


def _elsewhere(parameters: Mapping[str, Any]) -> Iterator[_Finding]:
    for name in parameters:
        if name in _ELSEWHERE:
            yield f"parameters.{name}", f"is no parameter of the API: {_ELSEWHERE[name]}", True
        elif name not in _KNOWN and (near := get_close_matches(name, _KNOWN, 1, cutoff=0.85)):
            yield f"parameters.{name}", f"is not known here and is sent as it is; did you mean {near[0]}?", False


def _ranges(parameters: Mapping[str, Any], ranges: Mapping[str, Range]) -> Iterator[_Finding]:
    for name, expected in ranges.items():
        if name not in parameters:
            continue
        value = parameters[name]
        is_number = isinstance(value, int if expected.whole else (int, float)) and not isinstance(value, bool)
        if not is_number or not expected.fits(value):
            yield f"parameters.{name}", f"must be {expected.text}, not {value!r}", True


def _common(parameters: Mapping[str, Any]) -> Iterator[_Finding]:
    """Rules that both formats share."""
    if "n" in parameters and parameters["n"] != 1:
        yield "parameters.n", "must be 1: every row has one answer; for more, repeat the row in the input", True
    if parameters.get("top_logprobs") and not parameters.get("logprobs"):
        yield "parameters.top_logprobs", "needs logprobs = true", True
    if "max_tokens" in parameters and "max_completion_tokens" in parameters:
        yield "parameters.max_tokens", "give either this or max_completion_tokens: most servers refuse both", False
    tools = parameters.get("tools")
    if tools is None:
        if parameters.get("tool_choice"):
            yield "parameters.tool_choice", "needs tools", True
    elif not from_column(tools):
        yield from _tools(tools)


def _tools(tools: Any) -> Iterator[_Finding]:
    if not isinstance(tools, list) or not tools:
        yield "parameters.tools", "must be a list of tables {type, function}, not empty", True
        return
    for number, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(tool, Mapping) and tool.get("type", "function") != "function":
            continue  # a server's own kind of tool
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
            text = "must be 1 to 64 letters, digits, _ or -"
            yield f"parameters.tools[{number}].function.name", f"{text}, not {name!r}", True


def _qwen(model: str, parameters: Mapping[str, Any]) -> Iterator[_Finding]:
    """DashScope's rules for thinking and sampling, the same on both of its APIs."""
    switch = parameters.get("enable_thinking")
    if switch is False and models.thinks_only(model):
        yield "parameters.enable_thinking", f"{model} always thinks and refuses false", True
    if switch is True and models.never_thinks(model):
        yield "parameters.enable_thinking", f"{model} is known to have no thinking mode", False
    if switch is None and models.thinks_by_default(model) and not models.thinks_only(model):
        yield "parameters.enable_thinking", f"{model} thinks unless this is false; thinking is billed as output", False
    if "thinking_budget" in parameters and switch is False:
        yield "parameters.thinking_budget", "is for thinking only, and enable_thinking is false", True
    if "thinking_budget" in parameters and "reasoning_effort" in parameters:
        yield "parameters.reasoning_effort", "cannot be combined with thinking_budget", True
    if switch is True:
        choice = parameters.get("tool_choice")
        if choice not in (None, "auto", "none") and not from_column(choice):
            yield "parameters.tool_choice", "must be auto or none while thinking", True
        form = parameters.get("response_format")
        if isinstance(form, Mapping) and form.get("type") == "json_object":
            yield "parameters.response_format", "json_object is refused by most models while thinking", False
    seed = parameters.get("seed")
    if isinstance(seed, int) and _SEED_31 < seed <= _SEED_64:
        yield "parameters.seed", "above 2^31-1: taken by older models only", False
    if parameters.get("top_p") == 1:
        yield "parameters.top_p", "1.0 is refused by older models", False


def _native(model: str, parameters: Mapping[str, Any]) -> Iterator[_Finding]:
    """Rules of the native format alone."""
    form = parameters.get("result_format")
    if form is not None and not from_column(form) and form not in ("text", "message"):
        yield "parameters.result_format", f'must be "message" or "text", not {form!r}', True
    if form == "text":
        if "tools" in parameters:
            yield "parameters.result_format", 'must be "message" with tools', True
        if parameters.get("enable_thinking") is True:
            yield "parameters.result_format", 'must be "message" while thinking', True
    increments = parameters.get("incremental_output")
    if increments is False and models.needs_increments(model, parameters):
        yield "parameters.incremental_output", f"{model} streams only with true; leave it out", True
    if increments is True and "tools" in parameters and not models.needs_increments(model, parameters):
        known = model.startswith("qwen")
        yield "parameters.incremental_output", "cannot be combined with tools; leave it out", known
    if "output_in_full" in parameters:
        yield (
            "parameters.output_in_full",
            "is from an old page and has no effect; the name is incremental_output",
            False,
        )
    yield from _stop(parameters, token_ids=True)


def _chat(model: str, parameters: Mapping[str, Any], is_openai: bool) -> Iterator[_Finding]:
    """Rules of chat completions alone; the strict ones are OpenAI's own."""
    yield from _stop(parameters, token_ids=False)
    if "extra_body" in parameters and not isinstance(parameters["extra_body"], Mapping):
        yield "parameters.extra_body", "must be a table: its fields are sent at the top level", True
    if not is_openai:
        return
    stop = parameters.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        yield "parameters.stop", f"takes at most 4 strings, not {len(stop)}", True
    if stop is not None and _NO_STOP.match(model):
        yield "parameters.stop", f"{model} is known to refuse it", False
    metadata = parameters.get("metadata")
    if isinstance(metadata, Mapping) and not from_column(metadata) and len(metadata) > 16:
        yield "parameters.metadata", f"takes at most 16 pairs, not {len(metadata)}", True
    if _REASONING_MODEL.match(model):
        if "max_tokens" in parameters:
            yield "parameters.max_tokens", f"{model} is known to refuse it: use max_completion_tokens", False
        for name in ("temperature", "top_p"):
            if parameters.get(name, 1) != 1:
                yield f"parameters.{name}", f"{model} is known to take only the default", False


def _stop(parameters: Mapping[str, Any], *, token_ids: bool) -> Iterator[_Finding]:
    """`stop`: a string, a list of strings; natively also token ids or lists of them; never mixed."""
    stop = parameters.get("stop")
    if stop is None or isinstance(stop, str) or from_column(stop):
        return
    kinds = {type(item) for item in stop} if isinstance(stop, list) else {type(stop)}
    lists_of_ids = kinds == {list} and all(type(token) is int for item in stop for token in item)
    if kinds == {str} and isinstance(stop, list):
        return
    if isinstance(stop, list) and (kinds == {int} or lists_of_ids):
        if not token_ids:
            text = "token ids are taken by the native DashScope API only (vLLM: stop_token_ids); give strings"
            yield "parameters.stop", text, True
        return
    ids = ", a list of token ids, or a list of such lists" if token_ids else ""
    yield "parameters.stop", f"must be a string, a list of strings{ids}, never mixed; not {stop!r}", True


def _headers(headers: Mapping[str, str]) -> Iterator[_Finding]:
    for name, value in headers.items():
        lower = name.lower()
        if lower in KEY_HEADERS:
            text = "a key does not belong in a job file: use model.api_key_env (and model.api_key_header)"
            yield f"headers.{name}", f'{text}, or {{ env = "NAME" }}', True
        elif lower in FRAMING:
            yield f"headers.{name}", "is the transport's own: leave it out", True
        elif lower == "x-dashscope-async":
            yield f"headers.{name}", "is for task APIs; text generation refuses it (403 AccessDenied)", True
        elif lower == "x-dashscope-sse":
            yield f"headers.{name}", "use model.stream", True
        elif lower == "x-dashscope-wait-timeout":
            yield f"headers.{name}", "lets the server hold a request back: add as much to limits.timeout_s", False
        if not name.isascii() or not name.isprintable() or any(c in name for c in " :") or not value.isprintable():
            yield f"headers.{name.encode('unicode_escape').decode()}", "is not a valid header", True


def _omit(settings: ModelSettings, defaults: Sequence[str]) -> Iterator[_Finding]:
    for name in settings.omit:
        if name not in defaults and name not in settings.parameters:
            yield (
                "omit",
                f"names {name!r}; of what is sent by default, these may be left out: {', '.join(defaults)}",
                True,
            )


def _base_url(base_url: str, *, native: bool) -> Iterator[_Finding]:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        yield "base_url", f"must start with https:// (or http://) and name a host, not {base_url!r}", True
        return
    if parts.username or parts.password:
        yield "base_url", "must not carry a user name or password", True
    if host.endswith("aliyuncs-intl.com"):
        yield "base_url", "no such host: the international one is dashscope-intl.aliyuncs.com", True
    if native and ("compatible-mode" in parts.path or parts.path.endswith("/chat/completions")):
        yield "base_url", 'is the chat-completions API: set model.provider = "openai", or give the host alone', True
    if not native and "/services/aigc/" in parts.path:
        yield "base_url", 'is the native DashScope API: set model.provider = "dashscope", or give the host alone', True
    if not native:
        yield from _chat_path(parts, base_url)
    if parts.scheme == "http" and not _is_local(host):
        yield "base_url", "the key and the prompts travel unencrypted: use https://", False


def _chat_path(parts: SplitResult, base_url: str) -> Iterator[_Finding]:
    """Other endpoints of the same servers, and Azure's path by deployment without the version that it needs."""
    path = parts.path.rstrip("/")
    if path.endswith(_OTHER_ENDPOINTS) and not path.endswith("/chat/completions"):
        yield "base_url", f"names another endpoint than chat completions: leave /{path.rpartition('/')[2]} out", True
    if "/openai/deployments/" in path and "api-version=" not in parts.query:
        text = 'has a deployment in its path, but no version behind it: add "?api-version=2024-10-21" or another'
        yield "base_url", text, is_azure(base_url)


def _is_local(host: str) -> bool:
    """Loopback and private addresses, and names without a dot (containers, local networks)."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
